"""Speaker tags: `Name:`, `민준 :`, `**Name**:`, `<Name>:`, `[Name] (softly)：` and their kin.

A tag ends in a colon and its name is on the list of voices, so "Note:" and "12:30" are none.
At a line start any form counts. After a sentence inside a line, or behind a list dash, only what
cannot be prose counts: a name in brackets or bold, a bare one with a quotation behind it, or the
`USER:` of Vicuna.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from replies.names import Cast, Voice, fold, spellings, voices

_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff\ufe0f\u200b-\u200d\ufeff"
_GAP = "[ \t\u00a0\u3000]"
_GAPS = f"{_GAP}{{0,4}}"
_OPEN = "<＜〈《\\[［【({（「『"
_CLOSE = ">＞〉》\\]］】)}）」』"
_COLON = ":：﹕"
OPENING_QUOTES = '"“「『«'
_LEAD = rf"{_GAP}{{0,16}}(?:[#>]{{1,6}}{_GAPS}){{0,2}}(?:[{_EMOJI}]{{1,4}}{_GAPS})?"
_HONORIFIC = rf"(?:{_GAP}?(?:님|씨|군|양))?"
_ASIDE = rf"(?:{_GAPS}(?P<aside>[(（\[][^()（）\[\]\n:]{{1,40}}[)）\]]))?"
_SMILEY = r"(?!/|[-^o']?(?:[)\]|\\DPpOo3]{1,3}|\({1,3})(?:[\s.,!?~♡]|$))"
_AFTER = (
    rf"{_HONORIFIC}(?:{_GAP}?[{_EMOJI}]{{1,3}})?{_ASIDE}(?P<close>[*_]{{0,3}}[{_CLOSE}]{{0,2}}[*_]{{0,3}}){_GAPS}"
    + (rf"[{_COLON}]{_SMILEY}(?P<tail>[*_]{{0,3}})")
)
_BOUNDARY = '[.!?…~。！？"”」』»*)][ \\t]{1,4}'
_SHOUTED = "|".join(f"(?<=(?-i:{name}):)" for name in ("USER", "HUMAN", "ASSISTANT"))

_ANY_COLON = re.compile(f"[{_COLON}]")
_MARKS = re.compile(rf"[ \t\u00a0\u3000#>*_\-–—•·{_OPEN}{OPENING_QUOTES}{_EMOJI}]*")
_REST = re.compile(
    rf"{_GAP}?[\u1100-\u11ff]{{0,3}}{_GAP}?[{_EMOJI}]{{0,3}}{_GAPS}(?:[(（\[][^()（）\[\]\n:]{{0,125}}[)）\]]?)?"
    rf"[*_{_CLOSE}{_EMOJI} \t\u00a0\u3000]{{0,16}}(?:[{_COLON}][*_]{{0,3}}{_GAPS}\S{{0,5}})?"
)
_LONGEST_DRESS = 140
"""Characters that marks, an aside and white space may add around a name."""


class Tag(NamedTuple):
    """A tag in the text, from `start` to `end`; `keep` is what removing it must leave behind."""

    start: int
    end: int
    voice: Voice
    keep: str = ""


class Tags:
    """The tags of one cast."""

    def __init__(self, cast: Cast) -> None:
        """Compiles the names once; see `tags_of`."""
        self._voices = voices(cast)
        ordered = sorted(set(spellings(self._voices)), key=len, reverse=True)
        name = (
            "(?P<name>" + "|".join(re.escape(n).replace(r"\ ", rf"{_GAP}+") for n in ordered) + ")"
        )
        dressed = rf"(?:[*_]{{2,3}}[{_OPEN}]{{0,2}}|[{_OPEN}]{{1,2}}[*_]{{0,3}})"
        plain = rf"[*_]{{0,3}}[{_OPEN}]{{0,2}}[*_]{{0,3}}"
        self._any = re.compile(rf"{_LEAD}(?P<open>{plain}){_GAPS}{name}{_AFTER}", re.IGNORECASE)
        sure = rf"(?:(?P<open>{dressed})(?P<sure>)|){_GAPS}{name}{_AFTER}"
        sure += rf"(?(sure)|(?:{_SHOUTED}|(?={_GAPS}[{OPENING_QUOTES}])))"
        self._listed = re.compile(rf"{_GAPS}[-–—•·]{{1,4}}{_GAPS}{sure}", re.IGNORECASE)
        self._inner = re.compile(rf"{_BOUNDARY}{sure}", re.IGNORECASE)
        self._gaps = re.compile(_BOUNDARY)
        self._prefixes = tuple({unicodedata.normalize("NFD", n) for n in self._voices})
        self.reach = max(map(len, self._prefixes)) + _LONGEST_DRESS

    def at(self, text: str, start: int) -> Tag | None:
        """The tag that the line beginning at `start` starts with."""
        return self._tag(self._any.match(text, start) or self._listed.match(text, start))

    def inside(self, text: str, start: int, end: int) -> Tag | None:
        """The first tag in `text[start:end]` that stands behind a sentence.

        The sentence may end before `start`, the tag behind `end`.
        """
        if not _ANY_COLON.search(text, start, end + self.reach):
            return None
        match = self._inner.search(text, max(0, start - 1), end + self.reach)
        return self._tag(match, behind=1) if match and match.start() + 1 < end else None

    def may_begin(self, fragment: str) -> bool:
        """Whether `fragment`, the end of a text, may still grow into a tag."""
        marks = _MARKS.match(fragment)
        rest = fragment[marks.end() :] if marks else fragment
        if not rest or len(fragment) > self.reach:
            return len(fragment) <= self.reach
        folded = unicodedata.normalize("NFD", rest.casefold())
        name = re.sub(rf"{_GAP}+", " ", folded)
        return any(
            known.startswith(name)
            or known.startswith(name.rstrip(" "))
            or (name.startswith(known) and _REST.fullmatch(name, len(known)) is not None)
            for known in self._prefixes
        )

    def voice(self, tag_text: str) -> Voice | None:
        """Whose tag `tag_text` is, when it is nothing else; used to read stop strings."""
        found = self.at(tag_text, 0)
        return found.voice if found and found.end == len(tag_text) else None

    def settled(self, text: str, start: int, end: int) -> int:
        """Where `text[start:end]`, a growing line, is certain to hold no tag yet to come.

        Never behind a white space, to which a tag could be joined.
        """
        for gap in self._gaps.finditer(text, max(start - 1, len(text) - self.reach, 0), end):
            if self.may_begin(text[gap.end() :]):
                return gap.start() + 1
        while end > start and text[end - 1] in " \t":
            end -= 1
        return end

    @staticmethod
    def same_name(line: str, tag_text: str) -> bool:
        """Whether a line is the name of a tag, but for its marks and colon."""
        marks = " \t\n#>*_[]<>:：﹕"
        return fold(line.strip(marks)) == fold(tag_text.strip(marks))

    def _tag(self, match: re.Match[str] | None, behind: int = 0) -> Tag | None:
        """Reads a match; an aside, and an opening mark left open, belong to the line.

        `behind` counts the characters at its start that are no part of the tag.
        """
        if match is None:
            return None
        voice = self._voices.get(fold(match["name"]))
        if voice is None:
            return None
        opened = "" if match["close"] or match["tail"] else match["open"] or ""
        aside = f"{match['aside']} " if match["aside"] else ""
        return Tag(match.start() + behind, match.end(), voice, opened + aside)


@lru_cache(maxsize=256)
def tags_of(cast: Cast) -> Tags:
    """The compiled tags of a cast; a chat asks for the same ones every turn."""
    return Tags(cast)
