"""Where a reply stops being the writer's own: tags are dropped or cut, control tokens cut.

Works on a growing text: `advance` may be called again with more of it, and what it has
let through before never changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from replies.agency import acts_of
from replies.edges import HEADED, TOKEN
from replies.status import is_entry, may_be_entry
from replies.status_lines import LONGEST_LINE
from replies.tags import OPENING_QUOTES, Cast, Tag, Tags
from schemas.formats import CONTROL_TOKENS
from schemas.response import Cut

_SPELLED = tuple(token for token in CONTROL_TOKENS if not token.startswith(("<|", "[|")))
"""Tokens that no shape below tells."""
_BEGUN = sorted({word[:end] for word in HEADED for end in range(1, len(word) + 1)}, reverse=True)
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


class Rules:
    """The tags and stop strings of one chat, compiled: of the stop strings those that are no tags,
    for `Tags` knows whose these are."""

    def __init__(self, cast: Cast, stops: Iterable[str], headings: Iterable[str] = ()) -> None:
        """Sorts the strings once; empty ones are left out."""
        self.tags, self.acts = Tags(cast), acts_of(cast)
        given = [stop for stop in stops if stop.strip() or "\n" in stop]
        self._tag_stops = tuple(s for s in given if self.tags.voice(s.strip()))
        plain = sorted((s for s in given if s not in self._tag_stops), key=len, reverse=True)
        self._plain = re.compile("|".join(map(re.escape, plain)) or r"(?!)")
        heads = list(headings)
        alone = "|".join(re.escape(head) for head in heads if head[0] != "[") or "(?!)"
        within = "|".join(re.escape(head.lstrip("[")) for head in heads) or "(?!)"
        self._copied = re.compile(rf"(?:\A|(?<=\n))[ \t(*]{{0,4}}(?:{alone})|\[ ?(?:{within})")
        held = (*plain, *_SPELLED, *heads, *(f"[{head}" for head in heads))
        self._starts = tuple({s[:n] for s in held for n in range(1, len(s))})
        self._longest = max(map(len, self._starts), default=0)

    def search(self, text: str, start: int) -> tuple[int, Cut]:
        """Where the first stop string or heading begins, at `start` or later, and which of them it
        is; -1 when there is none."""
        stop, copied = self._plain.search(text, start), self._copied.search(text, start)
        if copied and not (stop and stop.start() <= copied.start()):
            return copied.start(), "notes"
        return stop.start() if stop else -1, "stop"

    def settled(self, text: str) -> int:
        """Length of a growing text in front of what may become a token or a stop string."""
        grows = _MAY_GROW.search(text, max(0, len(text) - 64))
        end = grows.start() if grows else len(text)
        return min(end, len(text) - self._overlap(text))

    def whole(self, text: str, *, at_limit: bool) -> int:
        """Length of a finished text without the torn token, stop string or tag at its end.

        Args:
            text: the reply as it came, for a line that ended is not torn.
            at_limit: whether the model was cut off. Only then a last line that is part of a name
                is a torn tag; else it must be the whole name of one of the stop strings.
        """
        tail = text[-64:]
        begins = "<" in tail or "[" in tail or "#" in tail  # most have none, and a search is slow
        if begins and (torn := _PARTIAL.search(text, max(0, len(text) - 64))):
            return torn.start()
        size = self._overlap(text)
        if size and self._is_torn(text, size, at_limit):
            return len(text) - size
        before, newline, line = text.rpartition("\n")
        if newline and any(map(str.isalnum, line)):
            named = at_limit or any(Tags.same_name(line, stop) for stop in self._tag_stops)
            if named and self.tags.may_begin(line):
                return len(before) + 1  # the line above did end
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


@lru_cache(maxsize=32)
def rules_of(cast: Cast, stops: tuple[str, ...] = (), headings: tuple[str, ...] = ()) -> Rules:
    """The compiled rules. The same cast and stop strings come back every turn, and to compile them
    takes 10 ms, with 150 names 35; each takes up to 315 KB, so 32 of them stay within 10 MB."""
    return Rules(cast, stops, headings)


class Guard:
    """Reads a reply from left to right and keeps what the writer may say.

    Attributes:
        own_text: what the writer said so far.
        cuts: what was dropped, in order.
        ended: nothing more is kept, whatever follows.
        regenerate: the reply began by speaking for somebody else.
        next_speaker: to whom the model handed over.
    """

    def __init__(self, rules: Rules) -> None:
        """Starts at the beginning of a reply."""
        self._rules = rules
        self._position = 0
        self._at_start = True  # of a line, or behind a dropped tag: here any tag counts
        self._skip_space = False
        self._skipping = False  # somebody else speaks, and the writer has not begun yet
        self.own_text = ""
        self.cuts: list[Cut] = []
        self.ended = False
        self.regenerate = False
        self.next_speaker: str | None = None

    def advance(self, text: str, *, final: bool) -> None:
        """Reads on as far as is certain.

        Args:
            text: the whole reply so far, without its opening (`edges.opening_end`).
            final: nothing follows; else what may become a tag or a token waits for more.
        """
        stop, kind = self._rules.search(text, self._position)
        limit = len(text) if final else self._rules.settled(text)
        if 0 <= stop < limit:
            limit = stop
        while self._position < limit and not self.ended:
            before = self._position
            self._read_line(text, limit, final=final or stop == limit)
            if self._position == before:
                return
        if 0 <= stop <= self._position and not self.ended:
            self._end(kind)

    def _read_line(self, text: str, limit: int, *, final: bool) -> None:
        """Reads the rest of a line, or less when it is open."""
        if self._skip_space:
            while self._position < limit and text[self._position].isspace():
                self._position += 1
        start = self._position
        newline = text.find("\n", start, limit)
        end = newline + 1 if newline >= 0 else limit
        is_open = newline < 0 and not final
        if self._at_start:
            if start == limit or (is_open and self._rules.tags.may_begin(text[start:])):
                return
            if self._read_tag(text, start, limit, final=final):
                return
        until = end
        if is_open:
            until = self._rules.tags.settled(text, start, end)
        tag = self._rules.tags.inside(text, start, until)
        token = TOKEN.search(text, start, end)
        if token and token.start() < (tag.start if tag else until):
            self._keep(text, token.start())
            self._end("format_token")
            return
        self._keep(text, tag.start if tag else until)
        if tag:
            self.own_text += "" if self._skipping else " "
            self._on_tag(tag)

    def _read_tag(self, text: str, start: int, limit: int, *, final: bool) -> bool:
        """Reads the tag at the beginning of a line, or waits for more of the line.

        Returns:
            False where there is none.
        """
        tag = self._rules.tags.at(text, start) or self._quoted_tag(text, start)
        if tag is None:
            found = self._rules.tags.without_colon(text, start, limit, final=final)
            if isinstance(found, Tag):
                self._on_tag(found)
            return found is not None
        entry = self._entry(text, start, tag, limit, final=final)
        if entry > 0:
            self._keep(text, entry)
        elif entry == 0:
            self._on_tag(tag)
        return True

    def _keep(self, text: str, end: int) -> None:
        """Keeps the words up to `end`, unless they are somebody else's."""
        if end == self._position:
            return
        if not self._skipping:
            self.own_text += text[self._position : end]
        self._position = end
        self._at_start, self._skip_space = text[end - 1] == "\n", False

    def _quoted_tag(self, text: str, start: int) -> Tag | None:
        """A tag behind the quotation mark that opens the reply."""
        if self.own_text or text[start] not in OPENING_QUOTES:
            return None
        tag = self._rules.tags.at(text, start + 1)
        return tag._replace(keep=text[start] + tag.keep) if tag else None

    @staticmethod
    def _entry(text: str, start: int, tag: Tag, limit: int, *, final: bool) -> int:
        """Where the line of a status window ends that begins with a tag, as `- 민준: 신뢰 30`.

        Returns:
            0 for another's words; -1 while the line may tell more.
        """
        if not may_be_entry(text, start, tag.end):
            return 0
        newline = text.find("\n", tag.end, limit)
        end = newline if newline >= 0 else limit
        if newline < 0 and not final and end - tag.end < LONGEST_LINE:
            return -1
        return end if is_entry(text, start, end) else 0

    def _on_tag(self, tag: Tag) -> None:
        """Drops the writer's own tag; at another's, ends or waits for the writer's."""
        self._position, self._at_start, self._skip_space = tag.end, True, True
        voice = tag.voice
        if voice.kind == "own":
            self.cuts.append("own_tag")
            self.own_text += tag.keep
            self._skipping, self.next_speaker = False, None
            return
        self.next_speaker = voice.name if voice.kind == "other" else None
        if self.own_text.strip():
            self._end("user_tag" if voice.kind == "user" else "other_tag")
            return
        self.cuts.append("user_tag" if voice.kind == "user" else "other_tag")
        self.regenerate = self._skipping = True

    def _end(self, reason: Cut) -> None:
        self.cuts.append(reason)
        self.ended = True
