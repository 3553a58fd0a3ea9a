"""The Chroma database: collections of rows (an id, metadata, a vector), and not what they mean.

This file and `chroma_connection.py` alone import chromadb and langchain_chroma.
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from stores.chroma_connection import ChromaConnection, NoCollection
from stores.database import CollectionState, Metadata, Row, VectorDatabase, Where

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection
    from langchain_chroma import Chroma
    from langchain_core.documents import Document

log = logging.getLogger(__name__)
T = TypeVar("T")

SPACE: Final = "cosine"  # Chroma's own default is l2, whose distances are no similarities
BATCH = 1_000  # rows a request: below Chroma's limit of 5,461, and some 0.2 s for the server
EF_SEARCH = 200  # candidates of the approximate search: Chroma's 100 miss more of the nearest 64


class ChromaDatabase(VectorDatabase):
    """Collections by name; every fault arrives as StoreError.

    Args:
        path: the folder of an embedded database, made when needed. One that cannot be read is put
            aside with a warning, and an empty one is started.
        url: a server in place of it, such as "http://127.0.0.1:8000".
        timeout: seconds for one answer of the server.
    """

    def __init__(
        self, *, path: Path | None = None, url: str | None = None, timeout: float = 10.0
    ) -> None:
        """Connects to nothing yet. Raises SettingsError where the address is none."""
        self._connection = ChromaConnection(path=path, url=url, timeout=timeout)

    def state(self, name: str) -> CollectionState | None:
        """The collection's state, or None where there is none; takes about a millisecond."""

        def action(client: ClientAPI) -> CollectionState:
            collection = _open(client, name)
            label = dict(collection.metadata or {})
            return CollectionState(str(collection.id), str(label.get("revision", "")), label)

        return self._found(action)

    def ids(self, name: str) -> list[str]:
        """All row ids, in no order; none where there is no collection."""
        return self._found(lambda client: _open(client, name).get(include=[])["ids"]) or []

    def fetch(self, name: str, ids: Sequence[str]) -> list[Document]:
        """The rows with these ids that exist, in no order: `id`, `page_content`, `metadata`."""
        from langchain_core.documents import Document

        found: list[Document] = []
        for start in range(0, len(ids), BATCH):
            batch = list(ids[start : start + BATCH])

            def action(client: ClientAPI, batch: list[str] = batch) -> Any:
                return _open(client, name).get(ids=batch, include=["documents", "metadatas"])

            if got := self._found(action):
                rows = zip(got["ids"], got["documents"], got["metadatas"], strict=True)
                found += [
                    Document(id=id, page_content=text or "", metadata=data or {})
                    for id, text, data in rows
                ]
        return found

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors, (dimension,), of the rows with these ids that exist, by their text."""
        found: dict[str, np.ndarray] = {}
        for start in range(0, len(ids), BATCH):
            batch = list(ids[start : start + BATCH])

            def action(client: ClientAPI, batch: list[str] = batch) -> Any:
                return _open(client, name).get(ids=batch, include=["documents", "embeddings"])

            if got := self._found(action):
                rows = np.asarray(got["embeddings"], dtype=np.float32)
                found |= dict(zip(got["documents"], rows, strict=True))
        return found

    def nearest(
        self, name: str, vector: np.ndarray, limit: int, where: Where | None = None
    ) -> list[tuple[str, float]]:
        """The rows nearest to a vector, best first: id and cosine. Chroma's search is approximate.

        Args:
            name: the collection; where there is none, nothing is found.
            vector: (dimension,) float32 of unit length.
            limit: how many at most.
            where: Chroma's filter on metadata, such as `{"order": {"$lte": 3}}`.
        """

        def action(client: ClientAPI) -> Any:
            return _open(client, name).query(
                query_embeddings=[vector],
                n_results=limit,
                where=dict(where) if where else None,
                include=["distances"],  # of all else a search would take four times as long
            )

        found = self._found(action)
        if not found:
            return []
        rows = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(id, 1.0 - distance) for id, distance in rows]

    def add(self, name: str, label: Metadata, rows: Sequence[Row]) -> None:
        """Adds rows in batches, each as a whole or not at all. A row whose id exists stays as it
        is. Where there is no collection, it is made.

        Args:
            name: the collection.
            label: its metadata if it is made, for a person who looks into the database.
            rows: of unit vectors of one dimension.
        """

        def action(client: ClientAPI) -> None:
            collection = client.get_or_create_collection(
                name,
                embedding_function=None,
                configuration={"hnsw": {"space": SPACE, "ef_search": EF_SEARCH}},
                metadata=dict(label),
            )
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                collection.add(
                    ids=[row.id for row in batch],
                    embeddings=[row.vector for row in batch],
                    metadatas=[dict(row.metadata) for row in batch],
                    documents=[row.text for row in batch],
                )

        try:
            self._connection.run(action)
        except NoCollection:  # another process dropped it in the middle
            self._connection.run(action)

    def put(self, name: str, id: str, metadata: Metadata) -> None:
        """Writes or overwrites a row that is known by its id; its text is the id."""

        def action(client: ClientAPI) -> None:
            collection = client.get_or_create_collection(name, embedding_function=None)
            collection.upsert(
                ids=[id],
                embeddings=np.ones((1, 1), dtype=np.float32),
                metadatas=[dict(metadata)],
                documents=[id],
            )

        self._connection.run(action)

    def relabel(self, name: str, label: Metadata) -> None:
        """Changes the collection's metadata and gives it a new revision, so that every process that
        asks for the state sees that there is something new to read."""

        def action(client: ClientAPI) -> None:
            collection = _open(client, name)
            known = {**(collection.metadata or {}), **label}
            collection.modify(metadata={**known, "revision": uuid.uuid4().hex})

        self._found(action)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Removes rows; unknown ids are ignored."""
        if ids:
            self._found(lambda client: _store(client, name).delete(ids=list(ids)))

    def drop(self, name: str) -> bool:
        """Deletes the collection with all that it holds; False where there is none."""

        def action(client: ClientAPI) -> bool:
            client.delete_collection(name)
            return True

        with self._connection.alone():
            folders: list[Path] = self._connection.vector_folders(name)
            gone = self._found(action)
            for folder in folders:  # Chroma would leave them behind
                shutil.rmtree(folder, ignore_errors=True)
        return bool(gone)

    def repair(self, name: str, encode: Callable[[Sequence[str]], np.ndarray]) -> bool:
        """Makes the vectors of an embedded collection again from its texts, where the files that
        hold them are damaged: while they are there, Chroma reads neither. Whether it could.

        Args:
            name: the collection.
            encode: gives (n, dimension) vectors of n texts.
        """
        if not self._connection.embedded:
            return False
        self._connection.remove_vectors(name)
        ids = self.ids(name)
        log.warning("stores: an index is damaged; %d texts are embedded again", len(ids))
        for start in range(0, len(ids), BATCH):
            rows = self.fetch(name, ids[start : start + BATCH])
            columns = {
                "ids": [row.id for row in rows],
                "embeddings": encode([row.page_content for row in rows]),
                "metadatas": [row.metadata or None for row in rows],
                "documents": [row.page_content for row in rows],
            }

            def action(client: ClientAPI, columns: dict[str, Any] = columns) -> None:
                _open(client, name).upsert(**columns)

            self._connection.run(action)
        return True

    def close(self) -> None:
        """Lets go of the connection; the next call opens it again."""
        self._connection.close()

    def _found(self, action: Callable[[ClientAPI], T]) -> T | None:
        """The action's result, or None where its collection does not exist."""
        try:
            return self._connection.run(action)
        except NoCollection:
            return None


def _open(client: ClientAPI, name: str) -> Collection:
    # Without the None, Chroma attaches an embedding model that it downloads on first use.
    return client.get_collection(name, embedding_function=None)


def _store(client: ClientAPI, name: str) -> Chroma:
    """The collection as LangChain's `VectorStore`. It takes 7 ms to be made, searches for whole
    texts only and overwrites what it adds, so a turn asks Chroma's own client."""
    from langchain_chroma import Chroma

    return Chroma(name, client=client, create_collection_if_not_exists=False)
