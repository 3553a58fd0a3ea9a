"""A chat as passages: who spoke, in which scene, and the index that grows with it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np

from retrieval.index import Index, Passage, common
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


class ChatIndex(Index):
    """The messages of a chat as passages: who said them, and in which scene.

    A turn reads what is new: messages that equal those before are not made passages again.
    """

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        self._messages: list[Message] = []
        self._names: dict[Role, str] = {}
        self._told = array("b")  # whether each was said in the scene, in words
        self._contents: set[str] = set()

    def read(
        self, messages: Sequence[Message], request: ChatRequest, runs: Sequence[int] = ()
    ) -> None:
        """Make the index hold exactly these messages, oldest first, row by row.

        Args:
            messages: of the chat.
            request: names who speaks.
            runs: of messages between which others are left out, the stretch that each is in; a
                stretch is a scene or several.
        """
        names = names_of_roles(request)
        known = common(self._messages, messages) if names == self._names else 0
        new = messages[known:]
        passages = [
            Passage(line.id or "", line.content, line.name or names[line.role], scene)
            for line, scene in zip(new, self._scenes_after(known, new), strict=True)
        ]
        if runs:
            stretches = zip(passages, runs[known:], strict=True)
            passages = [it._replace(scene=f"{run}.{it.scene}") for it, run in stretches]
        same = common(self.passages[known:], passages)  # of messages that differ in other things
        self.replace(known + same, passages[same:])
        del self._told[known:]
        self._told.extend(line.role != "system" and bool(line.content.strip()) for line in new)
        if known < len(self._messages):
            self._contents = {message.content for message in messages[:known]}
        self._contents.update(message.content for message in new)
        self._messages, self._names = [*messages], names

    def _scenes_after(self, known: int, new: Sequence[Message]) -> list[str]:
        if not known:
            return scenes(new)
        times = (message.timestamp for message in reversed(self._messages[:known]))
        return scenes(new, self.passages[known - 1].scene, next(filter(None, times), None))

    def scene_after(self, lines: Sequence[Message]) -> str:
        """The scene that runs when these have been said, too."""
        known = [self.passages[-1].scene] if self.passages else ["0"]
        return [*known, *self._scenes_after(len(self), lines)][-1]

    def recallable(self, seen: Iterable[Message]) -> np.ndarray:
        """(messages,) bool: what was said in the scene, in words that were not `seen` already."""
        contents = {message.content for message in seen} & self._contents
        may = np.array(self._told, dtype=bool)
        if contents:
            may &= [message.content not in contents for message in self._messages]
        return may
