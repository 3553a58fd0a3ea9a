"""What retrieval looks for: made once in a turn, used for the chat and for the story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from schemas.request import Message


def _size(vectors: np.ndarray) -> str:
    """What Studio shows in place of the numbers."""
    return f"float32 {' × '.join(str(length) for length in vectors.shape)}"


Vectors = Annotated[
    np.ndarray, PlainSerializer(_size, return_type=str), WithJsonSchema({"type": "string"})
]
"""Numbers that are written out as their shape only."""


@dataclass(frozen=True, slots=True)
class CosineScale:
    """How an embedder's cosines are to be read in a language (`embedding/scale.py` measures it)."""

    floor: float = 0.0  # cosine of unrelated texts
    trust: float = 1.0  # how surely it finds what says the same: 1 always, 0 as often as by chance

    def read(self, cosines: np.ndarray) -> np.ndarray:
        """The same shape: 0 for unrelated texts, `trust` for equal ones."""
        return self.trust * (cosines - self.floor) / (1 - self.floor)


@dataclass(frozen=True, slots=True)
class View:
    """One way to say what is looked for."""

    text: str  # to embed
    terms: Mapping[str, float]  # term: weight
    share: float = 0.0  # of the first view's vector in this one's


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for."""

    views: tuple[View, ...]  # the message, then the running chat if there is one
    speakers: frozenset[str] = frozenset()  # whose words are asked for, as folded names
    scene: str = ""  # the running scene, where it counts (`Search.in_scene`)
    follow_up: float = 0.0  # how far the message only carries the running chat on, 0 to 1
    cosines: CosineScale = CosineScale()  # how its vectors' cosines are to be read

    @property
    def texts(self) -> list[str]:
        """To embed, in this order."""
        return [view.text for view in self.views]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the texts hold that a search chooses among, where only some of them are at hand."""

    messages: int
    terms: int  # in all of them
    found: Mapping[str, int]  # in how many each term of the query stands


class Search(BaseModel):
    """A query with its vectors: float32 rows of unit length."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    query: Query
    views: Vectors  # (views, d), by `retrieval.query.view_vectors`
    message: Vectors  # (d,), of the message as it was written

    def in_scene(self, scene: str) -> Search:
        """The same where this scene runs."""
        return self.model_copy(update={"query": replace(self.query, scene=scene)})


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a standing memory has for a search: candidates among their neighbours."""

    messages: tuple[Message, ...]  # in the order in which they were said
    runs: tuple[int, ...]  # of each the stretch it is in: between two of them others are left out
    corpus: Corpus  # of all that is remembered


NOTHING_RECALLED = Recalled((), (), Corpus(0, 0, {}))
