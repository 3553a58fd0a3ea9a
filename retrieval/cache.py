"""Indexes of recent conversations, so that a turn pays for its new messages only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from retrieval.hybrid import Index

T = TypeVar("T", bound=Index)

MAX_PARTS = 65_536
"""Parts in all indexes together: 100 MB of vectors at 384 numbers, 60 chats of 1,000."""


class IndexCache:
    """Lends an index to one borrower at a time; the least recently used go first.

    The key (say user and session) only finds a likely index. The borrower has it read what it is to
    hold, which is compared one by one, so that a wrong key costs time and leaks nothing.
    """

    def __init__(self, capacity: int = 64, max_parts: int = MAX_PARTS) -> None:
        self._capacity = capacity
        self._max_parts = max_parts
        self._lock = Lock()
        self._indexes: OrderedDict[tuple[Hashable, type[Index]], Index] = OrderedDict()

    @contextmanager
    def index(self, key: Hashable, kind: type[T]) -> Iterator[T]:
        """The last index of a kind and key, or an empty one, for the length of the block.

        A second borrower of the same key at the same time gets an index of its own.
        """
        with self._lock:
            index = self._indexes.pop((key, kind), None)
        if not isinstance(index, kind):
            index = kind()
        yield index
        with self._lock:
            self._indexes[key, kind] = index
            while self._is_full():
                self._indexes.popitem(last=False)

    def _is_full(self) -> bool:
        parts = sum(len(index.parts) for index in self._indexes.values())
        return len(self._indexes) > self._capacity or parts > self._max_parts

    def forget(self, key: Hashable) -> None:
        """Drop what is kept for a key."""
        with self._lock:
            for kept in list(self._indexes):
                if kept[0] == key:
                    del self._indexes[kept]
