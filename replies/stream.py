"""A reply while it is written: what may be shown now, and the pieces that are complete.

What has been shown is never taken back. So a beginning of a tag, token or stop string is held
until it is known, and an unfinished sentence until it ends, as the token limit may break it off. A
quotation mark that opens the reply waits for its partner: a pair around the whole is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from replies.guard import Guard, rules_of
from replies.marks import Piece, paragraphs, pieces
from replies.names import Cast
from replies.reply import read_reply
from replies.segments import has_speech, typed
from replies.tidy import PAIRS, readable, tidy, wrapping
from replies.tokens import opening_end, opening_is_open
from replies.trim import last_end, settled
from schemas.response import FinishReason, ParsedReply, ResponseContent

_RULE = " \t\n-=_#>*"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the reply; all deltas join to its text."""

    text: str


@dataclass(frozen=True, slots=True)
class PieceClosed:
    """A piece that nothing later changes; pieces come in order."""

    content: ResponseContent


Event = TextDelta | PieceClosed


class StreamReader:
    """Reads the deltas of one reply.

    Attributes:
        done: the reply is cut; nothing that follows is kept, so generation may be stopped.
        regenerate: the reply began by speaking for somebody else; nothing was shown.
    """

    def __init__(
        self,
        cast: Cast,
        *,
        stops: tuple[str, ...] = (),
        unwrap: bool = True,
        live: bool = False,
    ) -> None:
        """Prepares for the first delta.

        Args:
            cast: the voices of the chat.
            stops: the stop strings of the request to the model.
            unwrap: take a pair of quotation marks off that encloses the whole reply; off, a reply
                that begins with speech is shown from its first word on.
            live: show words at once instead of whole sentences. Then an unfinished last sentence
                that the token limit broke off has been shown, though the result is without it.
        """
        self._cast, self._stops = cast, stops
        self._unwrap, self._live = unwrap, live
        self._wrapping = "whole" if unwrap and cast.speaker == "character" else "no"
        self._checked = 0  # characters that were searched for the partner of the first mark
        self._guard = Guard(rules_of(cast, stops))
        self._raw: list[str] = []
        self._carry = ""
        self._opening: str | None = ""  # None once it is over
        self._text = ""  # what follows the opening
        self._shown = 0
        self._searched = 0  # the ends of sentences before it are known
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
        shown = len(text) if self._live else self._last_end(text)
        if shown > self._shown:
            events.append(TextDelta(text[self._shown : shown]))
            self._shown = shown
        events += map(PieceClosed, self._close_pieces(text))
        return events

    def finish(self, finish_reason: FinishReason = "stop") -> tuple[list[Event], ParsedReply]:
        """Ends the reply.

        Args:
            finish_reason: why the model stopped.

        Returns:
            The remaining events, none for a reply to be generated again, and the result: the same
            as `read_reply` gives for the joined deltas.
        """
        result = read_reply(
            "".join(self._raw),
            self._cast,
            stops=self._stops,
            finish_reason=finish_reason,
            unwrap=self._unwrap,
        )
        events: list[Event] = []
        if not result.regenerate:
            if rest := result.text[self._shown :]:
                events.append(TextDelta(rest))
            events += map(PieceClosed, result.contents[self._sent :])
        return events, result

    def _read_on(self, delta: str) -> bool:
        """Adds to the text; False while its opening is not over."""
        text = self._carry + delta
        cut = len(text) - text.endswith("\r")  # half of a line end
        text, self._carry = readable(text[:cut]), text[cut:]
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
        text = _without_open_rule(tidy(self._guard.kept))
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

    def _last_end(self, text: str) -> int:
        """Where its last sentence ends; looks again at what may have become an end."""
        start = max(self._shown, self._searched)
        self._searched = settled(text)
        end = last_end(text, start)
        return end if end > start else self._shown

    def _close_pieces(self, text: str) -> Iterator[ResponseContent]:
        """The new pieces of complete paragraphs, once speech in quotation marks sets the style."""
        complete = [span for span in paragraphs(text, self._closed) if span[1] < len(text)]
        certain = last_end(text, complete[-1][0]) if complete else 0  # a trim goes no further back
        for start, end in complete:
            if end < certain:
                self._waiting.append(pieces(text, start, end))
                self._quoted = self._quoted or has_speech(self._waiting[-1])
                self._closed = end
        if self._quoted:
            for paragraph in self._waiting:
                for content in typed(text, paragraph, self._cast, quoted=True, starred=True):
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
