"""The Chroma database: collections of rows (an id, metadata, a vector), and not what they mean.

This file and `chroma_connection.py` alone import chromadb and langchain_chroma.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np

from schemas.errors import StoreError
from stores.chroma_connection import ChromaConnection, NoCollection

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection
    from langchain_core.documents import Document

T = TypeVar("T")
Metadata = Mapping[str, str | int | float | bool]

SPACE: Final = "cosine"  # Chroma's own default is l2, whose distances are no similarities
BATCH = 1_000  # rows a request: below Chroma's limit of 5,461, and some 0.2 s for the server


class CollectionState(NamedTuple):
    """What tells one content of a collection from another."""

    uid: str
    revision: str
    space: str


class Row(NamedTuple):
    """One row to be written; `document` is what LangChain's search looks at."""

    id: str
    metadata: Metadata
    vector: np.ndarray
    document: str | None = None


class Fetched(NamedTuple):
    """Rows that were read; `vectors` is (n, dimension), or None where Chroma cannot read them."""

    ids: list[str]
    metadatas: list[Metadata]
    vectors: np.ndarray | None


class ChromaDatabase:
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
            revision = str((collection.metadata or {}).get("revision", ""))
            hnsw = collection.configuration.get("hnsw") or {}
            return CollectionState(str(collection.id), revision, str(hnsw.get("space", "")))

        return self._found(action)

    def ids(self, name: str) -> list[str]:
        """All row ids, in no order; none where there is no collection."""
        return self._found(lambda client: _open(client, name).get(include=[])["ids"]) or []

    def fetch(self, name: str, ids: Sequence[str], *, vectors: bool = True) -> Fetched:
        """The rows with these ids that exist, in no order."""
        if vectors:
            try:
                return self._fetch(name, ids, ["metadatas", "embeddings"])
            except StoreError as error:
                if error.retryable:
                    raise
        try:
            return self._fetch(name, ids, ["metadatas"])
        except StoreError:
            if not self._connection.embedded:
                raise
        self._connection.remove_vectors(name)  # while they are broken, Chroma reads no text either
        return self._fetch(name, ids, ["metadatas"])

    def write(
        self, name: str, label: Metadata, rows: Sequence[Row], remove: Sequence[str] = ()
    ) -> None:
        """Adds rows, then removes some, then gives the collection a new revision.

        A row is never changed: one whose id exists is left as it is. When this returns, every
        process that asks for the state sees that there is something new to read.

        Args:
            name: the collection, made when it does not exist.
            label: its metadata, for a person who looks into the database.
            rows: added in batches; a batch is added as a whole or not at all.
            remove: row ids; unknown ones are ignored.
        """

        def action(client: ClientAPI) -> None:
            collection = _create(client, name, label)
            for start in range(0, len(rows), BATCH):
                _add(collection, rows[start : start + BATCH])
            if remove:
                collection.delete(ids=list(remove))
            kept = {**(collection.metadata or {}), **label}
            collection.modify(metadata={**kept, "revision": uuid.uuid4().hex})

        self._once_more_if_gone(action)

    def replace(self, name: str, label: Metadata, rows: Sequence[Row]) -> None:
        """Puts a new collection with these rows in the place of the old one.

        The old one goes when the new one is complete: a kill in between loses no row.
        """
        spare = f"{name}-{uuid.uuid4().hex[:8]}"
        self.write(spare, label, rows)
        self.drop(name)
        try:
            self._found(lambda client: _open(client, spare).modify(name=name))
        except StoreError:  # another process has made the collection anew meanwhile
            self.write(name, label, rows)
            self.drop(spare)

    def upsert(self, name: str, id: str, metadata: Metadata) -> None:
        """Writes or overwrites one row that has no vector to speak of."""

        def action(client: ClientAPI) -> None:
            row = Row(id, metadata, np.ones(1, dtype=np.float32))
            _create(client, name, {}).upsert(**_columns([row]))

        self._once_more_if_gone(action)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Removes rows and nothing else; unknown ids are ignored."""
        if ids:
            self._found(lambda client: _open(client, name).delete(ids=list(ids)))

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

    def nearest(self, name: str, vector: np.ndarray, k: int) -> list[tuple[str, float]]:
        """The k rows nearest to a vector, best first: id and score (1 - cosine distance, 0 to 1).

        Chroma's search is approximate. Rows without a document are never found.
        """

        def action(client: ClientAPI) -> list[tuple[Document, float]]:
            from langchain_chroma import Chroma

            store = Chroma(name, client=client, create_collection_if_not_exists=False)
            return store.similarity_search_by_vector_with_relevance_scores(vector.tolist(), k=k)

        # What LangChain calls relevance score here is the distance.
        found = self._found(action) or []
        return [(str(doc.id), min(1.0, max(0.0, 1.0 - distance))) for doc, distance in found]

    def close(self) -> None:
        """Lets go of the connection; the next call opens it again."""
        self._connection.close()

    def _fetch(self, name: str, ids: Sequence[str], include: list[Any]) -> Fetched:
        found = Fetched([], [], None)
        parts: list[np.ndarray] = []
        for start in range(0, len(ids), BATCH):
            batch = list(ids[start : start + BATCH])

            def action(client: ClientAPI, batch: list[str] = batch) -> Any:
                return _open(client, name).get(ids=batch, include=include)

            got = self._found(action)
            if got and got["ids"]:
                found.ids.extend(got["ids"])
                found.metadatas.extend(data or {} for data in got["metadatas"])
                if got["embeddings"] is not None:
                    parts.append(np.asarray(got["embeddings"], dtype=np.float32))
        return found._replace(vectors=np.concatenate(parts) if parts else None)

    def _found(self, action: Callable[[ClientAPI], T]) -> T | None:
        """The action's result, or None where its collection does not exist."""
        try:
            return self._connection.run(action)
        except NoCollection:
            return None

    def _once_more_if_gone(self, action: Callable[[ClientAPI], None]) -> None:
        """Runs a write, again where another process dropped the collection in the middle."""
        try:
            self._connection.run(action)
        except NoCollection:
            self._connection.run(action)


def _open(client: ClientAPI, name: str) -> Collection:
    # Without the None, Chroma attaches an embedding model that it downloads on first use.
    return client.get_collection(name, embedding_function=None)


def _create(client: ClientAPI, name: str, label: Metadata) -> Collection:
    return client.get_or_create_collection(
        name,
        embedding_function=None,
        configuration={"hnsw": {"space": SPACE}},
        metadata=dict(label) or None,
    )


def _add(collection: Collection, rows: Sequence[Row]) -> None:
    collection.add(**_columns(rows))


def _columns(rows: Sequence[Row]) -> dict[str, Any]:
    documents = [row.document for row in rows]
    return {
        "ids": [row.id for row in rows],
        "embeddings": [row.vector for row in rows],
        "metadatas": [dict(row.metadata) for row in rows],
        "documents": None if None in documents else documents,
    }
