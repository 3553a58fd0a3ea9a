"""Vectors by content id: in memory in front, in one SQLite file behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schemas.errors import StoreError
from stores.vector_file import VectorFile
from stores.vector_memory import VectorMemory

MEMORY_ROWS = 32_768
"""50 MB at 384 numbers: a chat of the longest history, or 30 of 1,000 messages. Recent chats have
theirs with their index as well; of others, 1,000 are read from the disk in 10 to 30 ms."""

DISK_ROWS = 500_000
"""Some 0.9 GB at 384 numbers: fits the smallest worker volume, and holds 500 chats of 1,000."""


class VectorCache:
    """Vectors of one embedder by content id (`schemas.embedding.embedding_id`).

    Safe to share between threads; the file is safe to share between processes. Nothing here fails
    a turn: where the file is at fault, that is logged and the vectors stay in memory.

    Args:
        path: the SQLite file, made when first needed; None keeps vectors in memory only.
        fingerprint: names the embedder; vectors of others are never seen.
        dimension: numbers per vector; unset, it is learned from the file or the first `put`.
        memory_rows: vectors kept in memory, least recently used first out.
        disk_rows: vectors kept on disk, oldest first out.
    """

    def __init__(
        self,
        path: Path | None,
        fingerprint: str,
        *,
        dimension: int | None = None,
        memory_rows: int = MEMORY_ROWS,
        disk_rows: int = DISK_ROWS,
    ) -> None:
        """Touches no file yet."""
        self._file = VectorFile(path, fingerprint, disk_rows) if path else None
        self._memory_rows = memory_rows
        self._lock = threading.Lock()
        self._memory = VectorMemory(dimension, memory_rows) if dimension else None

    def held(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """As `get`, of the vectors in memory alone: it reads no disk."""
        if self._memory is None:
            return _nothing(ids)
        return self._memory.get(ids)

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
        found_ids, found = _sound(
            self._file.read(list({ids[row] for row in unknown})), vectors.shape[1]
        )
        place = {key: row for row, key in enumerate(found_ids)}
        hits = [row for row in unknown if ids[row] in place]
        vectors[hits] = found[[place[ids[row]] for row in hits]]
        known[hits] = True
        memory.put(found_ids, found)
        return vectors, known

    def put(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Keeps (n, dimension) vectors of unit length. Blocks on the disk.

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
        if self._file is not None:
            self._file.write(
                ((key, row.tobytes()) for key, row in zip(ids, vectors, strict=True)), dimension
            )

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        if self._file is not None:
            self._file.close()

    def _memory_of(self, dimension: int | None) -> VectorMemory | None:
        """The part in memory, made once the dimension is known."""
        with self._lock:  # two that put at once would make two
            if self._memory is None:
                dimension = dimension or (self._file.dimension() if self._file else None)
                self._memory = VectorMemory(dimension, self._memory_rows) if dimension else None
            return self._memory


def _nothing(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of no numbers, while the dimension is unknown, and that none is known."""
    return np.zeros((len(ids), 0), dtype=np.float32), np.zeros(len(ids), dtype=bool)


def _sound(rows: list[tuple[str, bytes]], dimension: int) -> tuple[list[str], np.ndarray]:
    """Ids and vectors (n, dimension) of the rows that hold a vector of unit length."""
    whole = [row for row in rows if isinstance(row[1], bytes) and len(row[1]) == 4 * dimension]
    joined = np.frombuffer(b"".join(blob for _, blob in whole), dtype="<f4")
    vectors = joined.reshape(len(whole), dimension)
    with np.errstate(all="ignore"):  # damaged bytes may be anything, infinity included
        good = np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < 1e-2
    return [key for (key, _), fine in zip(whole, good, strict=True) if fine], vectors[good]
