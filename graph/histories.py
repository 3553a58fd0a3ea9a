"""Messages of recent chats, validated: a chat grows at its end, and a turn reads what is new."""

from __future__ import annotations

from typing import Any, NamedTuple

from retrieval.index import common
from schemas.request import ChatRequest, Message
from stores.recent import Recent

MESSAGES = 20_000
"""Kept at most, some 1.5 kB each: two of the longest histories, or 20 of 1,000 messages."""


class _Read(NamedTuple):
    """A history as it came, and what it was read as."""

    lines: list[dict[str, Any]]
    messages: list[Message]


class Histories:
    """Reads requests, and takes over the messages that the chat's last request began with.

    The key only finds a likely chat. A message is taken over where its line says the same, value by
    value, so that a wrong key costs time and leaks nothing.
    """

    def __init__(self, messages: int = MESSAGES) -> None:
        self._read: Recent[_Read] = Recent(messages)

    def request(self, payload: dict[str, Any]) -> ChatRequest:
        """The payload as a request.

        Raises:
            ValidationError: it is none.
        """
        key, lines = _chat(payload), payload.get("history")
        if key is None or not isinstance(lines, list):
            return ChatRequest.model_validate(payload)
        kept = self._read.get(key) or _Read([], [])
        known = common(kept.lines, lines)
        history = [*kept.messages[:known], *lines[known:]]
        request = ChatRequest.model_validate({**payload, "history": history})
        copied = [*kept.lines[:known], *map(dict, lines[known:])]  # the caller's own may change
        self._read.put(key, _Read(copied, request.history), len(lines))
        return request

    def forget(self, user_id: str, session_id: str) -> None:
        """Drops what is kept of a chat."""
        if key := _chat({"user_id": user_id, "session_id": session_id}):
            self._read.pop(key)


def _chat(payload: dict[str, Any]) -> str | None:
    """A name for the chat: its ids, or how it began; None where there is no telling."""
    user, session = payload.get("user_id") or "", payload.get("session_id")
    lines = payload.get("history")
    if not session and isinstance(lines, list):
        users = (line for line in lines if isinstance(line, dict) and line.get("role") == "user")
        session = next(users, {}).get("content")
    return f"{user}\0{session}" if isinstance(user, str) and isinstance(session, str) else None
