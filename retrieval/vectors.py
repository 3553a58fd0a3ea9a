"""Vectors of an index's parts, as far as a turn has the time to make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from retrieval.hybrid import Index, first_to_embed
from schemas.search import Query

AT_ONCE = 150
"""Unknown parts that a turn embeds before it ranks, a quarter of a second of the bundled model:
those that the words already point to, and the newest. The rest ranks by words, and is embedded
after the reply. On 1,000 unseen LoCoMo messages this costs .012 NDCG@10 (docs/retrieval.md)."""

NEWEST = 0.1
"""Share of them that are the newest, whatever their words."""


class PassageVectors(Protocol):
    """What knows and makes vectors of passages; both calls block."""

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) rows, and the mask (n,) of those that are known."""

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) rows of unit length; what is made is known afterwards."""


def part_vectors(
    index: Index, query: Query, source: PassageVectors, *, at_once: int = AT_ONCE
) -> np.ndarray:
    """(parts, d) rows of unit length, NaN where a part has no vector yet. Blocks.

    Raises:
        EmbeddingError: the embedder failed.
    """
    vectors, known = source.known(index.parts)
    if known.all():
        return vectors
    rows = first_to_embed(index, query, ~known, limit=at_once, newest=round(NEWEST * at_once))
    fresh = source.encode_passages([index.parts[row] for row in rows])
    filled = np.full((len(index.parts), fresh.shape[1]), np.nan, dtype=np.float32)
    if known.any():
        filled[known] = vectors[known]
    filled[rows] = fresh
    return filled
