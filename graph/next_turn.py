"""What a backend does between two turns: no worker keeps the chat, each request brings it whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def first_payload(payload: Mapping[str, Any], *, position: int = 0) -> dict[str, Any]:
    """The payload of a chat that has not begun: no history, the story's clock at `position`."""
    meta = {key: value for key, value in (payload.get("meta") or {}).items() if key != "story"}
    return {**payload, "history": [], "story_position": position, "meta": meta}


def next_payload(payload: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of the next turn, all but its message: put that into `message`.

    The message and the reply join the history, the story's position moves on, and `meta.story`
    goes back as it came. A turn that failed leaves no trace, so the user may say it again.

    Args:
        payload: the ChatRequest of this turn as JSON data; it stays as it is.
        response: the ChatResponse to it as JSON data.
    """
    following = {**payload, "session_id": response["session_id"]}
    pieces, story = response["response_contents"], response["meta"].get("story")
    if response["error"] or not pieces:
        return following
    said = {"role": "user", "content": payload["message"], "name": payload.get("user_name")}
    reply = {
        "role": response["responded_as"],
        "content": "".join(piece["text"] for piece in pieces),
        "name": payload["persona"]["name"] if response["responded_as"] == "character" else None,
    }
    following["history"] = [*(payload.get("history") or []), said, reply]
    if story:
        following["story_position"] = story["position_after"]
        following["meta"] = {**(payload.get("meta") or {}), "story": story}
    return following
