"""A chat of another program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.request import Message


class Swipes(NamedTuple):
    """The versions of a message, and which of them stands in the chat."""

    texts: tuple[str, ...]
    chosen: int


@dataclass(frozen=True, kw_only=True)
class Chat:
    """What a file of a chat holds.

    Args:
        form: what it was taken for.
        messages: those that a request can carry, oldest first.
        lines: messages that the file has, whether they could be read or not.
        user: the user's name, where the file says it; `character` the character's.
        warnings: what was not read, and what is odd.
        swipes: the versions of messages, by their place in `messages`.
        log: the lines of SillyTavern as they came, in text or as objects, to be written back.
        turned: the user's folded name, where the caller gave it and the log says otherwise.
        beside: what a plain list of messages has no place for, in words.
        others: fields of its lines that a message has no place for.
    """

    form: str = "chat"
    messages: list[Message] = field(repr=False)
    lines: int = 0
    user: str | None = None
    character: str | None = None
    warnings: tuple[str, ...] = ()
    swipes: Mapping[int, Swipes] = field(default_factory=dict, repr=False)
    log: str | Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    turned: str | None = None
    beside: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
