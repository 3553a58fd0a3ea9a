"""Control tokens of the prompt formats, and stop strings, as they leak into a reply."""

from __future__ import annotations

import re
from collections.abc import Iterable

from replies.tags import Tags
from schemas.formats import CONTROL_TOKENS, FORMATS, THOUGHTS, Format

_HEADED = [
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
    + rf"(?:{'|'.join(_HEADED)}) ?:",
    re.IGNORECASE,
)
"""A turn's border in any format, as the format writes it and in the same shapes."""

_SPELLED = tuple(token for token in CONTROL_TOKENS if not token.startswith(("<|", "[|")))
"""Tokens that no shape below tells."""
_BEGUN = sorted({word[:end] for word in _HEADED for end in range(1, len(word) + 1)}, reverse=True)
_PARTIAL = re.compile(
    r"(?:<[|｜][\w▁ /=.-]{0,40}[|｜]?|\[\|[a-z]{0,20}\|?"
    rf"|(?<=\n) ?#{{2,3}} ?(?:{'|'.join(_BEGUN)})? ?)\Z",
    re.IGNORECASE,
)
_MAY_GROW = re.compile(
    r"(?:<[^<>\n]{0,44}|<<[^<>\n]{0,6}|\[[^\[\]\n]{0,24}"
    r"|(?:^|(?<=\n)) ?#{1,3} ?[a-z]{0,11} ?)\Z",
    re.IGNORECASE,
)
_ANGLE_FACE = re.compile(r"[>＞][^\s<>]{0,3}<\Z")  # >_<

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


class Stops:
    """The caller's stop strings, without those that are speaker tags (`Tags` knows whose)."""

    def __init__(self, stops: Iterable[str], tags: Tags) -> None:
        """Sorts the strings once; empty ones are left out."""
        given = [stop for stop in stops if stop.strip() or "\n" in stop]
        self._tag_stops = tuple(s for s in given if tags.voice(s.strip()))
        plain = sorted((s for s in given if s not in self._tag_stops), key=len, reverse=True)
        self._plain = re.compile("|".join(map(re.escape, plain))) if plain else None
        self._starts = tuple({s[:n] for s in (*plain, *_SPELLED) for n in range(1, len(s))})
        self._longest = max(map(len, self._starts), default=0)

    def search(self, text: str, start: int) -> int:
        """Where the first stop string begins, at `start` or later; -1 when there is none."""
        found = self._plain.search(text, start) if self._plain else None
        return found.start() if found else -1

    def settled(self, text: str) -> int:
        """Length of a growing text in front of what may become a token or a stop string."""
        grows = _MAY_GROW.search(text, max(0, len(text) - 64))
        end = grows.start() if grows else len(text)
        return min(end, len(text) - self._overlap(text))

    def whole(self, text: str, *, at_limit: bool, tags: Tags) -> int:
        """Length of a finished text without the torn token, stop string or tag at its end.

        Args:
            text: the reply as it came, for a line that ended is not torn.
            at_limit: whether the model was cut off. Only then a last line that is part of a name
                is a torn tag; else it must be the whole name of one of the stop strings.
            tags: the cast's tags.
        """
        if torn := _PARTIAL.search(text, max(0, len(text) - 64)):
            return torn.start()
        size = self._overlap(text)
        if size and self._is_torn(text, size, at_limit):
            return len(text) - size
        before, newline, line = text.rpartition("\n")
        if newline and any(map(str.isalnum, line)):
            named = at_limit or any(tags.same_name(line, stop) for stop in self._tag_stops)
            if named and tags.may_begin(line):
                return len(before)
        return len(text)

    def _overlap(self, text: str) -> int:
        """How many characters at the end are the beginning of a token or stop string."""
        if not text.endswith(self._starts):
            return 0
        for size in range(min(self._longest, len(text)), 0, -1):
            if text[-size:] in self._starts:
                return size
        return 0

    @staticmethod
    def _is_torn(text: str, size: int, at_limit: bool) -> bool:
        """Whether the overlap is no chance: marks, words and faces end sentences, too."""
        piece = text[-size:]
        if not piece.strip("*_~.!?\"'- \n") or _ANGLE_FACE.search(text):
            return False
        first = piece.lstrip()[0]
        starts_line = piece[0] == "\n" or text[:-size].endswith("\n")
        return not first.isalnum() or (at_limit and starts_line)
