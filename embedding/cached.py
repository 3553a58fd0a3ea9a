"""An embedder that remembers: a passage is embedded once, by whichever process met it first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from embedding.embedder import Embedder
from embedding.scale import SENTENCES, measure, scale_for
from schemas.base import embedding_id
from schemas.search import CosineScale


class VectorCache(Protocol):
    """Vectors by content id; `get` gives (n, dimension) rows and which of them are known."""

    def held(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The same of those in memory alone, at once."""

    def get(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Rows in the order of `ids`; those not known are zeros."""

    def put(self, ids: Sequence[str], vectors: np.ndarray, *, on_disk: bool = True) -> None:
        """Keeps the vectors."""


class CachedEmbedder:
    """An `Embedder` with a cache of passages before it; safe to share between turns."""

    def __init__(self, embedder: Embedder, cache: VectorCache) -> None:
        """Touches neither yet."""
        self._embedder = embedder
        self._cache = cache
        self._scales = embedder.cosine_scales

    @property
    def fingerprint(self) -> str:
        """Names the model and its version: vectors of two never mix."""
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return self._embedder.dimension

    async def cosine_scale(self, text: str) -> CosineScale:
        """How to read the cosines of a question that is in the language of `text`.

        The first call measures it where the model does not say: it embeds 48 short sentences, whose
        vectors stay in the cache, so that the next process need not. Raises EmbeddingError.
        """
        if self._scales is None:
            self._scales = measure(await self.aencode_passages(SENTENCES))
        return scale_for(self._scales, text)

    def begin_queries(self, texts: Sequence[str]) -> asyncio.Future[np.ndarray]:
        """Vectors of questions, (n, dimension); the work begins now. Raises EmbeddingError."""
        return self._embedder.begin_queries(texts)

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What the cache has: (n, dimension) rows, and the mask (n,) of those that are known.

        Blocks on the disk for those that memory lacks.
        """
        return self._cache.get([embedding_id(text) for text in texts])

    async def aencode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of stored text, (n, dimension); only unknown ones are computed, and known from
        then on. Raises EmbeddingError.
        """
        ids = [embedding_id(text) for text in texts]
        vectors, known = self._cache.held(ids)
        if not known.all():
            vectors, known = await asyncio.to_thread(self._cache.get, ids)
        missing = _missing(ids, known)
        if not missing:
            return vectors
        fresh = await self._embedder.aencode_passages([texts[row] for row in missing.values()])
        await asyncio.to_thread(self._cache.put, list(missing), fresh)
        return _filled(ids, vectors, missing, fresh)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """`aencode_passages`, blocking."""
        ids = [embedding_id(text) for text in texts]
        vectors, known = self._cache.get(ids)
        missing = _missing(ids, known)
        if not missing:
            return vectors
        fresh = self._embedder.encode_passages([texts[row] for row in missing.values()])
        self._cache.put(list(missing), fresh)
        return _filled(ids, vectors, missing, fresh)

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Takes vectors that a store has as known: in memory only, as they can be had again."""
        self._cache.put([embedding_id(text) for text in texts], vectors, on_disk=False)


def _missing(ids: Sequence[str], known: np.ndarray) -> dict[str, int]:
    """The unknown ids, each with a row that has its text."""
    return {ids[row]: row for row in np.flatnonzero(~known).tolist()}


def _filled(
    ids: Sequence[str], vectors: np.ndarray, missing: dict[str, int], fresh: np.ndarray
) -> np.ndarray:
    """The known rows with the fresh ones in their places."""
    place = {key: row for row, key in enumerate(missing)}
    filled = np.zeros((len(ids), fresh.shape[1]), dtype=np.float32)
    for row, key in enumerate(ids):
        filled[row] = fresh[place[key]] if key in place else vectors[row]
    return filled
