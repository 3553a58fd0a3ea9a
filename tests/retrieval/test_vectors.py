"""Vectors that stay with an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.index import Index, Passage
from retrieval.query import make_query
from retrieval.vectors import part_vectors, unread

QUERY = make_query("anything")


class Source:
    """A cache and an embedder: the vector of a text names it; keeps what it was asked."""

    def __init__(self, fingerprint: str = "one") -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []
        self.embedded: list[str] = []

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        self.asked += texts
        known = np.array([text in self.embedded for text in texts], dtype=bool)
        return np.array([_vector(text) for text in texts]).reshape(-1, 2), known

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded += texts
        return np.array([_vector(text) for text in texts]).reshape(-1, 2)


def _vector(text: str) -> np.ndarray:
    angle = int(text.split()[-1])
    return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def _chat(*numbers: int) -> list[Passage]:
    return [Passage(str(number), f"line {number}") for number in numbers]


def _texts(*numbers: int) -> list[str]:
    return [f"line {number}" for number in numbers]


def _check(index: Index, vectors: np.ndarray) -> None:
    """Every row belongs to its part, or is unknown and told so."""
    left = set(unread(index).tolist())
    for row, part in enumerate(index.parts):
        assert (
            np.isnan(vectors[row]).all() if row in left else (vectors[row] == _vector(part)).all()
        )


def test_only_what_is_new_is_asked_for() -> None:
    source, index = Source(), Index(_chat(1, 2, 3))
    _check(index, part_vectors(index, QUERY, source))
    source.asked.clear()
    assert part_vectors(index, QUERY, source) is index.vectors
    assert source.asked == []
    index.update(_chat(1, 2, 3, 4))
    _check(index, part_vectors(index, QUERY, source))
    assert source.asked == _texts(4)


def test_an_edited_line_loses_its_vector_and_those_behind_it() -> None:
    source, index = Source(), Index(_chat(1, 2, 3))
    part_vectors(index, QUERY, source)
    source.asked.clear()
    index.update(_chat(1, 5, 3))
    _check(index, part_vectors(index, QUERY, source))
    assert source.asked == _texts(5, 3)
    assert source.embedded.count("line 3") == 1


def test_what_a_turn_had_no_time_for_is_asked_for_again() -> None:
    source, index = Source(), Index(_chat(*range(1, 31)))
    _check(index, part_vectors(index, QUERY, source, at_once=10))
    left = [index.parts[row] for row in unread(index)]
    assert len(left) == 20 and not set(left) & set(source.embedded)
    source.encode_passages(left[:15])  # after the reply
    source.asked.clear()
    _check(index, part_vectors(index, QUERY, source, at_once=3))
    assert source.asked == left
    assert unread(index).tolist() == [index.parts.index(part) for part in left[18:]]


def test_what_may_not_be_found_is_embedded_later() -> None:
    class Empty(Source):
        """As a cache that does not know yet how long a vector is."""

        def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
            vectors, known = super().known(texts)
            return (vectors if known.any() else np.zeros((len(texts), 0))), known

    source, index = Empty(), Index(_chat(1, 2, 3, 4))
    _check(index, part_vectors(index, QUERY, source, allowed=np.zeros(4, dtype=bool)))
    assert len(source.embedded) == 1
    _check(index, part_vectors(index, QUERY, source, allowed=np.arange(4) < 2))
    assert source.embedded == _texts(1, 2)
    _check(index, part_vectors(index, QUERY, source))
    assert sorted(source.embedded) == _texts(1, 2, 3, 4)


def test_vectors_of_two_embedders_never_mix() -> None:
    first, second, index = Source(), Source("two"), Index(_chat(1, 2))
    part_vectors(index, QUERY, first)
    _check(index, part_vectors(index, QUERY, second))
    assert second.embedded == _texts(1, 2)
