"""What was said before, kept for backends that send only recent messages."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from schemas.errors import StoreError
from schemas.request import Message
from stores.chat_order import Remembered, placed
from stores.chroma import ChromaDatabase
from stores.encoder import Encoder
from stores.rows import digest
from stores.shelf import Shelf

CACHED_MESSAGES = 100_000
"""Messages kept in this process: 150 MB of vectors at 384 numbers, 100 chats of 1,000."""


class Recollection(NamedTuple):
    """A chat's messages, oldest first, and their vectors: row by row (n, dimension) float32."""

    messages: tuple[Message, ...]
    vectors: np.ndarray


class StandingMemory:
    """Past messages of each chat, in a collection of its own per user, session and embedder.

    The collection's name is a digest of both ids, so the memory of another user or session cannot
    be asked for, not even by mistake. All methods block; the async ones run them in a thread.

    Args:
        database: where the memories are.
        encoder: makes vectors again when the embedder was changed.
    """

    def __init__(self, database: ChromaDatabase, encoder: Encoder) -> None:
        """Touches neither yet."""
        self._encoder = encoder
        self._shelf = Shelf(
            database,
            "chat",
            encoder,
            model=Remembered,
            text=lambda remembered: remembered.message.content,
            order=lambda remembered: remembered.at,
            cached_rows=CACHED_MESSAGES,
        )

    def load(self, user_id: str, session_id: str) -> Recollection:
        """All that is remembered of a chat, as any worker wrote it; it may be nothing.

        Raises:
            StoreError, EmbeddingError: the memory failed.
        """
        rows = self._shelf.load(digest(user_id, session_id))
        if rows is None:
            return Recollection((), np.empty((0, self._encoder.dimension), dtype=np.float32))
        return Recollection(tuple(item.message for item in rows.items), rows.vectors)

    def remember(
        self, user_id: str, session_id: str, messages: Sequence[Message], vectors: np.ndarray
    ) -> int:
        """Adds messages to a chat; on disk when it returns. Those known already cost nothing.

        A message whose id is known with other words replaces the old one in its place; one
        without an id is known by its words. Messages keep the order of the list, and come after
        what is known or where their timestamps say.

        Args:
            user_id: whose chat it is.
            session_id: which of their chats.
            messages: oldest first.
            vectors: (n, dimension) of unit length, row by row.

        Returns:
            How many were new or changed.

        Raises:
            StoreError, EmbeddingError: the memory failed.
        """
        expected = (len(messages), self._encoder.dimension)
        if vectors.shape != expected:
            raise StoreError(f"memory: vectors of shape {expected} expected, got {vectors.shape}")
        key = digest(user_id, session_id)
        stored = self._shelf.load(key)
        fresh, superseded = placed(messages, stored)
        if fresh:
            rows = [row for row, _, _ in fresh]
            entries = [(id, item) for _, id, item in fresh]
            self._shelf.write(key, entries, vectors[rows], superseded)
            self._shelf.load(key)  # so that the next turn here finds it read
        return len(fresh)

    def forget(self, user_id: str, session_id: str, ids: Collection[str] | None = None) -> bool:
        """Deletes a chat's memory under every embedder, or the messages with these ids only.

        Args:
            user_id: whose chat it is.
            session_id: which of their chats.
            ids: of messages, as `message_identity` names them.

        Returns:
            Whether there was something to delete.

        Raises:
            StoreError: the memory failed; nothing can be taken as deleted.
        """
        key = digest(user_id, session_id)
        return self._shelf.drop(key) if ids is None else self._shelf.remove(key, ids) > 0

    async def aload(self, user_id: str, session_id: str) -> Recollection:
        """`load`, in a thread."""
        return await asyncio.to_thread(self.load, user_id, session_id)

    async def aremember(
        self, user_id: str, session_id: str, messages: Sequence[Message], vectors: np.ndarray
    ) -> int:
        """`remember`, in a thread."""
        return await asyncio.to_thread(self.remember, user_id, session_id, messages, vectors)

    async def aforget(
        self, user_id: str, session_id: str, ids: Collection[str] | None = None
    ) -> bool:
        """`forget`, in a thread."""
        return await asyncio.to_thread(self.forget, user_id, session_id, ids)
