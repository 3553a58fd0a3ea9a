"""Between the node `generate` and whoever watches: raw pieces become what may be shown."""

from __future__ import annotations

from typing import Any

from nodes.parse_reply import cast_of
from replies.reply import FinishReason
from replies.stream import Event, StreamReader, TextDelta
from schemas.state import State, request_of


class LiveReply:
    """The events of one reply: `token` with more of its text, `segment` with a piece that is done.

    The tokens join to the text that `parse_reply` gives, but for an unfinished last sentence that
    the token limit broke off: it is shown, and is not in the response.
    """

    def __init__(self, state: State) -> None:
        """Takes a turn whose prompt is built."""
        request = request_of(state)
        cast = cast_of(
            state["route"].responded_as,
            [request.persona.name, *request.persona.aliases],
            request.user_name,
        )
        stops = (*state["prompt"].stop, *request.gen.stop)
        self._reader = StreamReader(cast, stops=stops, live=True)

    def feed(self, piece: str) -> list[dict[str, Any]]:
        """Takes the model's next piece."""
        return [_told(event) for event in self._reader.feed(piece)]

    def end(self, finish_reason: FinishReason) -> list[dict[str, Any]]:
        """What is left when the model has stopped."""
        events, _ = self._reader.finish(finish_reason)
        return [_told(event) for event in events]


def _told(event: Event) -> dict[str, Any]:
    if isinstance(event, TextDelta):
        return {"type": "token", "text": event.text}
    return {"type": "segment", "content": event.content.model_dump(mode="json")}
