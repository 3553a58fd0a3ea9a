"""The committed vectors of the exemplars are those of the bundled embedder, and of no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embedding.backends import minilm
from routing import LazyExemplars
from routing.decide import labelled_texts, read_vectors


class Counting:
    """Vectors of its own for everything, counted."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.embedded = 0

    async def aencode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded += len(texts)
        return np.eye(len(texts), 8, dtype=np.float32)


def test_they_are_up_to_date() -> None:
    embedder, (texts, _) = minilm(), labelled_texts()
    committed = read_vectors(embedder.fingerprint, texts)
    assert committed is not None, "stale; say python -m lab.embed_exemplars"
    some = [0, 100, len(texts) - 1]
    fresh = embedder.encode_passages([texts[row] for row in some])
    assert np.abs((committed[some] * fresh).sum(axis=1) - 1).max() < 1e-3


async def test_the_bundled_embedder_embeds_none_and_another_embeds_all() -> None:
    bundled: Any = Counting(minilm().fingerprint)
    other: Any = Counting("another")
    assert len((await LazyExemplars(bundled)()).vectors) == len(labelled_texts()[0])
    await LazyExemplars(other)()
    assert (bundled.embedded, other.embedded) == (0, len(labelled_texts()[0]))


def test_other_texts_get_none() -> None:
    assert read_vectors(minilm().fingerprint, ["안녕"]) is None
