"""Which message is which, and in what order they were said, with several writers to one chat."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from schemas.base import Strict, digest
from schemas.request import Message
from stores.word_index import Known

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_ALL = -(10**17)  # microseconds from 1970: earlier than the year 1


class Remembered(Strict):
    """A message and its place in the chat."""

    message: Message
    at: int  # microseconds since 1970
    written: int = 0  # nanoseconds since 1970; of one identity in two logs the later counts
    stamp: str = ""  # of the write


def message_identity(message: Message) -> str:
    """What a message is known by: its id, else its role and words."""
    return message.id or "sha1:" + digest(message.role, message.content)


def identity_digest(message: Message) -> bytes:
    """The identity in 16 bytes."""
    return bytes.fromhex(digest(message_identity(message))[:32])


def words_digest(message: Message) -> bytes:
    """The words and their role in 16 bytes: what makes a message another one under the same id."""
    return bytes.fromhex(digest(message.role, message.content)[:32])


def nameless_digest(message: Message) -> bytes:
    """The identity that the message would have without an id."""
    return bytes.fromhex(digest("sha1:" + digest(message.role, message.content))[:32])


UNWRITTEN = -1
"""The place of what is in the list only."""


class Place(NamedTuple):
    """Where a message is to be written."""

    row: int  # in the list
    at: int  # microseconds since 1970
    instead_of: int | None  # the place of the row that it supersedes


def placed(
    messages: Sequence[Message], known: Iterable[Known], newest: int, said_now: int = 0
) -> list[Place]:
    """Which of the messages are to be written, and when they count as said.

    The times are a hybrid logical clock (Kulkarni et al., 2014): the wall clock, or a message's own
    timestamp, but never before what the writer has seen. So what follows from something comes after
    it, whichever worker wrote it and however its clock is set.

    Args:
        messages: oldest first.
        known: what is known of messages that have their identities or say their words.
        newest: when the newest message of the chat was said, 0 where there is none.
        said_now: how many of the messages, the last, come after all that is known.
    """
    chat = _Chat(known)
    now, before = time.time_ns() // 1000, BEFORE_ALL
    fresh: dict[bytes, Place] = {}
    for row, message in enumerate(messages):
        twin = chat.find(message, before)
        if twin:
            at = twin.at
        else:
            stamp = message.timestamp
            at = now if stamp is None else _micros(stamp)
            if stamp is None or row >= len(messages) - said_now:
                at = max(at, newest + 1)
            at = max(at, before + 1)
        before, newest = max(before, at), max(newest, at)
        identity = identity_digest(message)
        words = words_digest(message)
        if twin and (message.id is None or (twin.identity, twin.words) == (identity, words)):
            continue
        instead_of = None
        if twin:  # of one that is not written yet, what that stood for
            unwritten = fresh.pop(twin.identity, None)
            instead_of = unwritten.instead_of if unwritten else twin.place
        fresh[identity] = Place(row, at, instead_of)
        chat.note(Known(UNWRITTEN, identity, words, at, 0))
    return sorted(fresh.values())


class _Chat:
    """What is known of a chat, by identity and by words."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._by_identity: dict[bytes, Known] = {}
        self._by_words: dict[bytes, Known] = {}
        for one in known:
            self.note(one)

    def note(self, known: Known) -> None:
        self._by_identity[known.identity] = self._by_words[known.words] = known

    def find(self, message: Message, before: int) -> Known | None:
        """What is known of the message.

        A backend gives an id to what was remembered without one, so the same words count as the
        same message if one side has no id, and for an id only where that keeps the list's order.
        """
        if found := self._by_identity.get(identity_digest(message)):
            return found
        if message.id is None:
            return self._by_words.get(words_digest(message))
        twin = self._by_identity.get(nameless_digest(message))
        if twin and twin.at > before:
            del self._by_identity[twin.identity]
            return twin
        return None


def _micros(time: datetime) -> int:
    """Microseconds since 1970; a time without a zone is taken as UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)
