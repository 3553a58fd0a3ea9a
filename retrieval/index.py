"""Passages made ready to be ranked: their words, and their parts to embed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from retrieval.lexical import LexicalIndex
from retrieval.text import asks, normal, parts, tokens

PART_SIZE = 600  # characters; within the 256 tokens that MiniLM reads, and most chat lines whole


class Passage(NamedTuple):
    """A message or an event that can be found; a tuple, as 20,000 are compared at every turn."""

    id: str
    text: str
    speaker: str = ""
    scene: str = ""  # neighbours count within a scene only


def common(old: Sequence[object], new: Sequence[object]) -> int:
    """How many items are the same from the start."""
    if len(old) <= len(new) and list(new[: len(old)]) == old:  # compared in C
        return len(old)
    return next(
        (at for at, (before, now) in enumerate(zip(old, new, strict=False)) if before != now),
        min(len(old), len(new)),
    )


class Index:
    """Passages made ready to be ranked; grows with a conversation.

    `parts` are the texts to embed; row i of the vectors given to `rank` belongs to `parts[i]`.
    Not to be shared by threads that update it.
    """

    def __init__(self, passages: Sequence[Passage] = (), *, part_size: int = PART_SIZE) -> None:
        self.passages: list[Passage] = []
        self.parts: list[str] = []
        self.lexical = LexicalIndex()
        self.vectors: np.ndarray | None = None  # (up to parts, d) as `part_vectors` found them
        self.blank = np.arange(0)  # rows of theirs that are NaN
        self.embedder = ""  # the fingerprint of theirs
        self._part_size = part_size
        self._starts = array("i")  # first part of each passage
        self._speakers: dict[str, array[int]] = {}  # the passages of each
        self._asks = array("f")
        self.update(passages)

    def __len__(self) -> int:
        """How many passages it holds."""
        return len(self.passages)

    @property
    def speakers(self) -> list[str]:
        """All who speak, as `normal` names."""
        return list(self._speakers)

    def update(self, passages: Sequence[Passage]) -> int:
        """Make the index hold exactly these passages; returns how many it could keep.

        Costs what changed: everything after the first difference is read anew.
        """
        kept = common(self.passages, passages)
        self.replace(kept, passages[kept:])
        return kept

    def replace(self, kept: int, passages: Iterable[Passage]) -> None:
        """Make the index hold the first `kept` of its passages, and then these."""
        self._truncate(kept)
        for row, passage in enumerate(passages, kept):
            self.passages.append(passage)
            self._starts.append(len(self.parts))
            self._speakers.setdefault(normal(passage.speaker), array("i")).append(row)
            self._asks.append(asks(passage.text))
            for part in parts(passage.text, self._part_size):
                self.parts.append(part)
                self.lexical.add(tokens(part), passage=row, scene=passage.scene)

    def _truncate(self, length: int) -> None:
        if length < len(self.passages):
            first = self._starts[length]
            for passage in reversed(self.passages[length:]):
                self._speakers[normal(passage.speaker)].pop()
            self.lexical.truncate(first)
            self.vectors = None if self.vectors is None else self.vectors[:first]
            del self.parts[first:], self.passages[length:]
            del self._starts[length:], self._asks[length:]
            self._speakers = {name: rows for name, rows in self._speakers.items() if rows}

    def first_part(self, row: int) -> int:
        """The number of the first part of a passage."""
        return self._starts[row]

    def owners(self) -> np.ndarray:
        """(parts,) the passage of each part."""
        return self.lexical.candidates().owner

    def said_by(self, speakers: Iterable[str]) -> np.ndarray:
        """(passages,) 1 / number of the named for what one of them said, else 0."""
        said = np.zeros(len(self), dtype=np.float32)
        rows = [self._speakers[name] for name in sorted(speakers) if name in self._speakers]
        for theirs in rows:
            said[np.array(theirs)] = 1 / len(rows)
        return said

    def asks(self) -> np.ndarray:
        """(passages,) 1 for what ends in a question, else 0."""
        return np.array(self._asks, dtype=np.float32)

    def scenes(self) -> np.ndarray:
        """(passages,) the same number for those of one scene."""
        return self.lexical.candidates().scenes

    def content(self, row: int) -> frozenset[str]:
        """What a passage says, to be compared: its terms, or its text if it has none."""
        ends = self._starts[row + 1] if row + 1 < len(self) else len(self.parts)
        own = range(self._starts[row], ends)
        terms = {term for part in own for term in self.lexical.terms(part)}
        return frozenset(terms or {normal(self.passages[row].text).strip()})
