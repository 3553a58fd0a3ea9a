"""The committed vectors of the exemplars are those of the bundled embedders, and of no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from embedding.backends import e5, minilm
from language.script import SCRIPTS, Script
from routing import Exemplars, LazyExemplars
from routing.exemplars import NEIGHBOURS, NEUTRAL_VOTE, labelled_texts, read_vectors
from schemas.readers import Reader

BUNDLED = {"latin": minilm(), "cjk": e5()}


class Counting:
    """Vectors of its own for everything, counted."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.dimension = 384 if "another" not in fingerprint else 8
        self.embedded = 0

    async def begin_queries(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded += len(texts)
        return np.eye(len(texts), self.dimension, dtype=np.float32)


@pytest.mark.parametrize("script", SCRIPTS)
def test_they_are_up_to_date(script: Script) -> None:
    embedder, (texts, _) = BUNDLED[script], labelled_texts(script)
    committed = read_vectors(script, embedder.fingerprint)
    assert committed is not None, "stale; say python -m lab.embed_exemplars"
    some = [0, 100, len(texts) - 1]
    fresh = embedder.encode_queries([texts[row] for row in some])
    assert np.abs((committed[some] * fresh).sum(axis=1) - 1).max() < 1e-3


@pytest.mark.parametrize("script", SCRIPTS)
async def test_the_bundled_embedder_embeds_none_and_another_embeds_those_of_its_script(
    script: Script,
) -> None:
    bundled: Any = Counting(BUNDLED[script].fingerprint)
    other: Any = Counting("another")
    none: Any = None
    for embedder in (bundled, other):
        lazy = LazyExemplars({script: Reader(embedder, none, None)})
        assert await lazy(script) is await lazy(script)
    assert (bundled.embedded, other.embedded) == (0, len(labelled_texts(script)[0]))


def test_vectors_of_another_script_are_not_taken() -> None:
    assert read_vectors("cjk", minilm().fingerprint) is None


def test_the_nearest_vote_and_the_size_of_their_cosines_does_not_count() -> None:
    """An embedder to which all texts are alike, and one to which they are not, vote the same."""
    angles = np.linspace(0.1, 3.0, 2 * NEIGHBOURS)
    labels = np.where(angles < np.median(angles), 1.0, -1.0).astype(np.float32)
    asked = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    votes = []
    for common in (0.0, 9.0):
        rows = np.stack([np.cos(angles), np.sin(angles), np.full_like(angles, common)], axis=1)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        votes.append(Exemplars(rows.astype(np.float32), labels).vote(asked))
    assert votes == [1.0, 1.0]
    assert Exemplars(rows.astype(np.float32), labels).vote(None) == NEUTRAL_VOTE
