"""What the stores ask of a vector database: the one class to write for another than Chroma."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from langchain_core.documents import Document

Metadata = Mapping[str, str | int | float | bool]
Where = Mapping[str, Any]
"""A filter on metadata: `{"order": {"$lte": 3}}`, `{"audience": {"$in": [0, 2]}}`, or both as
`{"$and": [..., ...]}`."""


class CollectionState(NamedTuple):
    """What tells one content of a collection from another."""

    uid: str  # another one for a collection that is made anew under the old name
    revision: str  # a new one after each `relabel`
    label: Metadata


class Row(NamedTuple):
    """A text with its vector, (dimension,) of unit length."""

    id: str
    metadata: Metadata
    vector: np.ndarray
    text: str


class VectorDatabase(Protocol):
    """Collections of rows, by name. All of it blocks; every fault arrives as StoreError.

    What does not exist is empty and no error. Several processes read and write at once.
    """

    def state(self, name: str) -> CollectionState | None:
        """The collection's state, or None where there is none."""

    def ids(self, name: str) -> list[str]:
        """All row ids, in no order."""

    def fetch(self, name: str, ids: Sequence[str]) -> list[Document]:
        """The rows with these ids that exist, in no order: `id`, `page_content`, `metadata`."""

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors, (dimension,), of the rows with these ids that exist, by their text."""

    def nearest(
        self, name: str, vector: np.ndarray, limit: int, where: Where | None = None
    ) -> list[tuple[str, float]]:
        """The rows nearest to a vector, best first: id and cosine; it may be approximate."""

    def add(self, name: str, label: Metadata, rows: Sequence[Row]) -> None:
        """Adds rows; one whose id exists stays as it is. The collection is made where needed."""

    def put(self, name: str, id: str, metadata: Metadata) -> None:
        """Writes or overwrites a row that is known by its id; its text is the id."""

    def relabel(self, name: str, label: Metadata) -> None:
        """Changes the collection's metadata and gives it a new revision."""

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Removes rows; unknown ids are ignored."""

    def drop(self, name: str) -> bool:
        """Deletes the collection with all that it holds; False where there is none."""

    def repair(self, name: str, encode: Callable[[Sequence[str]], np.ndarray]) -> bool:
        """Makes unreadable vectors again from the texts; whether it could."""
