"""Messages of a chat as passages: who spoke, and in which scene."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from retrieval.hybrid import Passage
from schemas.request import ChatRequest, Message

BREAK = timedelta(hours=4)
"""A pause that ends a scene: longer than a meal, shorter than a night."""

_NAMES = {"narrator": "Narrator", "system": "System"}


def speaker_of(message: Message, request: ChatRequest) -> str:
    """Who said it: the name it came with, else what its role is called in this chat."""
    if message.name:
        return message.name
    if message.role == "character":
        return request.persona.name
    return _NAMES.get(message.role) or request.user_name or "User"


def scenes(messages: Sequence[Message]) -> list[str]:
    """The number of each message's scene; messages without a time belong to the one before."""
    numbers: list[str] = []
    scene, last = 0, None
    for message in messages:
        time = _utc(message.timestamp)
        if time and last and abs(time - last) > BREAK:
            scene += 1
        last = time or last
        numbers.append(str(scene))
    return numbers


def passages(messages: Sequence[Message], request: ChatRequest) -> list[Passage]:
    """The messages as retrieval searches them, row by row."""
    return [
        Passage(message.id or "", message.content, speaker_of(message, request), scene)
        for message, scene in zip(messages, scenes(messages), strict=True)
    ]


def _utc(time: datetime | None) -> datetime | None:
    """Backends mix times with and without a zone; one without is taken for UTC."""
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time
