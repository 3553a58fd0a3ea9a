"""Labelled exemplars: messages written for this purpose, compared with the turn's message.

Any embedder will do: the vote counts which exemplars are nearest, and cosine values of different
models, which lie in different ranges, never meet a fixed threshold.

The vectors under the bundled embedder are committed in `exemplars.npz`, which
`python -m lab.embed_exemplars` writes anew: to embed some 370 texts would make the first turn
of a process wait for half a second or more.
"""

from __future__ import annotations

import asyncio
import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.protocols import Embedder

NEIGHBOURS = 9
"""Nearest exemplars that vote; 5 to 15 measure alike."""
NEUTRAL_VOTE = -0.1
"""The vote where there is no vector: near the mean over the development turns."""
TEXTS = Path(__file__).parent / "exemplars.toml"
VECTORS = Path(__file__).parent / "exemplars.npz"

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Texts, their unit vectors (n, dim) and labels (n,): 1 narrator, -1 character."""

    texts: tuple[str, ...]
    vectors: Vectors
    labels: NDArray[np.float32]

    def vote(self, vector: Vectors | None) -> float:
        """-1 (all neighbours are talk) to 1 (all call for narration), weighted by cosine."""
        if vector is None:
            return NEUTRAL_VOTE
        cosine = self.vectors @ vector  # (n,)
        nearest = np.argpartition(-cosine, NEIGHBOURS)[:NEIGHBOURS]
        weight = np.maximum(cosine[nearest], 1e-6)
        return float(weight @ self.labels[nearest] / weight.sum())


def labelled_texts() -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """All exemplar texts, and their labels (n,): 1 for narrator, -1 for character."""
    table = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    pairs = [
        (text, sign)
        for label, sign in (("narrator", 1), ("character", -1))
        for language in sorted(table[label])
        for text in table[label][language]
    ]
    return tuple(text for text, _ in pairs), np.array([sign for _, sign in pairs], np.float32)


def embed_exemplars(embed: Callable[[Sequence[str]], Vectors]) -> Exemplars:
    """The exemplars under one embedder."""
    texts, labels = labelled_texts()
    return Exemplars(texts, embed(texts), labels)


class LazyExemplars:
    """The exemplars under the embedder of a process, made when a turn first asks for them."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._made: Exemplars | None = None

    async def __call__(self) -> Exemplars:
        """The same object each time. Raises EmbeddingError."""
        if self._made is None:
            texts, labels = labelled_texts()
            vectors = await asyncio.to_thread(read_vectors, self._embedder.fingerprint, texts)
            if vectors is None:
                vectors = await self._embedder.aencode_passages(texts)
            self._made = Exemplars(texts, vectors, labels)
        return self._made


def read_vectors(fingerprint: str, texts: Sequence[str]) -> Vectors | None:
    """(n, dim) rows of unit length as committed; None where they are another embedder's, or of
    other texts."""
    if not VECTORS.is_file():
        return None
    with np.load(VECTORS) as file:
        if str(file["key"]) != _key(fingerprint, texts):
            return None
        vectors: Vectors = file["vectors"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def write_vectors(fingerprint: str, texts: Sequence[str], vectors: Vectors) -> None:
    """Commits them in float16: their cosines change by less than .001."""
    np.savez(VECTORS, key=np.array(_key(fingerprint, texts)), vectors=vectors.astype(np.float16))


def _key(fingerprint: str, texts: Sequence[str]) -> str:
    """What vectors depend on: the embedder and the texts in their order."""
    return hashlib.sha256("\0".join([fingerprint, *texts]).encode()).hexdigest()
