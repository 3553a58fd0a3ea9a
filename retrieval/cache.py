"""Indexes of recent conversations, so that a turn pays for its new messages only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar

from retrieval.index import Index

T = TypeVar("T", bound=Index)

MAX_PARTS = 65_536
"""Parts in all indexes together: 100 MB of vectors at 384 numbers, 60 chats of 1,000."""


PATIENCE = 0.05
"""Seconds that a turn waits for another one's index of the same story or chat. That has it for some
2 ms, less than a new one takes; a turn that embeds has it longer, and is not waited for."""


class IndexCache:
    """Lends an index to one borrower at a time; the least recently used go first.

    The key (say user and session) only finds a likely index. The borrower has it read what it is to
    hold, which is compared one by one, so that a wrong key costs time and leaks nothing.
    """

    def __init__(self, capacity: int = 64, max_parts: int = MAX_PARTS) -> None:
        self._capacity = capacity
        self._max_parts = max_parts
        self._changed = Condition()
        self._indexes: OrderedDict[tuple[Hashable, type[Index]], Index] = OrderedDict()
        self._lent: set[tuple[Hashable, type[Index]]] = set()

    @contextmanager
    def index(self, key: Hashable, kind: type[T]) -> Iterator[T]:
        """The last index of a kind and key, or an empty one, for the length of the block.

        A second borrower at the same time waits for the first, and after `PATIENCE` gets an index
        of its own. What a block leaves by an exception is not kept.
        """
        slot, whole = (key, kind), False
        with self._changed:
            self._changed.wait_for(lambda: slot not in self._lent, PATIENCE)
            index = self._indexes.pop(slot, None)
            self._lent.add(slot)
        if not isinstance(index, kind):
            index = kind()
        try:
            yield index
            whole = True
        finally:
            with self._changed:
                self._lent.discard(slot)
                if whole:
                    self._indexes[slot] = index
                while self._is_full():
                    self._indexes.popitem(last=False)
                self._changed.notify_all()

    def _is_full(self) -> bool:
        parts = sum(len(index.parts) for index in self._indexes.values())
        return len(self._indexes) > self._capacity or parts > self._max_parts

    def forget(self, key: Hashable) -> None:
        """Drop what is kept for a key."""
        with self._changed:
            for kept in list(self._indexes):
                if kept[0] == key:
                    del self._indexes[kept]
