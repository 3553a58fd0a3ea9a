"""Which embedders and versions ever wrote into a database: whose collections there may be."""

from __future__ import annotations

from schemas.base import digest
from schemas.protocols import PassageEncoder
from stores.database import VectorDatabase

COLLECTION = "ledger-embedders"


class Embedders:
    """The list of embedders, which all processes share; each has a short name of its own.

    Args:
        database: where the list is.
        encoder: this process's own.
        schema: version of the rows; a new one counts as another embedder.
    """

    def __init__(self, database: VectorDatabase, encoder: PassageEncoder, schema: str) -> None:
        """Touches no database yet."""
        self._database = database
        self._encoder = encoder
        self._schema = schema

    @property
    def own(self) -> str:
        """The name of this process's own."""
        return digest(self._encoder.fingerprint, str(self._encoder.dimension), self._schema)[:16]

    def others(self) -> list[str]:
        """The names of all others."""
        return [name for name in self._database.ids(COLLECTION) if name != self.own]

    def all(self) -> list[str]:
        """The names of all."""
        return [self.own, *self.others()]

    def register(self) -> None:
        """Lists the own one, before a collection of it exists, so that none is overlooked."""
        self._database.put(COLLECTION, self.own, {"embedder": self._encoder.fingerprint})

    def label(self, kind: str) -> dict[str, str]:
        """What a collection is labelled with, for a person who looks into the database."""
        return {"kind": kind, "embedder": self._encoder.fingerprint, "schema": self._schema}
