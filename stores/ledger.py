"""A small table in Chroma itself: names, each with a number, that all processes share."""

from __future__ import annotations

from collections.abc import Sequence

from stores.chroma import ChromaDatabase


class Ledger:
    """Whole numbers by name, safe with several writers: a row each."""

    def __init__(self, database: ChromaDatabase, name: str) -> None:
        """Args: name: of the collection, made when first written to."""
        self._database = database
        self._name = f"ledger-{name}"

    def put(self, name: str, number: int) -> None:
        """Writes or overwrites one number."""
        self._database.upsert(self._name, name, {"number": number})

    def numbers(self) -> dict[str, int]:
        """All names with their numbers."""
        rows = self._database.fetch(self._name, self._database.ids(self._name), vectors=False)
        return {
            name: int(data.get("number", 0))
            for name, data in zip(rows.ids, rows.metadatas, strict=True)
        }

    def remove(self, names: Sequence[str]) -> None:
        """Forgets the names."""
        self._database.delete(self._name, names)
