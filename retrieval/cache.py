"""Indexes of recent conversations, so that a turn pays for its new messages only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from retrieval.hybrid import PART_SIZE, Index, Passage

MAX_PARTS = 65_536
"""Parts in all indexes together: 100 MB of vectors at 384 numbers, 60 chats of 1,000."""


class IndexCache:
    """Lends an index to one borrower at a time; the least recently used go first.

    The key (say user and session) only finds a likely index. What the borrower gets holds exactly
    the passages asked for, compared one by one, so that a wrong key costs time and leaks nothing.
    """

    def __init__(self, capacity: int = 64, max_parts: int = MAX_PARTS) -> None:
        self._capacity = capacity
        self._max_parts = max_parts
        self._lock = Lock()
        self._indexes: OrderedDict[tuple[Hashable, int], Index] = OrderedDict()

    @contextmanager
    def index(
        self, key: Hashable, passages: Sequence[Passage], *, part_size: int = PART_SIZE
    ) -> Iterator[Index]:
        """The index of these passages, brought up to date, for the length of the block.

        A second borrower of the same key at the same time gets an index of its own.
        """
        with self._lock:
            index = self._indexes.pop((key, part_size), None)
        if index is None:
            index = Index(part_size=part_size)
        index.update(passages)
        yield index
        with self._lock:
            self._indexes[key, part_size] = index
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
