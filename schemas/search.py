"""What retrieval looks for: made once in a turn, used for the chat and for the story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class View:
    """One way to say what is looked for."""

    text: str  # to embed
    terms: Mapping[str, float]  # term: weight


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for."""

    views: tuple[View, ...]  # the message, then the running chat if there is one
    speakers: frozenset[str] = frozenset()  # whose words are asked for, as folded names
    scene: str = ""  # the running scene

    @property
    def texts(self) -> list[str]:
        """To embed, in this order."""
        return [view.text for view in self.views]


@dataclass(frozen=True, slots=True)
class Search:
    """A query with its vectors: float32 rows of unit length."""

    query: Query
    views: np.ndarray  # (views, d), of `query.texts`
    message: np.ndarray  # (d,), of the message as it was written
