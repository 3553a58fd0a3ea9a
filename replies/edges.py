"""The edges of a reply: control tokens and reasoning before it, white space around it, and the end
of its last sentence, in English, Korean and Japanese, as chats write it."""

from __future__ import annotations

import re

from language.korean import is_syllable
from replies.endings import is_korean_end
from schemas.formats import CONTROL_TOKENS, FORMATS, THOUGHTS, Format

HEADED = [
    *sorted({h.strip("#: ") for f in FORMATS.values() for h in f.headings if h.startswith("#")}),
    *("human", "user", "assistant"),
]
"""Words of headings such as `### Response:`. A name before a colon is a tag (`replies.tags`)."""

TOKEN = re.compile(  # each begins with a literal, which lets the engine skip to it
    r"<[|｜][\w▁ /=.-]{1,40}[|｜]?>"  # <|im_end|>, <|user|>, <｜User｜>, <|turn>
    r"|<[a-z_]{1,20}\|>"  # <turn|>
    r"|\[\|[a-z]{1,20}\|\]|"  # [|endofturn|]
    + "|".join(map(re.escape, CONTROL_TOKENS))
    + r"|##(?:(?<=\A##)|(?<=\n##)|(?<=\A ##)|(?<=\n ##))#? ?"
    + rf"(?:{'|'.join(HEADED)}) ?:",
    re.IGNORECASE,
)
"""A turn's border in any format, as the format writes it and in the same shapes."""

_WRITER = "(?:assistant|model|bot|text|response)"


def _header(form: Format) -> str:
    """A pattern for what a format writes before a reply; empty where that is a name alone."""
    written = form.assistant[0].strip() or form.user[1].strip()
    if not written.startswith(("<", "[", "#")):
        return ""
    pattern = re.sub(r"(?:\\#)+", "#{2,3}", re.escape(written)).replace(r"\ ", " ?")
    return re.sub(_WRITER, rf" ?{_WRITER}(?!\\w) ?", pattern, flags=re.IGNORECASE)


_HEADERS = sorted({_header(form) for form in FORMATS.values()} - {""})
_OPENING = re.compile(
    rf"\s*(?:(?:{'|'.join(_HEADERS)})(?: names?=[^\n<]{{0,60}}\n)?|<s>|<bos>"
    r"|<[|｜](?:model|assistant|bot|begin_of_text|begin▁of▁sentence)[|｜]>)\s*",
    re.IGNORECASE,
)
_THOUGHTS = "|".join(
    rf"{re.escape(opened)}.*?(?:{re.escape(closed)}|\Z)" for opened, closed in THOUGHTS
)
_THINKING = re.compile(rf"\s*(?:{_THOUGHTS})\s*", re.DOTALL)
_LONGEST_OPENING = 120


def opening_end(text: str) -> tuple[int, bool]:
    """How much of the beginning is the writer's own turn header or hidden reasoning.

    Returns:
        The number of characters to drop, and whether reasoning was among them.
    """
    end, thought = 0, False
    while True:
        if found := _THINKING.match(text, end):
            thought = True
        elif not (found := _OPENING.match(text, end)):
            return end, thought
        if found.end() == end:
            return end, thought
        end = found.end()


def opening_is_open(text: str) -> bool:
    """Whether a text that is still growing may be inside such a beginning."""
    start = text.lstrip()
    for opened, closed in THOUGHTS:
        if start.startswith(opened):
            return closed not in start
    return len(start) < _LONGEST_OPENING and start[:1] in {"", "<", "[", "#"}


_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u200d\u20e3"
_STOP = ".!?…‥。！？"
_SOFT = f"~～〜♡♥♪♩{_EMOJI}"
_CLOSERS = "\"'”’»)）\\]】*_」』〉"
_OPENERS = {"」": "「", "』": "『", "】": "【", "〉": "〈", "*": "*"}
_LONGEST_TITLE = 1_000
"""Characters between its marks; a bound on the search for one that never opens."""
_SOFT_END = re.compile(f"[{_SOFT}]")

_END = re.compile(
    rf"(?:(?<![{_STOP}])[{_STOP}]++[{_SOFT}]*+|(?<![{_SOFT}])[{_SOFT}]++"
    rf"|(?<![ㅋㅎㅠㅜ])[ㅋㅎㅠㅜ]{{2,}}+|\^\^)[{_CLOSERS}]*+(?=\s)"
    r"|(?<=\S)[」』】〉*](?=\s)|(?<=\S)(?=\n)"
)
"""An end inside a text: only in front of white space, so `3.14` and `don’t` hold none."""

