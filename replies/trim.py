"""The edges of a reply: white space, and the end of its last sentence, in English, Korean and
Japanese, as chats write it."""

from __future__ import annotations

import re

from language.korean import syllables_ending_in

_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u200d\u20e3"
_STOP = ".!?…‥。！？"
_SOFT = f"~～〜♡♥♪♩{_EMOJI}"
_CLOSERS = "\"'”’»)）\\]】*_」』"
_OPENERS = {"」": "「", "』": "『", "】": "【", "*": "*"}
_SOFT_END = re.compile(f"[{_SOFT}]")

_END = re.compile(
    rf"(?:[{_STOP}]+[{_SOFT}]*|[{_SOFT}]+|[ㅋㅎㅠㅜ]{{2,}}|\^\^)[{_CLOSERS}]*(?=\s)"
    r"|(?<=\S)[」』】*](?=\s)|(?<=\S)(?=\n)"
)
"""An end inside a text: only in front of white space, so `3.14` and `don’t` hold none."""

_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|jr|sr|vs|prof|capt|lt|sgt|e\.g|i\.e)|\b[A-Z]|^[ \t]*\d{1,3})\.$",
    re.IGNORECASE | re.MULTILINE,
)


_ENDS_SS, _ENDS_L = syllables_ending_in("ㅆ"), syllables_ending_in("ㄹ")
_BARE_ENDING = re.compile(
    rf"(?:[요다죠까네냐지]|[가라하]자|구나|군|거든|잖아|더라|[거이]야|[{_ENDS_SS}][어니]"
    rf"|[{_ENDS_L}][게까래걸]|는걸|고마워|미안해|사랑해|좋아|싫어|몰라|\b(?:돼|응|그래|아니)"
    r"|[ㄱ-ㅎ]{2,}|ㅋ|ㅎ|[ㅠㅜ]+|\^\^|:[)D3]|;\)|[ー♪]|です|ます|うん|だ|[よねぞわ]|[—―])$"
)
"""Korean and Japanese sentences often end without a mark."""

_COMPLETE = re.compile(rf"(?:[{_STOP}{_SOFT}][{_CLOSERS}]*|[」』】)）”»]|(?<=\S)[\"*])$")


def is_complete(text: str) -> bool:
    """Whether the last sentence of a text without white space at its end may be a whole one."""
    if _BARE_ENDING.search(text, max(0, len(text) - 8)):
        return True
    return _COMPLETE.search(text) is not None and not _abbreviates(text, len(text))


def last_end(text: str, start: int = 0) -> int:
    """Where the last sentence that is followed by white space ends; `start` when none does.

    What comes later in the text never moves it back, so a stream may show all before it.
    """
    found = start
    for match in _END.finditer(text, start):
        end = match.end()
        if end > found and not _abbreviates(text, end) and not _is_mention(text, match):
            found = end
    return found


def trim(text: str) -> str:
    """The text without a broken-off last sentence; unchanged where there is no other."""
    if is_complete(text):
        return text
    whole = text[: last_end(text)]
    return whole if any(map(str.isalnum, whole)) else text


def _is_mention(text: str, match: re.Match[str]) -> bool:
    """Whether the closing mark ends a title or an emphasised word in the middle of a sentence."""
    if (opener := _OPENERS.get(match[0])) is None:
        return False
    before = text.rfind(opener, 0, match.start()) - 1
    while before >= 0 and text[before] in " \t":
        before -= 1
    return (
        before >= 0
        and text[before] not in f"\n,:{_CLOSERS}{_STOP}"
        and not (_SOFT_END.match(text, before))
    )


def _abbreviates(text: str, end: int) -> bool:
    """Whether the dot before `end` is one of `Dr.`, `J.` or a numbered list."""
    if text[end - 1] != ".":
        return False
    return _ABBREVIATION.search(text, max(0, end - 12), end) is not None


_MANY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_RULE_AT_END = re.compile(r"(?:^|\n)[ \t]*(?:[-=_#>]+|\*(?:[ \t]*\*)+)[ \t]*$")


def readable(raw: str) -> str:
    """Line feeds only, and no half characters, which no encoder could send."""
    text = raw.replace("\r\n", "\n").replace("\r", "\n") if "\r" in raw else raw
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def tidy(text: str) -> str:
    """The text without outer white space, and with one empty line at most between others."""
    text = text.strip()
    return _MANY_LINES.sub("\n\n", text) if "\n" in text else text


def without_rule(text: str) -> str:
    """The text without a dividing line (`---`, `***`) at its end, as it is left by a cut."""
    while match := _RULE_AT_END.search(text):
        text = text[: match.start()].rstrip()
    return text
