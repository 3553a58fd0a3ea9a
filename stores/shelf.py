"""Texts and their vectors in Chroma collections that several processes read and write.

A row is never changed: its id says what it is about (the identity) and what it says (the content).
So a reader needs to fetch only ids that it has not seen, writers cannot tear each other's rows, and
writing twice is writing once. Each row holds its whole item as JSON: vectors that are unreadable,
of another embedder or of another space are made again from it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from stores.chroma import SPACE, ChromaDatabase, CollectionState, Fetched, Row
from stores.encoder import Encoder
from stores.ledger import Ledger
from stores.recent import Recent
from stores.rows import Rows, digest, identity_of

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)

SCHEMA = "1"
"""Version of the rows and of what is embedded; a new one has everything embedded again."""


EMBEDDERS_SECONDS = 60.0
"""How long the list of embedders is believed where it can only add to what was found."""


class Shelf(Generic[M]):
    """Collections of one kind, each under a key and an embedder, and a cache of their content.

    A key is a `digest`, so that no text of a caller gets into a collection's name.

    Args:
        database: where they are.
        kind: first part of their names, such as "chat".
        encoder: makes vectors again where they cannot be used.
        model: of the items.
        text: what is embedded of an item.
        order: by which a collection is sorted; ties stay in the order of writing.
        documents: whether LangChain's search is to find the texts.
        cached_rows: kept in this process, of the collections used last.
    """

    def __init__(
        self,
        database: ChromaDatabase,
        kind: str,
        encoder: Encoder,
        *,
        model: type[M],
        text: Callable[[M], str],
        order: Callable[[M], int],
        documents: bool = False,
        cached_rows: int,
    ) -> None:
        """Touches no database yet."""
        self._database = database
        self._kind = kind
        self._encoder = encoder
        self._model = model
        self._text = text
        self._order = order
        self._documents = documents
        self._embedders = Ledger(database, "embedders")
        self._registered = False
        self._seen_embedders: tuple[float, dict[str, int]] = (-EMBEDDERS_SECONDS, {})
        self._cache: Recent[tuple[Rows[M], CollectionState]] = Recent(cached_rows)

    def load(self, key: str) -> Rows[M] | None:
        """All rows of a collection in order, or None where there is none.

        One short request where nothing has changed since; else only new rows are read.

        Raises:
            StoreError: the database failed.
            EmbeddingError: vectors had to be made again, and could not.
        """
        known, name = self._cache.get(key), self.name(key)
        state = self._database.state(name)
        if known is not None and state == known[1]:
            return known[0]
        rows = self._refresh(name, state, known) if state else None
        if (known is None or state is None) and self._adopt(key, rows):
            state = self._database.state(name)
            rows = self._refresh(name, state, None) if state else None
        if rows is None or state is None:
            self._cache.pop(key)
            return None
        self._cache.put(key, (rows, state), weight=len(rows.ids) + 1)
        return rows

    def write(
        self, key: str, entries: Sequence[tuple[str, M]], vectors: np.ndarray, remove: Sequence[str]
    ) -> None:
        """Adds items under their row ids, and removes rows; both are on disk when it returns."""
        self._store(key, Rows.of(entries, vectors), remove)

    def drop(self, key: str, *, keep_own: bool = False) -> bool:
        """Deletes a collection under all embedders, or under all others; whether there was one."""
        names = [self.name(key, other) for other in self._others()]
        if not keep_own:
            names.append(self.name(key))
            self._cache.pop(key)
        return any([self._database.drop(name) for name in names])

    def remove(self, key: str, identities: Iterable[str]) -> int:
        """Removes the rows of these identities under all embedders; how many there were."""
        prefixes = {digest(identity) for identity in identities}
        removed: set[str] = set()
        for name in [self.name(key), *(self.name(key, other) for other in self._others())]:
            gone = [id for id in self._database.ids(name) if identity_of(id) in prefixes]
            if gone:
                self._database.write(name, {}, [], remove=gone)
                removed.update(gone)
        return len(removed)

    def name(self, key: str, generation: str | None = None) -> str:
        """The collection's name: one per embedder, so that vectors of two never mix."""
        return f"{self._kind}-{key}-{generation or self._generation}"

    @property
    def _generation(self) -> str:
        return digest(self._encoder.fingerprint, SCHEMA)[:16]

    def _others(self, *, fresh: bool = True) -> list[str]:
        """The other embedders and versions that ever wrote here."""
        asked, numbers = self._seen_embedders
        if fresh or time.monotonic() - asked > EMBEDDERS_SECONDS:
            numbers = self._embedders.numbers()
            self._seen_embedders = time.monotonic(), numbers
        return [name for name in numbers if name != self._generation]

    def _label(self) -> dict[str, str]:
        return {"kind": self._kind, "embedder": self._encoder.fingerprint, "schema": SCHEMA}

    def _store(self, key: str, rows: Rows[M], remove: Sequence[str] = ()) -> None:
        if not self._registered:  # before the collection exists, so that none can be overlooked
            self._embedders.put(self._generation, time.time_ns())
            self._registered = True
        self._database.write(self.name(key), self._label(), self._as_rows(rows), remove)

    def _refresh(
        self,
        name: str,
        state: CollectionState,
        known: tuple[Rows[M], CollectionState] | None,
    ) -> Rows[M]:
        """The collection as it is now; what is `known` of it is not fetched again."""
        old = known[0] if known and known[1].uid == state.uid else None
        ids = self._database.ids(name)
        if state.space == SPACE:
            seen = set(old.ids) if old else set()
            fetched = self._database.fetch(name, [id for id in ids if id not in seen])
            if not fetched.ids or self._sound(fetched):
                rows = self._decoded(fetched)
                return (old.joined(rows, set(ids)) if old else rows).arranged(self._order)
        return self._repaired(name, ids)

    def _repaired(self, name: str, ids: Sequence[str]) -> Rows[M]:
        """Makes the vectors again from the stored texts, in a collection as it should be."""
        rows = self._decoded(self._database.fetch(name, ids, vectors=False))
        log.warning(
            "stores: a %s index has unusable vectors; %d texts are embedded again",
            self._kind,
            len(rows.ids),
        )
        rows = self._embedded(rows)
        self._database.replace(name, self._label(), self._as_rows(rows))
        return rows.arranged(self._order)

    def _adopt(self, key: str, own: Rows[M] | None) -> bool:
        """Takes over rows that stand under another embedder or version only; whether any did."""
        latest = (
            {identity_of(id): at for id, at in zip(own.ids, own.written, strict=True)}
            if own
            else {}
        )
        adopted = False
        for other in self._others(fresh=own is None):
            name = self.name(key, other)
            missing = sorted(set(self._database.ids(name)) - set(own.ids if own else ()))
            rows = self._decoded(self._database.fetch(name, missing, vectors=False))
            later = [
                row
                for row, (id, at) in enumerate(zip(rows.ids, rows.written, strict=True))
                if at > latest.get(identity_of(id), 0)
            ]
            if later:
                log.warning(
                    "stores: a %s index is of another embedder or version; "
                    "%d texts are embedded again",
                    self._kind,
                    len(later),
                )
                self._store(key, self._embedded(rows.taken(later)))
                adopted = True
        return adopted

    def _embedded(self, rows: Rows[M]) -> Rows[M]:
        texts = [self._text(item) for item in rows.items]
        vectors = self._encoder.encode_passages(texts)
        return Rows(rows.ids, rows.items, rows.written, vectors)

    def _sound(self, fetched: Fetched) -> bool:
        vectors = fetched.vectors
        if vectors is None or vectors.shape != (len(fetched.ids), self._encoder.dimension):
            return False
        with np.errstate(all="ignore"):  # damaged numbers may be anything, infinity included
            return bool((np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < 1e-2).all())

    def _decoded(self, fetched: Fetched) -> Rows[M]:
        """The rows as items; what does not read as one is left out, with a warning."""
        vectors = fetched.vectors
        kept, items, written = [], [], []
        for row, data in enumerate(fetched.metadatas):
            try:
                items.append(self._model.model_validate_json(str(data.get("item", ""))))
            except ValidationError:
                continue
            written.append(int(data.get("written", 0)))
            kept.append(row)
        if len(kept) < len(fetched.ids):
            log.warning(
                "stores: %d rows of a %s index are of another version and left out; "
                "write them again",
                len(fetched.ids) - len(kept),
                self._kind,
            )
        return Rows(
            ids=tuple(fetched.ids[row] for row in kept),
            items=tuple(items),
            written=tuple(written),
            vectors=np.empty((len(kept), 0), np.float32) if vectors is None else vectors[kept],
        )

    def _as_rows(self, rows: Rows[M]) -> list[Row]:
        columns = zip(rows.ids, rows.items, rows.written, rows.vectors, strict=True)
        return [
            Row(
                id=id,
                metadata={"item": item.model_dump_json(), "written": written},
                vector=vector,
                document=self._text(item) if self._documents else None,
            )
            for id, item, written, vector in columns
        ]
