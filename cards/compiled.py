"""A lorebook made ready for activation, once per content."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cards.keys import Clock, Key, KeyIndex
from cards.lorebook import Logic, Lorebook, LoreEntry


class Rules(NamedTuple):
    """Settings of the reader, where an entry leaves the choice to it; the widely shipped ones."""

    scan_depth: int = 2
    whole_words: bool = True
    case_sensitive: bool = False


class Asked(NamedTuple):
    """Rows of keys in the index, and what must hold of them."""

    rows: tuple[int, ...]
    logic: Logic

    def holds(self, hits: frozenset[int]) -> bool:
        """Whether it holds where these keys were found."""
        found = sum(row in hits for row in self.rows)
        match self.logic:
            case "and_any":
                return found > 0
            case "and_all":
                return found == len(self.rows)
            case "not_any":
                return found == 0
            case "not_all":
                return found < len(self.rows)


class CompiledBook:
    """Entries by key, and what else activation asks of a book every turn."""

    def __init__(self, book: Lorebook, rules: Rules) -> None:
        """Files every key; no regular expression of a plain key is compiled yet."""
        self.entries = book.entries
        rows: dict[Key, int] = {}

        def row_of(entry: LoreEntry, text: str) -> int:
            whole = rules.whole_words if entry.whole_words is None else entry.whole_words
            case = rules.case_sensitive if entry.case_sensitive is None else entry.case_sensitive
            return rows.setdefault(Key(text, whole, case), len(rows))

        self.primary = [tuple(row_of(entry, key) for key in entry.keys) for entry in book.entries]
        self.asked = [
            tuple(Asked(tuple(row_of(entry, k) for k in keys), lg) for keys, lg in entry.conditions)
            for entry in book.entries
        ]
        self.index = KeyIndex(list(rows))
        self.by_key: list[list[int]] = [[] for _ in rows]
        for at, own in enumerate(self.primary):
            for row in {*own, *(row for asked in self.asked[at] for row in asked.rows)}:
                self.by_key[row].append(at)
        self.depths = [
            rules.scan_depth if entry.scan_depth is None else entry.scan_depth
            for entry in book.entries
        ]
        self.windows = sorted(set(self.depths))
        self.always = [
            at for at, entry in enumerate(book.entries) if entry.constant or entry.scan_also
        ]
        self.conditional = {at for at, entry in enumerate(book.entries) if _has_conditions(entry)}
        queue = sorted(range(len(book.entries)), key=lambda at: _claim(book.entries[at]))
        self.claim = [0] * len(queue)  # place of each entry in the queue to the budget
        for place, at in enumerate(queue):
            self.claim[at] = place
        self.timed = [at for at, entry in enumerate(book.entries) if entry.sticky or entry.cooldown]
        self.delayed: dict[int, list[int]] = {}  # by level of recursion
        for at, entry in enumerate(book.entries):
            if entry.recursion_level:
                self.delayed.setdefault(entry.recursion_level, []).append(at)
        self.levels = sorted(self.delayed)
        timed_rows = sorted(
            {
                row
                for at in self.timed
                for row in (*self.primary[at], *(r for a in self.asked[at] for r in a.rows))
            }
        )
        self._timed_rows = timed_rows
        self._timed_index = KeyIndex([self.index.keys[row] for row in timed_rows])

    def timed_hits(self, text: str, clock: Clock) -> frozenset[int]:
        """The keys of entries with timed effects that a text mentions, as rows of `index`."""
        return frozenset(self._timed_rows[row] for row in self._timed_index.found(text, clock))


def _has_conditions(entry: LoreEntry) -> bool:
    """Whether more than its keys decides on an entry."""
    return bool(
        not entry.enabled
        or (entry.triggers or entry.characters or entry.tags)
        or (entry.delay or entry.only_every or entry.greeting is not None)
    )


def _claim(entry: LoreEntry) -> tuple[bool, int, int, int]:
    """Who goes first to the budget."""
    return (entry.drop_first, entry.rank, -entry.priority, -entry.order)


@lru_cache(maxsize=16)
def compiled(book: Lorebook, rules: Rules) -> CompiledBook:
    """The compiled book; books of equal content share one."""
    return CompiledBook(book, rules)
