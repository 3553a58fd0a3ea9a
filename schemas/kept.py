"""What is kept between turns, within a bound in bytes."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key; where they are too large together, those used longest ago go first.

    Safe to share between threads.

    Args:
        most: bytes of all values together.
        count: of the values at most; their keys are small.
    """

    def __init__(self, most: int, count: int = 10_000) -> None:
        self.most = most
        self._count = count
        self._lock = threading.Lock()
        self._values: dict[K, tuple[K, V, int]] = {}  # the one used last stands last
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Of all values together, as they were told."""
        return self._bytes

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as used now."""
        with self._lock:
            found = self._values.pop(key, None)
            if found is None:
                return None
            kept, value, _ = found  # the key that is there stays: to compare others may take 3 ms
            self._values[kept] = found
            return value

    def put(self, key: K, value: V, size: int) -> None:
        """Keeps a value that takes about `size` bytes; one larger than all may be is not kept."""
        with self._lock:
            self._drop(key)
            if size > self.most:
                return
            self._values[key] = key, value, size
            self._bytes += size
            while self._bytes > self.most or len(self._values) > self._count:
                self._drop(next(iter(self._values)))

    def take(self, key: K) -> V | None:
        """The value of a key, which is kept no longer."""
        with self._lock:
            return self._drop(key)

    def _drop(self, key: K) -> V | None:
        found = self._values.pop(key, None)
        if found is None:
            return None
        self._bytes -= found[2]
        return found[1]
