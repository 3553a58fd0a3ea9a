"""Messages of a chat as passages: who spoke, and in which scene."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

from retrieval.hybrid import Passage
from schemas.request import ChatRequest, Message, Role

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


def speakers(messages: Sequence[Message], request: ChatRequest) -> set[str]:
    """All who said something in the scene."""
    lines = {(line.role, line.name): line for line in messages if line.role != "system"}
    return {speaker_of(line, request) for line in lines.values()}


def scenes(messages: Sequence[Message]) -> list[str]:
    """The number of each message's scene; messages without a time belong to the one before."""
    numbers: list[str] = []
    scene, number, last = 0, "0", None
    for time in [message.timestamp for message in messages]:
        if time:
            time = _utc(time)
            if last and abs(time - last) > BREAK:
                scene += 1
                number = str(scene)
            last = time
        numbers.append(number)
    return numbers


def passages(messages: Sequence[Message], request: ChatRequest) -> list[Passage]:
    """The messages as retrieval searches them, row by row."""
    said_by = {role: speaker_of(Message(role=role, content=""), request) for role in get_args(Role)}
    columns = (
        [message.id or "" for message in messages],
        [message.content for message in messages],
        [message.name or said_by[message.role] for message in messages],
        scenes(messages),
    )
    return [*map(Passage._make, zip(*columns, strict=True))]


def _utc(time: datetime) -> datetime:
    """Backends mix times with and without a zone; one without is taken for UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
