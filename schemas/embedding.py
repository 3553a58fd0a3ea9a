"""The name and the shape of a stored vector."""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.base import Strict

EmbeddingId = Annotated[str, StringConstraints(pattern=r"^sha1:[0-9a-f]{40}$")]
"""`sha1:` and 40 hex digits: the SHA-1 of the embedded text in UTF-8."""


def embedding_id(text: str) -> str:
    """The id of a text's vector: the text's SHA-1, a name and no safeguard."""
    return "sha1:" + hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest()


class EmbeddingRecord(Strict):
    """A vector as it is exchanged: which text, which embedder, the numbers."""

    id: EmbeddingId
    embedder: str = Field(min_length=1, description="The embedder's fingerprint.")
    dimension: int = Field(gt=0)
    vector: list[float]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.vector) != self.dimension:
            raise ValueError(
                f"vector: has {len(self.vector)} numbers, {self.embedder} makes {self.dimension}; "
                "embed the text again"
            )
        return self
