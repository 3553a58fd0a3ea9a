"""A chat of another program."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.request import Message


@dataclass(frozen=True, kw_only=True)
class Chat:
    """What a file of a chat holds.

    Args:
        form: what it was taken for.
        messages: those that a request can carry, oldest first.
        lines: messages that the file has, whether they could be read or not.
        user: the user's name, where the file says it; `character` the character's.
        warnings: what was not read, and what is odd.
    """

    form: str = "chat"
    messages: list[Message] = field(repr=False)
    lines: int = 0
    user: str | None = None
    character: str | None = None
    warnings: tuple[str, ...] = ()