_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|jr|sr|vs|prof|capt|lt|sgt|e\.g|i\.e)|\b[A-Z]|^[ \t]*\d{1,3})\.$",
    re.IGNORECASE | re.MULTILINE,
)


_BARE_ENDING = re.compile(
    r"(?:[ㄱ-ㅎ]{2,}|ㅋ|ㅎ|[ㅠㅜ]+|\^\^|:[)D3]|;\)|[ー♪]|です|ます|うん|だ|[よねぞわ]|[—―])$"
)
"""Korean and Japanese sentences often end without a mark; `replies.endings` knows Hangul."""

_COMPLETE = re.compile(
    rf"(?:(?:[{_STOP}]|(?<![{_SOFT}])[{_SOFT}]{{1,40}}+)[{_CLOSERS}]*|[」』】〉》)）”»]|(?<=[가-힣.!?…~])>|(?<=\S)[\"*])$"
)
_KOREAN_BRACKET = re.compile(r"\[[^\[\]\n]{0,200}[가-힣][^\[\]\n]{0,200}\]$")
_BRACKETS = (("(", ")"), ("（", "）"), ("[", "]"))
_SPEECH = (("“", "”"), ("「", "」"), ("『", "』"), ("«", "»"))
_LONGEST_TAIL = 400
"""Characters of the last line that are looked at for a mark without its partner."""


def is_complete(text: str) -> bool:
    """Whether the last sentence of a text without white space at its end may be a whole one."""
    if is_syllable(text[-1:]):
        line = text[max(text.rfind("\n") + 1, len(text) - _LONGEST_TAIL) :]
        return not _is_aside(line) and is_korean_end(text[-24:], spoken=_is_speech(line))
    if _BARE_ENDING.search(text, max(0, len(text) - 8)):
        return True
    if text.endswith("]") and _KOREAN_BRACKET.search(text, max(0, len(text) - _LONGEST_TAIL)):
        return True
    if not (found := _COMPLETE.search(text)) or _abbreviates(text, len(text)):
        return False
    return not _leads(text, found.start())


def _is_aside(line: str) -> bool:
    """Whether a line ends inside of stars or brackets that are not closed."""
    stars = line.count("*") - 2 * line.count("**")
    return stars % 2 == 1 or any(line.rfind(a) > line.rfind(b) for a, b in _BRACKETS)


def _is_speech(line: str) -> bool:
    """Whether a line ends inside of a quotation."""
    return line.count('"') % 2 == 1 or any(line.rfind(a) > line.rfind(b) for a, b in _SPEECH)


def last_end(text: str, start: int = 0) -> int:
    """Where the last sentence that is followed by white space ends; `start` when none does.

    What comes later in the text never moves it back, so a stream may show all before it.
    """
    found = start
    for match in _END.finditer(text, start):
        end = match.end()
        if end > found and not (
            _abbreviates(text, end) or _is_mention(text, match) or _leads(text, match.start())
        ):
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
    before = text.rfind(opener, max(0, match.start() - _LONGEST_TITLE), match.start()) - 1
    while before >= 0 and text[before] in " \t":
        before -= 1
    return (
        before >= 0
        and text[before] not in f"\n,:{_CLOSERS}{_STOP}"
        and not (_SOFT_END.match(text, before))
    )


def _leads(text: str, start: int) -> bool:
    """Whether the picture at `start` stands before what it marks: `📍 …` at the beginning of a
    line or cell."""
    if not _SOFT_END.match(text, start):
        return False
    before = start
    while before and text[before - 1] in " \t":
        before -= 1
    return not before or text[before - 1] in "\n|│┃"


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


def without_half(text: str) -> str:
    """The text without the replacement characters at its end, halves of one that was broken off."""
    while text.endswith("\ufffd"):
        text = text.rstrip("\ufffd").rstrip()
    return text


def tidy(text: str) -> str:
    """The text without outer white space, and with one empty line at most between others."""
    text = text.strip()
    return _MANY_LINES.sub("\n\n", text) if "\n" in text else text


def without_rule(text: str) -> str:
    """The text without dividing lines (`---`, `***`) at its end, as they are left by a cut."""
    end = len(text)
    while match := _RULE_AT_END.search(text, max(0, text.rfind("\n", 0, end)), end):
        end = len(text[: match.start()].rstrip())
    return text[:end]
