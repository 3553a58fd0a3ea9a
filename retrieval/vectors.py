"""Vectors of an index's parts, as far as a turn has the time to make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from retrieval.hybrid import first_to_embed
from retrieval.index import Index
from schemas.search import Query

AT_ONCE = 64
"""Unknown parts that a turn embeds before it ranks, a batch of the embedder: those that the words
already point to, and the newest. The rest ranks by words, and is embedded after the reply. With 7
messages in 100 embedded LoCoMo loses .015 NDCG@10, with 15 in 100 .012 (lab/retrieval.md)."""

NEWEST = 0.1
"""Share of them that are the newest, whatever their words."""


class PassageVectors(Protocol):
    """What knows and makes vectors of passages; both calls block."""

    @property
    def fingerprint(self) -> str:
        """Names the embedder: vectors of two never mix."""

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) rows, and the mask (n,) of those that are known."""

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) rows of unit length; what is made is known afterwards."""


def vectors_of(
    texts: Sequence[str], source: PassageVectors, *, at_once: int
) -> tuple[np.ndarray, list[str]]:
    """Vectors of texts, as far as a turn has the time to make them. Blocks.

    Args:
        at_once: of the unknown ones so many are embedded, the first.

    Returns:
        (texts, d) rows of unit length, NaN where there is none yet, and those texts.

    Raises:
        EmbeddingError: the embedder failed.
    """
    known, found = source.known(texts)
    missing = np.flatnonzero(~found)
    now = missing[:at_once]
    fresh = source.encode_passages([texts[row] for row in now])
    vectors = np.full((len(texts), fresh.shape[1]), np.nan, dtype=np.float32)
    if found.any():
        vectors[found] = known[found]
    vectors[now] = fresh
    return vectors, [texts[row] for row in missing[at_once:]]


def part_vectors(
    index: Index,
    query: Query,
    source: PassageVectors,
    *,
    at_once: int = AT_ONCE,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """(parts, d) rows of unit length, NaN where a part has no vector yet. Blocks.

    They stay with the index, so the next turn asks the source for new and missing ones only.
    Parts of passages that are not `allowed`, (passages,) bool, are not embedded now.

    Raises:
        EmbeddingError: the embedder failed.
    """
    if index.embedder != source.fingerprint:
        index.embedder, index.vectors = source.fingerprint, None
    asked = unread(index)
    if index.vectors is not None and not len(asked):
        return index.vectors
    found, known = source.known([index.parts[row] for row in asked])
    missing = np.zeros(len(index.parts), dtype=bool)
    missing[asked[~known]] = True
    rows, fresh = asked[:0], found[:0]
    if missing.any():
        newest = round(NEWEST * at_once)
        rows = first_to_embed(index, query, missing, limit=at_once, newest=newest, allowed=allowed)
        if not len(rows) and not found.shape[1]:  # none may be found yet: one tells the width
            rows = np.flatnonzero(missing)[:1]
        fresh = source.encode_passages([index.parts[row] for row in rows])
    vectors = _lengthened(index.vectors, len(index.parts), fresh.shape[1])
    if known.any():
        vectors[asked[known]] = found[known]
    vectors[rows] = fresh
    missing[rows] = False
    index.vectors, index.blank = vectors, np.flatnonzero(missing)
    return vectors


def unread(index: Index) -> np.ndarray:
    """The numbers of the parts whose vectors the index does not have."""
    kept = 0 if index.vectors is None else len(index.vectors)
    return np.append(index.blank[index.blank < kept], np.arange(kept, len(index.parts)))


def _lengthened(vectors: np.ndarray | None, rows: int, width: int) -> np.ndarray:
    """(rows, width) these vectors and NaN behind them, in the same memory while that has room.

    A chat grows by two messages a turn: an eighth of room spares most turns a copy of everything,
    and takes no memory until it is written to.
    """
    kept = np.empty((0, width), dtype=np.float32) if vectors is None else vectors
    memory = kept.base
    if memory is None or len(memory) < rows:
        memory = np.empty((rows + rows // 8, width), dtype=np.float32)
        memory[: len(kept)] = kept
    longer = memory[:rows]
    longer[len(kept) :] = np.nan
    return longer
