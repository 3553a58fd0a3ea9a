"""A bounded cache of whole values, the least recently used of which goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key, up to a total weight; safe to share between threads."""

    def __init__(self, capacity: int) -> None:
        """Args: capacity: the sum of weights that is kept."""
        self._capacity = capacity
        self._weight = 0
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> V | None:
        """The value, which counts as used now."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: str, value: V, weight: int) -> None:
        """Keeps the value; one heavier than the capacity is kept alone."""
        with self._lock:
            self._remove(key)
            self._values[key] = value, weight
            self._weight += weight
            while self._weight > self._capacity and len(self._values) > 1:
                self._remove(next(iter(self._values)))

    def pop(self, key: str) -> None:
        """Forgets the value, if there is one."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: str) -> None:
        if key in self._values:
            self._weight -= self._values.pop(key)[1]
