"""Vectors that stay with an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from retrieval.index import Index, Passage
from retrieval.query import make_query
from retrieval.vectors import TOKENS_AT_ONCE, part_vectors

QUERY = make_query("anything")


class Source:
    """A cache and an embedder: the vector of a text names it; keeps what it was asked."""

    def __init__(self) -> None:
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


def _embedded(index: Index, source: Source, **how: Any) -> list[str]:
    """The parts that have no vector yet; every row belongs to its part, or is unknown."""
    vectors, left = part_vectors(index, QUERY, source, **how)
    unknown = np.isnan(vectors).all(axis=1)
    assert [part for part, it in zip(index.parts, unknown, strict=True) if it] == left
    for row in np.flatnonzero(~unknown).tolist():
        assert (vectors[row] == _vector(index.parts[row])).all()
    return left


@pytest.mark.parametrize("text", ["물" * 99, "x" * 4 * 99], ids=["Hangul", "Latin"])
def test_a_syllable_takes_as_much_of_a_turn_as_four_letters(text: str) -> None:
    source, texts = Source(), [f"{text} {number}" for number in range(100, 140)]
    _embedded(Index([Passage(it, it) for it in texts]), source)
    assert len(source.embedded) == TOKENS_AT_ONCE // 100


def test_only_what_is_new_is_asked_for() -> None:
    source, index = Source(), Index(_chat(1, 2, 3))
    assert not _embedded(index, source)
    source.asked.clear()
    assert not _embedded(index, source)
    assert source.asked == []
    index.update(_chat(1, 2, 3, 4))
    assert not _embedded(index, source)
    assert source.asked == _texts(4)


def test_an_edited_line_loses_its_vector_and_those_behind_it() -> None:
    source, index = Source(), Index(_chat(1, 2, 3))
    part_vectors(index, QUERY, source)
    source.asked.clear()
    index.update(_chat(1, 5, 3))
    assert not _embedded(index, source)
    assert source.asked == _texts(5, 3)
    assert source.embedded.count("line 3") == 1


def test_what_a_turn_had_no_time_for_is_asked_for_again() -> None:
    source, index = Source(), Index(_chat(*range(1, 31)))
    left = _embedded(index, source, at_once=10)
    assert len(left) == 20 and not set(left) & set(source.embedded)
    source.encode_passages(left[:15])  # after the reply
    source.asked.clear()
    assert _embedded(index, source, at_once=3) == left[18:]
    assert set(left) <= set(source.asked)


def test_what_may_not_be_found_is_embedded_later() -> None:
    class Empty(Source):
        """As a cache that does not know yet how long a vector is."""

        def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
            vectors, known = super().known(texts)
            return (vectors if known.any() else np.zeros((len(texts), 0))), known

    source, index = Empty(), Index(_chat(1, 2, 3, 4))
    assert _embedded(index, source, allowed=np.zeros(4, dtype=bool)) == _texts(1, 2, 3, 4)
    assert source.embedded == []
    assert _embedded(index, source, allowed=np.arange(4) < 2) == _texts(3, 4)
    assert source.embedded == _texts(1, 2)
    assert not _embedded(index, source)
    assert sorted(source.embedded) == _texts(1, 2, 3, 4)
