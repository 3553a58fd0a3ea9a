"""What the server remembers of a chat, less what the user has taken back since."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from schemas.request import Message


def still_said(
    remembered: Sequence[Message], history: Sequence[Message], message: str
) -> list[Message]:
    """The remembered messages from before the history that the backend sent.

    From the first line of the history on, the history itself says what counts: a line that is
    remembered there and was not sent has been edited, deleted or generated anew. Without a
    history, a reply to the very message that is asked now is the one to be generated anew.

    Args:
        remembered: oldest first.
        history: as it was sent, oldest first.
        message: the user's new message.
    """
    if history:
        rows = [row for row, line in enumerate(remembered) if _same(line, history[0])]
        if not rows:
            return list(remembered)
        return list(remembered[: max(rows, key=lambda row: (_run(remembered[row:], history), row))])
    last = [row for row, line in enumerate(remembered) if line.role == "user"][-1:]
    if last and remembered[last[0]].content == message:
        return list(remembered[: last[0]])
    return list(remembered)


def _same(one: Message, other: Message) -> bool:
    """Whether both are the same line of the chat, perhaps edited."""
    if one.id and other.id:
        return one.id == other.id
    return (one.role, one.content) == (other.role, other.content)


def _run(remembered: Sequence[Message], history: Sequence[Message]) -> int:
    """How many lines from the start of both are the same."""
    pairs = zip(remembered, history, strict=False)
    return sum(1 for _ in takewhile(lambda pair: _same(*pair), pairs))
