"""A model's raw reply, read: cleaned, cut where it leaves its role, and split into pieces.

`read_reply` reads one that is complete, `StreamReader` one that is being written; the result is the
same. What has been shown is never taken back, so a beginning of a tag, token or stop string is held
until it is known, and a quotation mark that opens the reply waits for its partner: a pair around
the whole is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator

from replies.guard import Guard, rules_of
from replies.marks import PAIRS, Piece, paragraphs, pieces, wrapping
from replies.segments import acts_for_user, segments, typed
from replies.tags import Cast
from replies.tokens import opening_end, opening_is_open
from replies.trim import last_end, readable, tidy, trim, without_rule
from schemas.response import Cut, FinishReason, ParsedReply, ResponseContent


def read_reply(
    raw: str,
    cast: Cast,
    *,
    stops: tuple[str, ...] = (),
    finish_reason: FinishReason = "stop",
) -> ParsedReply:
    """Cleans a reply, cuts it where it leaves its role and splits it into typed pieces.

    Args:
        raw: the model's words, whatever they are.
        cast: the voices of the chat; from another's tag on the reply is cut.
        stops: the stop strings of the request; a torn one at the end is removed, too.
        finish_reason: `length` lets an unfinished last sentence be removed.

    Returns:
        The text, its pieces and what was done. The text is empty only with `regenerate`.
    """
    rules, text = rules_of(cast, stops), readable(raw)
    end, thought = opening_end(text)
    cuts: list[Cut] = [] if not end else ["thinking" if thought else "turn_header"]
    text = text[end:].lstrip()
    whole = rules.stops.whole(text, at_limit=finish_reason == "length", tags=rules.tags)
    if whole < len(text):
        cuts.append("partial_stop")
    text = text[:whole]
    guard = Guard(rules)
    guard.advance(text, final=True)
    cuts += guard.cuts
    text = tidy(without_rule(guard.own_text.rstrip()) if guard.ended else guard.own_text)
    wrapped = cast.speaker == "character" and wrapping(text) == "whole"
    if wrapped:
        text = text[1:-1].strip()
        cuts.append("quotes")
    elif finish_reason == "length" and not guard.ended and text != (text := trim(text)):
        cuts.append("unfinished")
    contents = segments(text, cast, quotes=not wrapped)
    return ParsedReply(
        text=text,
        contents=contents,
        regenerate=guard.regenerate or not text,
        next_speaker=guard.next_speaker,
        speaks_for_user=acts_for_user(contents, cast),
        cuts=tuple(cuts),
    )


_RULE = " \t\n-=_#>*"


Event = str | ResponseContent
"""More of the reply's text, all of which joins to it; or a piece that nothing later changes. Pieces
come in order."""


class StreamReader:
    """Reads the deltas of one reply.

    Words are shown at once. So an unfinished last sentence that the token limit broke off has been
    shown, though the result is without it.

    Attributes:
        done: the reply is cut; nothing that follows is kept, so generation may be stopped.
        regenerate: the reply began by speaking for somebody else; nothing was shown.
    """

    def __init__(self, cast: Cast, *, stops: tuple[str, ...] = ()) -> None:
        """Prepares for the first delta.

        Args:
            cast: the voices of the chat.
            stops: the stop strings of the request to the model.
        """
        self._cast, self._stops = cast, stops
        self._wrapping = "whole" if cast.speaker == "character" else "no"
        self._checked = 0  # characters that were searched for the partner of the first mark
        self._guard = Guard(rules_of(cast, stops))
        self._raw: list[str] = []
        self._half_line_end = ""  # a carriage return whose line feed may follow
        self._opening: str | None = ""  # None once it is over
        self._text = ""  # what follows the opening
        self._shown = 0
        self._closed = 0  # paragraphs before it are read
        self._waiting: list[list[Piece]] = []  # paragraphs whose style is not known yet
        self._quoted = False
        self._sent = 0

    @property
    def done(self) -> bool:
        """Whether the reply is cut."""
        return self._guard.ended

    @property
    def regenerate(self) -> bool:
        """Whether the reply began by speaking for somebody else."""
        return self._guard.regenerate

    def feed(self, delta: str) -> list[Event]:
        """Takes the next delta, of any length.

        Returns:
            What may be shown now, then the pieces that it completes.
        """
        self._raw.append(delta)
        if self._guard.ended or not self._read_on(delta):
            return []
        self._guard.advance(self._text, final=False)
        text = self._certain()
        events: list[Event] = []
        if len(text) > self._shown:
            events.append(text[self._shown :])
            self._shown = len(text)
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
        result = read_reply(raw, self._cast, stops=self._stops, finish_reason=finish_reason)
        events: list[Event] = []
        if not result.regenerate:
            if rest := result.text[self._shown :]:
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
        if opening_is_open(self._opening):
            return False
        rest = self._opening[opening_end(self._opening)[0] :].lstrip()
        if opening_is_open(rest):
            return False
        self._text, self._opening = rest, None
        return True

    def _certain(self) -> str:
        """The part of the cleaned text that no later cut can touch."""
        text = _without_open_rule(tidy(self._guard.own_text))
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
        complete = [span for span in paragraphs(text, self._closed) if span[1] < len(text)]
        certain = last_end(text, complete[-1][0]) if complete else 0  # a trim goes no further back
        for start, end in complete:
            if end < certain:
                self._waiting.append(pieces(text, start, end))
                self._quoted |= any(piece.mark == "quote" for piece in self._waiting[-1])
                self._closed = end
        if self._quoted:
            for paragraph in self._waiting:
                for content in typed(text, paragraph, self._cast, {"quote"}):
                    self._sent += 1
                    yield content
            self._waiting.clear()


def _without_open_rule(text: str) -> str:
    """The text in front of a dividing line at its end: a cut behind it takes it along."""
    words = text.rstrip(_RULE)
    newline = text.find("\n", len(words))
    if not words:
        return ""
    return text if newline < 0 else text[:newline].rstrip()
