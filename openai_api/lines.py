"""A message of a client, whatever shape it had."""

from __future__ import annotations

from typing import Literal, NamedTuple

Role = Literal[
    "system",
    "user",
    "assistant",
    "start",  # the chat begins here
    "example",  # examples of dialogue follow
    "example_user",
    "example_assistant",
    "example_text",  # examples that were merged into one text
]


class Line(NamedTuple):
    """One message, or a part of one."""

    role: Role
    text: str
    at: int
    """Its row in `messages`."""
    name: str | None = None
    shows: bool = False
    """It holds a picture or a sound, which its text only names."""
