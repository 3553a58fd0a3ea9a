"""Passages made ready to be ranked, and the indexes of recent chats and stories."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from sys import getsizeof
from threading import Condition
from typing import NamedTuple

import numpy as np

from language.script import language_of
from retrieval.lexical import LexicalIndex
from retrieval.text import RULES, asks, normal, parts, tokens
from schemas.budget import keep_deadline
from schemas.kept import Kept
from schemas.protocols import Analyzer

PART_SIZE = 600  # characters; within the 256 tokens that MiniLM reads, and most chat lines whole

MAX_BYTES = 200_000_000
"""Of all indexes together: 80 chats of 1,000 lines with their vectors of 384 numbers."""

WAIT = 0.05
"""Seconds that a turn waits for another one's index of the same story or chat. That has it for some
2 ms, where a new one of 1,000 messages takes 40; a turn that embeds is not waited for."""

BYTES_OF_PASSAGE = 300  # the tuple, its id, name and scene


class Passage(NamedTuple):
    """A message or an event that can be found; a tuple, as 10,000 are compared at every turn."""

    id: str
    text: str
    speaker: str = ""
    scene: str = ""  # neighbours count within a scene only


class Index:
    """Passages made ready to be ranked; grows with a conversation.

    `parts` are the texts to embed; row i of the vectors given to `rank` belongs to `parts[i]`.
    Not to be shared by threads that update it.
    """

    def __init__(
        self,
        passages: Sequence[Passage] = (),
        *,
        part_size: int = PART_SIZE,
        analyzer: Analyzer = RULES,
    ) -> None:
        self.passages: list[Passage] = []
        self.parts: list[str] = []
        self.lexical = LexicalIndex()
        self.vectors: np.ndarray | None = None  # (up to parts, d): `part_vectors` keeps them here
        self._part_size = part_size
        self._analyzer = analyzer
        self._starts = array("i")  # first part of each passage
        self._asks = array("f")
        self.update(passages)

    def __len__(self) -> int:
        """How many passages it holds."""
        return len(self.passages)

    def update(self, passages: Sequence[Passage]) -> int:
        """Make the index hold exactly these passages; returns how many it could keep.

        Costs what changed: everything after the first difference is read anew.
        """
        kept = _common(self.passages, passages)
        self._truncate(kept)
        known: dict[str, Sequence[str]] = {}
        for row, passage in enumerate(passages[kept:], kept):
            keep_deadline()
            self.passages.append(passage)
            self._starts.append(len(self.parts))
            self._asks.append(asks(passage.text))
            for part in parts(passage.text, self._part_size):
                self.parts.append(part)
                self.lexical.add(
                    tokens(part, self._analyzer, known),
                    passage=row,
                    scene=passage.scene,
                    elliptic=language_of(part) != "en",
                )
        return kept

    def _truncate(self, length: int) -> None:
        if length < len(self.passages):
            first = self._starts[length]
            self.lexical.truncate(first)
            self.vectors = None if self.vectors is None else self.vectors[:first]
            del self.parts[first:], self.passages[length:]
            del self._starts[length:], self._asks[length:]

    @property
    def bytes(self) -> int:
        """About how much memory it takes: texts, terms and vectors."""
        passages, vectors = self.passages, self.vectors
        kept = vectors if vectors is None or vectors.base is None else vectors.base
        texts = sum(map(getsizeof, self.parts)) + sum(getsizeof(it.text) for it in passages)
        numbers = kept.nbytes if isinstance(kept, np.ndarray) else 0
        return texts + BYTES_OF_PASSAGE * len(passages) + self.lexical.bytes + numbers

    def first_part(self, row: int) -> int:
        """The number of the first part of a passage."""
        return self._starts[row]

    def owners(self) -> np.ndarray:
        """(parts,) the passage of each part."""
        return self.lexical.candidates().owner

    def said_by(self, speakers: Collection[str]) -> np.ndarray:
        """(passages,) 1 / number of the named for what one of them said, else 0."""
        names = {name: normal(name) for name in {it.speaker for it in self.passages}}
        named = {name: folded for name, folded in names.items() if folded in speakers}
        share = 1 / max(1, len(set(named.values())))
        said = [share * (it.speaker in named) for it in self.passages]
        return np.array(said, dtype=np.float32)

    def asks(self) -> np.ndarray:
        """(passages,) 1 for what ends in a question, else 0."""
        return np.array(self._asks, dtype=np.float32)

    def content(self, row: int) -> frozenset[int | str]:
        """What a passage says, to be compared: the numbers of its terms, or its text if it has
        none."""
        ends = self._starts[row + 1] if row + 1 < len(self) else len(self.parts)
        own = range(self._starts[row], ends)
        terms = {term for part in own for term in self.lexical.terms(part)}
        return frozenset(terms) or frozenset({normal(self.passages[row].text).strip()})


def _common(old: list[Passage], new: Sequence[Passage]) -> int:
    """How many are the same from the start."""
    if list(new[: len(old)]) == old:  # compared in C
        return len(old)
    pairs = zip(old, new, strict=False)
    different = (at for at, (before, now) in enumerate(pairs) if before != now)
    return next(different, min(len(old), len(new)))


class IndexCache:
    """Lends an index to one borrower at a time; the least recently used go first.

    The key (user and chat, or a story's name) only finds a likely index. The borrower updates it,
    and every passage is compared, so that a wrong key costs time and leaks nothing.
    """

    def __init__(
        self, analyzer: Analyzer = RULES, *, capacity: int = 64, max_bytes: int = MAX_BYTES
    ) -> None:
        self.analyzer = analyzer
        self._changed = Condition()
        self._indexes: Kept[Hashable, Index] = Kept(max_bytes, capacity)
        self._lent: set[Hashable] = set()

    @contextmanager
    def index(self, key: Hashable, part_size: int = PART_SIZE) -> Iterator[Index]:
        """The last index of a key, or an empty one, for the length of the block.

        A second borrower at the same time waits for the first, and after `WAIT` gets an index of
        its own. What a block leaves by an exception is not kept.

        Args:
            key: of the chat or story.
            part_size: of an index that has to be made.
        """
        with self._changed:
            self._changed.wait_for(lambda: key not in self._lent, WAIT)
            index = self._indexes.take(key)
            self._lent.add(key)
        if index is None:
            index = self.made((), part_size)
        whole = False
        try:
            yield index
            whole = True
        finally:
            with self._changed:
                self._lent.discard(key)
                if whole:
                    self._indexes.put(key, index, index.bytes)
                self._changed.notify_all()

    def made(self, passages: Sequence[Passage], part_size: int = PART_SIZE) -> Index:
        """An index that is not kept."""
        return Index(passages, part_size=part_size, analyzer=self.analyzer)

    def forget(self, key: Hashable) -> None:
        """Drop what is kept for a key."""
        with self._changed:
            self._indexes.take(key)
