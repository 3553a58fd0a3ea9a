"""Vectors by content id: in memory in front, in one SQLite file behind."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import StoreError
from stores.sqlite_file import SqliteFile

MEMORY_BYTES = 60_000_000
"""34,000 vectors of 384 numbers: a chat of the longest history, or 30 of 1,000 messages. Recent
chats have theirs with their index, too; of others, 1,000 are read from the disk in 10 to 30 ms."""

DISK_BYTES = 900_000_000
"""500,000 vectors of 384 numbers: fits the smallest worker volume, and holds 500 chats of 1,000."""

BYTES_OF_ROW = 220
"""Of an id in memory or on disk, beside its numbers of four bytes."""

TABLES = """
CREATE TABLE IF NOT EXISTS embedders (
    number INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE NOT NULL, dimension INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (
    age INTEGER PRIMARY KEY, embedder INTEGER NOT NULL, id TEXT NOT NULL, vector BLOB NOT NULL,
    UNIQUE (embedder, id))
"""


class VectorCache:
    """Vectors of one embedder by content id (`schemas.base.embedding_id`).

    Safe to share between threads; the file is safe to share between processes. Nothing here fails
    a turn: where the file is at fault, that is logged and the vectors stay in memory.

    Args:
        path: the SQLite file, made when first needed; None keeps vectors in memory only.
        fingerprint: names the embedder; vectors of others are never seen.
        dimension: numbers per vector; unset, it is learned from the file or the first `put`.
        memory_bytes: of the vectors kept in memory, least recently used first out.
        disk_bytes: of the vectors of all embedders kept on disk, oldest first out.
    """

    def __init__(
        self,
        path: Path | None,
        fingerprint: str,
        *,
        dimension: int | None = None,
        memory_bytes: int = MEMORY_BYTES,
        disk_bytes: int = DISK_BYTES,
    ) -> None:
        """Touches no file yet."""
        self._file = SqliteFile(path, "vector cache", 1, TABLES) if path else None
        self._fingerprint = fingerprint
        self._memory_bytes = memory_bytes
        self._disk_bytes = disk_bytes
        self._lock = threading.Lock()
        self._memory = self._new_memory(dimension) if dimension else None

    def get(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The vectors that are known. Blocks on the disk for those that memory lacks.

        Returns:
            (n, dimension) float32 rows in the order of `ids`, zeros where unknown, and the mask
            (n,) of those that are known. A row that is damaged or of another dimension is unknown.
            While the dimension is unknown too, it is 0.
        """
        memory = self._memory_of(None)
        if memory is None:
            return _nothing(ids)
        vectors, known = memory.get(ids)
        if self._file is None or known.all():
            return vectors, known
        unknown: list[int] = np.flatnonzero(~known).tolist()
        found_ids, found = self._on_disk({ids[row] for row in unknown}, vectors.shape[1])
        place = {key: row for row, key in enumerate(found_ids)}
        hits = [row for row in unknown if ids[row] in place]
        vectors[hits] = found[[place[ids[row]] for row in hits]]
        known[hits] = True
        memory.put(found_ids, found)
        return vectors, known

    def put(self, ids: Sequence[str], vectors: np.ndarray, *, on_disk: bool = True) -> None:
        """Keeps (n, dimension) vectors of unit length; the file has them soon (`flush`).

        Args:
            ids: of the vectors.
            vectors: row by row.
            on_disk: whether the next process is to find them, too.

        Raises:
            StoreError: the shape is not (len(ids), dimension).
        """
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
        if not len(ids):
            return
        dimension = vectors.shape[-1] if self._memory is None else self._memory.dimension
        if vectors.shape != (len(ids), dimension):
            raise StoreError(
                f"vector cache: {len(ids)} vectors of {dimension} numbers expected, "
                f"got shape {vectors.shape}; check which embedder made them"
            )
        memory = self._memory_of(dimension)
        assert memory is not None
        memory.put(ids, vectors)
        if self._file is not None and on_disk:
            rows = [(key, row.tobytes()) for key, row in zip(ids, vectors, strict=True)]
            self._file.write_later(lambda db: self._insert(db, rows, dimension), vectors.nbytes)

    def begin(self, dimension: int) -> None:
        """Forgets vectors of another length: from now on they have so many numbers."""
        with self._lock:
            if self._memory is None or self._memory.dimension != dimension:
                self._memory = self._new_memory(dimension)

    def flush(self) -> None:
        """Waits until the file has all that it was given."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        if self._file is not None:
            self._file.close()

    def _memory_of(self, dimension: int | None) -> VectorMemory | None:
        """The part in memory, made once the dimension is known."""
        with self._lock:  # two that put at once would make two
            if self._memory is None:
                dimension = dimension or self._dimension_on_disk()
                self._memory = self._new_memory(dimension) if dimension else None
            return self._memory

    def _new_memory(self, dimension: int) -> VectorMemory:
        return VectorMemory(dimension, rows_in(self._memory_bytes, dimension))

    def _dimension_on_disk(self) -> int | None:
        query = "SELECT dimension FROM embedders WHERE fingerprint = ?"
        row = self._file and self._file.read(
            lambda db: db.execute(query, (self._fingerprint,)).fetchone(), None
        )
        return int(row[0]) if row else None

    def _on_disk(self, ids: set[str], dimension: int) -> tuple[list[str], np.ndarray]:
        """Ids and vectors (n, dimension) of the rows that hold a vector of unit length."""
        query = (
            "SELECT id, vector FROM vectors"
            " WHERE embedder = (SELECT number FROM embedders WHERE fingerprint = ?)"
            " AND id IN (SELECT value FROM json_each(?))"
        )
        wanted = (self._fingerprint, json.dumps(list(ids)))
        assert self._file is not None
        nothing: list[Any] = []
        rows = self._file.read(lambda db: db.execute(query, wanted).fetchall(), nothing)
        whole = [row for row in rows if isinstance(row[1], bytes) and len(row[1]) == 4 * dimension]
        joined = np.frombuffer(b"".join(blob for _, blob in whole), dtype="<f4")
        vectors = joined.reshape(len(whole), dimension)
        with np.errstate(all="ignore"):  # damaged bytes may be anything, infinity included
            good = np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < 1e-2
        return [key for (key, _), fine in zip(whole, good, strict=True) if fine], vectors[good]

    def _insert(
        self, db: sqlite3.Connection, rows: Sequence[tuple[str, bytes]], dimension: int
    ) -> None:
        db.execute(
            "INSERT INTO embedders (fingerprint, dimension) VALUES (?, ?)"
            " ON CONFLICT (fingerprint) DO UPDATE SET dimension = excluded.dimension",
            (self._fingerprint, dimension),
        )
        query = "SELECT number FROM embedders WHERE fingerprint = ?"
        (number,) = db.execute(query, (self._fingerprint,)).fetchone()
        db.executemany(
            "INSERT INTO vectors (embedder, id, vector) VALUES (?, ?, ?)"
            " ON CONFLICT (embedder, id) DO UPDATE SET vector = excluded.vector",
            [(number, key, vector) for key, vector in rows],
        )
        # The oldest, not the least used: a read that had to write would wait for writers.
        db.execute(
            "DELETE FROM vectors WHERE age <= (SELECT max(age) FROM vectors) - ?",
            (rows_in(self._disk_bytes, dimension),),
        )


def rows_in(most: int, dimension: int) -> int:
    """How many vectors of so many numbers, with their ids, take so many bytes; one at least."""
    return max(1, most // (4 * dimension + BYTES_OF_ROW))


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


def _nothing(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of no numbers, while the dimension is unknown, and that none is known."""
    return np.zeros((len(ids), 0), dtype=np.float32), np.zeros(len(ids), dtype=bool)
