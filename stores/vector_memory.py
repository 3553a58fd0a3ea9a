"""Vectors in memory: one dense matrix, so that a thousand are gathered at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np


class VectorMemory:
    """Up to `capacity` vectors by id, the least recently used of which go first.

    Args:
        dimension: numbers per vector.
        capacity: rows; the matrix doubles as it fills, so few vectors take little memory.
    """

    def __init__(self, dimension: int, capacity: int) -> None:
        """Starts empty."""
        self.dimension = dimension
        self._capacity = capacity
        self._lock = threading.Lock()
        self._matrix = np.zeros((min(capacity, 1024), dimension), dtype=np.float32)
        self._used = np.zeros(len(self._matrix), dtype=np.int64)
        self._clock = 0
        self._ids: list[str] = []  # by row
        self._row: dict[str, int] = {}

    def get(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(n, dimension) float32 rows in the order of `ids`, zeros where unknown, and the mask
        (n,) of those that are known."""
        with self._lock:
            row = self._row.get
            rows = np.fromiter((row(key, -1) for key in ids), dtype=np.intp, count=len(ids))
            known = rows >= 0
            vectors = self._matrix[rows]
            self._clock += 1
            self._used[rows[known]] = self._clock
        vectors[~known] = 0
        return vectors, known

    def put(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Keeps the vectors; of more than the capacity, the last ones."""
        ids, vectors = ids[-self._capacity :], vectors[-self._capacity :]
        with self._lock:
            self._clock += 1
            self._make_room(ids)
            for key in ids:
                if key not in self._row:
                    self._row[key] = len(self._ids)
                    self._ids.append(key)
            rows = [self._row[key] for key in ids]
            self._matrix[rows] = vectors
            self._used[rows] = self._clock

    def _make_room(self, ids: Sequence[str]) -> None:
        """Drops the rows used longest ago, a quarter at least, and grows the matrix, as needed."""
        wanted = set(ids)
        needed = len(self._ids) + len(wanted - self._row.keys())
        if needed > self._capacity:
            kept = min(self._capacity - len(wanted), self._capacity - self._capacity // 4)
            self._keep(np.sort(np.argsort(self._used[: len(self._ids)])[len(self._ids) - kept :]))
            needed = len(self._ids) + len(wanted - self._row.keys())
        size = len(self._matrix)
        if needed > size:
            grown = min(self._capacity, max(needed, 2 * size)) - size
            self._matrix = np.pad(self._matrix, ((0, grown), (0, 0)))
            self._used = np.pad(self._used, (0, grown))

    def _keep(self, rows: np.ndarray) -> None:
        self._matrix[: len(rows)] = self._matrix[rows]
        self._used[: len(rows)] = self._used[rows]
        self._ids = [self._ids[row] for row in rows]
        self._row = {key: row for row, key in enumerate(self._ids)}
