"""Between the model and whoever watches: raw pieces become what may be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from replies.reply import Event, StreamReader
from replies.tags import Cast
from schemas.response import FinishReason, ParsedReply


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
        show: Callable[[dict[str, Any]], None],
        *,
        last: bool,
    ) -> None:
        """Prepares for the first piece.

        Args:
            cast: the voices of the chat.
            stops: the stop strings of the request to the model.
            show: takes each event.
            last: there is no further attempt.
        """
        self._reader = StreamReader(cast, stops=stops)
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
            self._show(_told(event))


def _told(event: Event) -> dict[str, Any]:
    if isinstance(event, str):
        return {"type": "token", "text": event}
    return {"type": "segment", "content": event.model_dump(mode="json")}
