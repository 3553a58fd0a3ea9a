"""Labelled exemplars: messages written for this purpose, compared with the turn's message.

Any embedder will do: the vote counts which exemplars are nearest, and cosine values of different
models, which lie in different ranges, never meet a fixed threshold.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from routing.kept import kept_vectors
from routing.turn import Vector

NEIGHBOURS = 9
"""Nearest exemplars that vote; 5 to 15 measure alike."""
NEUTRAL_VOTE = -0.1
"""The vote where there is no vector: near the mean over the development turns."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Texts, their unit vectors (n, dim) and labels (n,): 1 narrator, -1 character."""

    texts: tuple[str, ...]
    vectors: NDArray[np.float32]
    labels: NDArray[np.float32]

    def vote(self, vector: Vector | None) -> float:
        """-1 (all neighbours are talk) to 1 (all call for narration), weighted by cosine."""
        if vector is None:
            return NEUTRAL_VOTE
        cosine = self.vectors @ vector  # (n,)
        nearest = np.argpartition(-cosine, NEIGHBOURS)[:NEIGHBOURS]
        weight = np.maximum(cosine[nearest], 1e-6)
        return float(weight @ self.labels[nearest] / weight.sum())


def labelled_texts(
    path: Path = Path(__file__).parent / "exemplars.toml",
) -> tuple[tuple[str, ...], list[int]]:
    """All exemplar texts with 1 for narrator and -1 for character."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    pairs = [
        (text, sign)
        for label, sign in (("narrator", 1), ("character", -1))
        for language in sorted(table[label])
        for text in table[label][language]
    ]
    return tuple(text for text, _ in pairs), [sign for _, sign in pairs]


class PassageEmbedder(Protocol):
    """What makes the vectors."""

    @property
    def fingerprint(self) -> str:
        """Names the model and its version."""

    async def aencode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dim) rows of unit length."""


class KeptExemplars:
    """The exemplars under one embedder: read from a file for the bundled one, else embedded when
    first asked for."""

    def __init__(self, embedder: PassageEmbedder) -> None:
        self._embedder = embedder
        self._kept: Exemplars | None = None

    async def __call__(self) -> Exemplars:
        """The same object each time. Raises EmbeddingError."""
        if self._kept is None:
            texts, labels = labelled_texts()
            vectors = await asyncio.to_thread(kept_vectors, self._embedder.fingerprint, texts)
            if vectors is None:
                vectors = await self._embedder.aencode_passages(texts)
            self._kept = Exemplars(texts, vectors, np.asarray(labels, dtype=np.float32))
        return self._kept


def embed_exemplars(embed: Embed) -> Exemplars:
    """The exemplars under one embedder: once per process, some 370 short texts."""
    texts, labels = labelled_texts()
    vectors = np.asarray(embed(texts), dtype=np.float32)
    return Exemplars(texts, vectors, np.asarray(labels, dtype=np.float32))
