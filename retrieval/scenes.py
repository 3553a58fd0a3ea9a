"""Messages of a chat: who spoke, and in which scene."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import get_args

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


def speakers(request: ChatRequest) -> set[str]:
    """All who said something in the scene."""
    names = names_of_roles(request)
    return {name or names[role] for role, name in request.voices if role != "system"}


def names_of_roles(request: ChatRequest) -> dict[Role, str]:
    """Who says a line of each role that came without a name."""
    return {role: speaker_of(Message(role=role, content=""), request) for role in get_args(Role)}


def scenes(
    messages: Iterable[Message], number: str = "0", last: datetime | None = None
) -> list[str]:
    """The number of each message's scene; messages without a time belong to the one before.

    Args:
        messages: oldest first.
        number: the scene before them.
        last: when something was last said in it.
    """
    numbers: list[str] = []
    last = last and _utc(last)
    for time in [message.timestamp for message in messages]:
        if time:
            time = _utc(time)
            if last and abs(time - last) > BREAK:
                number = str(int(number) + 1)
            last = time
        numbers.append(number)
    return numbers


def _utc(time: datetime) -> datetime:
    """Backends mix times with and without a zone; one without is taken for UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
