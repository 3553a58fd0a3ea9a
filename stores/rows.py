"""Rows of a collection in memory, and the ids by which they are known."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Rows(Generic[M]):
    """Items with their vectors, row by row."""

    ids: tuple[str, ...]
    items: tuple[M, ...]
    written: tuple[int, ...]  # nanoseconds since 1970; of two rows of one identity the later counts
    vectors: np.ndarray  # (n, dimension) float32

    @classmethod
    def of(cls, entries: Sequence[tuple[str, M]], vectors: np.ndarray) -> Rows[M]:
        """Entries (row id, item) as rows that are written now, one after the other."""
        now = time.time_ns()
        return cls(
            ids=tuple(id for id, _ in entries),
            items=tuple(item for _, item in entries),
            written=tuple(range(now, now + len(entries))),
            vectors=vectors,
        )

    def taken(self, order: Sequence[int]) -> Rows[M]:
        """These rows in this order."""
        return Rows(
            ids=tuple(self.ids[row] for row in order),
            items=tuple(self.items[row] for row in order),
            written=tuple(self.written[row] for row in order),
            vectors=self.vectors[list(order)],
        )

    def joined(self, new: Rows[M], existing: Collection[str]) -> Rows[M]:
        """These rows as far as they exist still, then the new ones."""
        kept = self.taken([row for row, id in enumerate(self.ids) if id in existing])
        if not new.ids:
            return kept
        return Rows(
            ids=kept.ids + new.ids,
            items=kept.items + new.items,
            written=kept.written + new.written,
            vectors=np.concatenate([kept.vectors, new.vectors]),
        )

    def arranged(self, order: Callable[[M], int]) -> Rows[M]:
        """Sorted, and of each identity only the row that was written last; vectors read-only."""
        latest: dict[str, int] = {}
        for row, (id, at) in enumerate(zip(self.ids, self.written, strict=True)):
            rival = latest.setdefault(identity_of(id), row)
            if (at, id) > (self.written[rival], self.ids[rival]):
                latest[identity_of(id)] = row

        def place(row: int) -> tuple[Any, ...]:
            return order(self.items[row]), self.written[row], self.ids[row]

        arranged = self.taken(sorted(latest.values(), key=place))
        arranged.vectors.setflags(write=False)
        return arranged


def digest(*parts: str) -> str:
    """160 bits over the parts, no two different lists of which run into the same bytes."""
    coded = [part.encode("utf-8", "surrogatepass") for part in parts]
    joined = b"".join(len(part).to_bytes(8) + part for part in coded)
    return hashlib.sha256(joined).hexdigest()[:40]


def row_id(identity: str, content: str) -> str:
    """The id of a row: what it is about, and what it says."""
    return f"{digest(identity)}-{digest(content)}"


def identity_of(row_id: str) -> str:
    """The part that rows about the same thing share: the `digest` of the identity."""
    return row_id.partition("-")[0]
