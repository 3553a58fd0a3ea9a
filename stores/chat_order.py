"""Which message is which, and in what order they were said, with several writers to one chat."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from schemas.base import Strict
from schemas.request import Message
from stores.rows import Rows, digest, identity_of, row_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_ALL = -(10**17)  # microseconds from 1970: earlier than the year 1


class Remembered(Strict):
    """A message and its place in the chat."""

    message: Message
    at: int  # microseconds since 1970


def message_identity(message: Message) -> str:
    """What a message is known by: its id, else its role and words."""
    return message.id or "sha1:" + _said(message)


def placed(
    messages: Sequence[Message], stored: Rows[Remembered] | None
) -> tuple[list[tuple[int, str, Remembered]], list[str]]:
    """What is to be written (row of `messages`, row id, item), and row ids that it supersedes.

    The places are a hybrid logical clock (Kulkarni et al., 2014): the wall clock, or a message's
    own timestamp, but never before what the writer has seen. So what follows from something comes
    after it, whichever worker wrote it and however its clock is set.
    """
    chat = _Known(stored)
    now, before = time.time_ns() // 1000, BEFORE_ALL
    fresh: dict[str, tuple[int, str, Remembered]] = {}
    superseded: list[str] = []
    for row, message in enumerate(messages):
        id = row_id(message_identity(message), _said(message))
        old_id, at = chat.find(message, id, before)
        if at is None:
            stamp = message.timestamp
            wanted = max(now, chat.newest + 1) if stamp is None else _micros(stamp)
            at = max(wanted, before + 1)
        before = max(before, at)
        if old_id is None or (message.id is not None and old_id != id):
            fresh[identity_of(id)] = row, id, Remembered(message=message, at=at)
            superseded += [old_id] if old_id else []
            chat.note(id, at)
    kept = {id for _, id, _ in fresh.values()}  # words that were changed there and back again
    return list(fresh.values()), [id for id in superseded if id not in kept]


class _Known:
    """Row ids and places in a chat, by identity and by words."""

    def __init__(self, stored: Rows[Remembered] | None) -> None:
        self.newest = 0
        self._by_identity: dict[str, tuple[str, int]] = {}
        self._by_words: dict[str, tuple[str, int]] = {}
        for id, item in zip(stored.ids, stored.items, strict=True) if stored else ():
            self.note(id, item.at)

    def note(self, id: str, at: int) -> None:
        identity, _, words = id.partition("-")
        self._by_identity[identity] = self._by_words[words] = id, at
        self.newest = max(self.newest, at)

    def find(self, message: Message, id: str, before: int) -> tuple[str | None, int | None]:
        """The row id and place under which the message is known.

        A backend gives an id to what was remembered without one, so the same words count as the
        same message if one side has no id, and for an id only where that keeps the list's order.
        """
        identity, _, words = id.partition("-")
        if identity in self._by_identity:
            return self._by_identity[identity]
        if message.id is None:
            return self._by_words.get(words, (None, None))
        twin = self._by_identity.get(digest("sha1:" + _said(message)))
        if twin and twin[1] > before:
            del self._by_identity[identity_of(twin[0])]
            return twin
        return None, None


def _said(message: Message) -> str:
    """The words and their role: what makes a message another one under the same id."""
    return digest(message.role, message.content)


def _micros(time: datetime) -> int:
    """Microseconds since 1970; a time without a zone is taken as UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)
