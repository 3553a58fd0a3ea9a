"""A model's raw reply, read: cleaned, cut where it leaves its role, and split into pieces.

`read_reply` reads one that is complete, `StreamReader` one that is being written; the result is the
same. What has been shown is never taken back, so a beginning of a tag, token or stop string is held
until it is known, and a quotation mark that opens the reply waits for its partner: a pair around
the whole is taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from replies.agency import acts_for_user
from replies.edges import (
    is_complete,
    last_end,
    opening_end,
    opening_is_open,
    readable,
    tidy,
    trim,
    without_half,
    without_rule,
)
from replies.guard import Guard, rules_of
from replies.segments import PAIRS, Piece, paragraphs, pieces, segments, typed, wrapping
from replies.status import (
    Window,
    bare_opening,
    is_over,
    open_fence,
    rows_before,
    settled_windows,
    windows,
    without_unfinished,
)
from replies.status_lines import BARS
from replies.tags import Cast
from schemas.response import Cut, FinishReason, ParsedReply, ResponseContent


def read_reply(
    raw: str,
    cast: Cast,
    *,
    stops: tuple[str, ...] = (),
    headings: tuple[str, ...] = (),
    before: str = "",
    finish_reason: FinishReason = "stop",
) -> ParsedReply:
    """Cleans a reply, cuts it where it leaves its role and splits it into typed pieces.

    Args:
        raw: the model's words, whatever they are.
        cast: the voices of the chat; from another's tag on the reply is cut.
        stops: the stop strings of the request; a torn one at the end is removed, too.
        headings: how notes and instructions of the prompt begin; from one on the reply is cut.
        before: what was written of the reply before, where this goes on with it: the result is what
            is added, with the white space that joins it.
        finish_reason: `length` lets an unfinished last sentence be removed.

    Returns:
        The text, its pieces and what was done. The text is empty only with `regenerate`, or where
        nothing is added to a reply.
    """
    rules, text = rules_of(cast, stops, headings), readable(raw)
    end, thought = opening_end(text)
    cuts: list[Cut] = [] if not end else ["thinking" if thought else "turn_header"]
    joint, text = _joint(before, text[end:]), text[end:].lstrip()
    whole = rules.whole(text, at_limit=finish_reason == "length")
    if whole < len(text):
        cuts.append("partial_stop")
    text = text[:whole]
    guard = Guard(rules)
    guard.advance(text, final=True)
    cuts += guard.cuts
    text = without_half(tidy(guard.own_text))
    if guard.ended:
        text = without_rule(text)
    wrapped = not before and cast.speaker == "character" and wrapping(text) == "whole"
    if wrapped:
        text = text[1:-1].strip()
        cuts.append("quotes")
    elif guard.ended:
        text = text[: bare_opening(text)].rstrip() or text
    elif finish_reason == "length" and text != (text := _whole(text)):
        cuts.append("unfinished")
    text = joint + text if text else ""
    found = [window for window in windows(before + text) if window.end > len(before)]
    contents = _behind(before, segments(before + text, cast, quotes=not wrapped, found=found))
    told = [content.text for content in contents if content.type in ("narration", "action")]
    return ParsedReply(
        text=text,
        contents=contents,
        regenerate=guard.regenerate or not (text or before),
        next_speaker=guard.next_speaker,
        speaks_for_user=bool(told) and acts_for_user(told, rules.acts),
        status=tuple(pair for window in found for pair in window.pairs),
        cuts=tuple(cuts),
    )


def _joint(before: str, text: str) -> str:
    """The white space by which a text goes on with what is before it, tidied."""
    if not before or before[-1].isspace() or not text.strip():
        return ""
    gap = text[: len(text) - len(text.lstrip())]
    return "\n" * min(gap.count("\n"), 2) or " "[: len(gap)]


def _behind(before: str, contents: list[ResponseContent]) -> list[ResponseContent]:
    """The pieces of what follows a text, of pieces of the whole; spans count from there."""
    size, rest = len(before), []
    for content in contents if size else ():
        start, end = (max(0, place - size) for place in content.span)
        if end > start:
            text = content.text[content.span[1] - content.span[0] - (end - start) :]
            rest.append(content.model_copy(update={"text": text, "span": (start, end)}))
    return rest if size else contents


def _whole(text: str) -> str:
    """The text without a status window or a sentence that the token limit broke off; unchanged
    where nothing else is in it."""
    kept = without_unfinished(text)
    if kept is not None:
        return kept or text
    kept, found = trim(text), windows(text)
    if found and "\n" not in text[found[-1].end :]:
        last = found[-1]
        if not is_complete(kept[last.end :].strip("*_ ")):  # a torn line, maybe of the window
            kept = text[: last.end if is_over(text, last) else last.start].rstrip()
    return kept[: _without_opening(text, len(kept))] or text


def _without_opening(text: str, end: int) -> int:
    """The end of a text that was trimmed to `end`, without what began a window there."""
    if text[end : end + 1] == "\n":
        end = len(text[: rows_before(text, end + 1)].rstrip())
    return len(text[: bare_opening(text[:end])].rstrip())


_READ_AT_ONCE = 4_096
"""Characters of a reply up to which each delta is read when it comes."""
_STEPS = 64
"""Of a longer one, deltas gather to this share of it: to read it again at each takes quadratic
time."""

Event = str | ResponseContent
"""More of the reply's text, all of which joins to it; or a piece that nothing later changes. Pieces
come in order."""


class StreamReader:
    """Reads the deltas of one reply.

    Words are shown at once. So an unfinished last sentence that the token limit broke off has been
    shown, though the result is without it.
    """

    def __init__(
        self,
        cast: Cast,
        *,
        stops: tuple[str, ...] = (),
        headings: tuple[str, ...] = (),
        before: str = "",
    ) -> None:
        """Prepares for the first delta.

        Args:
            cast: the voices of the chat.
            stops: the stop strings of the request to the model.
            headings: as in `read_reply`.
            before: as in `read_reply`; the pieces of what is added are told at its end.
        """
        self._cast, self._stops, self._headings = cast, stops, headings
        self._before, self._joint = before, ""
        self._wrapping = "whole" if cast.speaker == "character" and not before else "no"
        self._checked = 0  # characters that were searched for the partner of the first mark
        self._guard = Guard(rules_of(cast, stops, headings))
        self._raw: list[str] = []
        self._unread = ""
        self._half_line_end = ""  # a carriage return whose line feed may follow
        self._opening: str | None = ""  # None once it is over
        self._look_again: float = 0  # its length from which it may be over
        self._text = ""  # what follows the opening
        self._shown = 0
        self._closed = 0  # paragraphs before it are read
        self._windows: list[Window] = []
        self._again = 0  # the line from which windows are not known yet
        self._waiting: list[list[Piece]] = []  # paragraphs whose style is not known yet
        self._quoted = False
        self._sent = 0

    @property
    def done(self) -> bool:
        """Whether the reply is cut: nothing that follows is kept, so generation may be stopped."""
        return self._guard.ended

    @property
    def regenerate(self) -> bool:
        """Whether the reply began by speaking for somebody else; then nothing was shown."""
        return self._guard.regenerate

    def feed(self, delta: str) -> list[Event]:
        """Takes the next delta, of any length.

        Returns:
            What may be shown now, then the pieces that it completes.
        """
        self._raw.append(delta)
        self._unread += delta
        if self._guard.ended or len(self._unread) < (len(self._text) - _READ_AT_ONCE) / _STEPS:
            return []
        delta, self._unread = self._unread, ""
        if not self._read_on(delta):
            return []
        self._guard.advance(self._text, final=False)
        text = self._certain()
        if len(text) < self._shown:  # its end is held again
            return []
        events: list[Event] = []
        if len(text) > self._shown:
            joint = "" if self._shown else self._joint
            events.append(joint + text[self._shown :])
            self._shown = len(text)
        if not self._before:
            events += self._close_pieces(text)
        return events

    def finish(self, finish_reason: FinishReason = "stop") -> tuple[list[Event], ParsedReply]:
        """Ends the reply.

        Args:
            finish_reason: why the model stopped.

        Returns:
            The remaining events, none for a reply to be generated again, and the result: the same
            as `read_reply` gives for the joined deltas.
        """
        raw = "".join(self._raw)
        result = read_reply(
            raw,
            self._cast,
            stops=self._stops,
            headings=self._headings,
            before=self._before,
            finish_reason=finish_reason,
        )
        events: list[Event] = []
        if not result.regenerate:
            shown = self._shown and len(self._joint) + self._shown
            if rest := result.text[shown:]:
                events.append(rest)
            events += result.contents[self._sent :]
        return events, result

    def _read_on(self, delta: str) -> bool:
        """Adds to the text; False while its opening is not over."""
        text = self._half_line_end + delta
        cut = len(text) - text.endswith("\r")
        text, self._half_line_end = readable(text[:cut]), text[cut:]
        if self._opening is None:
            self._text += text
            return True
        self._opening += text
        size = len(self._opening)
        if size < self._look_again or opening_is_open(self._opening):
            return False
        rest = self._opening[opening_end(self._opening)[0] :]
        self._joint, rest = _joint(self._before, rest), rest.lstrip()
        if opening_is_open(rest):
            self._look_again = size + (size - _READ_AT_ONCE) / _STEPS
            return False
        self._text, self._opening = rest, None
        return True

    def _certain(self) -> str:
        """The part of the cleaned text that no later cut can touch."""
        text = without_half(tidy(self._guard.own_text))
        text = _without_open_rule(text)
        text = text[: bare_opening(text, growing=True)].rstrip()
        if not text or self._guard.regenerate:
            return ""
        return "" if self._is_held(text) else text

    def _is_held(self, text: str) -> bool:
        """Whether a quotation mark around the whole may come off; looks again at what may tell."""
        known, self._checked = self._checked, len(text)
        is_open = self._wrapping == "open" and PAIRS.get(text[0], '"') not in text[known:]
        if self._wrapping != "no" and not is_open:
            self._wrapping = wrapping(text)
        return self._wrapping != "no"

    def _close_pieces(self, text: str) -> Iterator[ResponseContent]:
        """The new pieces of complete paragraphs, once speech in quotation marks sets the style."""
        more, known, self._again = settled_windows(text, self._again)
        self._windows += more
        known = min(known, open_fence(text))
        found = [window for window in self._windows if window.start >= self._closed]
        text_known = text[:known]
        complete = [part for part in paragraphs(text_known, self._closed, found) if part[1] < known]
        ends = (_certain_end(text_known, part, part is complete[-1]) for part in reversed(complete))
        certain = next(filter(None, ends), 0)
        for start, end, is_status in complete:
            if end < certain:  # a trim goes no further back
                self._waiting.append(pieces(text, start, end, is_status))
                self._quoted |= any(piece.mark == "quote" for piece in self._waiting[-1])
                self._closed = end
        if self._quoted:
            for paragraph in self._waiting:
                for content in typed(text, paragraph, self._cast, {"quote"}):
                    self._sent += 1
                    yield content
            self._waiting.clear()


def _certain_end(text: str, part: tuple[int, int, bool], is_last: bool) -> int:
    """Where the last sentence ends in a complete paragraph, or in the prose behind the last one,
    so that a trim goes no further back; 0 for a paragraph that may go itself."""
    start, end, is_status = part
    whole = text[:end].rstrip()
    if is_status or bare_opening(whole) < len(whole):
        return 0
    certain = last_end(text if is_last else text[:end], start)
    if text[text.rfind("\n", 0, certain) + 1] in BARS:  # a table goes as far as it is torn
        return 0
    return certain if _without_opening(text, certain) == certain else 0


_RULE = " \t\n-=_#>*"


def _without_open_rule(text: str) -> str:
    """The text in front of a dividing line at its end: a cut behind it takes it along."""
    words = text.rstrip(_RULE)
    newline = text.find("\n", len(words))
    if not words:
        return ""
    return text if newline < 0 else text[:newline].rstrip()


class LiveReply:
    """Shows one reply: `token` with more of its text, `segment` with a piece that is done.

    The tokens join to the text that `parse_reply` gives, but for an unfinished last sentence that
    the token limit broke off: it is shown, and is not in the response. Of a reply that has to be
    written again nothing is shown, unless it is the last attempt and some of it can be kept.
    """

    def __init__(
        self,
        cast: Cast,
        stops: tuple[str, ...],
        headings: tuple[str, ...],
        show: Callable[[dict[str, Any]], None],
        *,
        before: str = "",
        last: bool,
    ) -> None:
        """Prepares for the first piece.

        Args:
            cast: the voices of the chat.
            stops: the stop strings of the request to the model.
            headings: as in `read_reply`.
            show: takes each event.
            before: as in `read_reply`.
            last: there is no further attempt.
        """
        self._reader = StreamReader(cast, stops=stops, headings=headings, before=before)
        self._show, self._last = show, last

    def hear(self, piece: str) -> bool:
        """Takes the model's next piece; false when nothing that could follow would be kept."""
        self._tell(self._reader.feed(piece))
        return not (self._reader.done or (self._reader.regenerate and not self._last))

    def end(self, finish_reason: FinishReason) -> ParsedReply:
        """The reply as it was read; shows what is left of it."""
        events, reply = self._reader.finish(finish_reason)
        if reply.regenerate and reply.text and (self._last or finish_reason == "error"):
            events = [reply.text, *reply.contents]
        self._tell(events)
        return reply

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, str):
                self._show({"type": "token", "text": event})
            else:
                self._show({"type": "segment", "content": event.model_dump(mode="json")})
