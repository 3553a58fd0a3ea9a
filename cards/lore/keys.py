"""The keys of a lorebook: which of them a text mentions, and which entries they belong to.

A plain key has to stand in the text as a word by `retrieval.text.stands_in`, which knows Korean
particles; a key is a regular expression only when it is written `/pattern/flags`. What a text
mentions is remembered, so of a running chat only new lines are looked at: 1,000 plain keys take
0.5 ms a text and 1,000 patterns 3.5 ms, so that nothing cleverer is worth its code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import NamedTuple

from cards.lore.lorebook import Logic, Lorebook, LoreEntry
from language.normal import nfc
from retrieval.patterns import Pattern, as_pattern
from retrieval.text import spaced, stands_in
from schemas.budget import Budget
from schemas.kept import Kept

REMEMBERED_BYTES = 500_000
"""Of the keys in 500 texts that mention a dozen, which are remembered for one set of keys by a
digest: no word of a chat stays."""

COMPILED_BYTES = 64_000_000
"""Of books made ready: 16 of 2,000 entries with a text of 1,000 characters."""

BYTES_OF_ENTRY, BYTES_OF_KEY = 1_200, 300  # the objects that they are, beside their texts
BYTES_OF_PATTERN = 100  # for each character; lists of words take most

AT_ONCE = 200_000
"""Characters that plain keys read between two looks at the clock: 0.2 ms at the slowest."""

_SLASHED = re.compile(r"/.+/[a-z]*", re.DOTALL)


class Key(NamedTuple):
    """A key as its entry wants it matched."""

    text: str
    whole_words: bool = True
    case_sensitive: bool = False

    @property
    def is_pattern(self) -> bool:
        """Whether it is a regular expression."""
        return self.text.startswith("/") and _SLASHED.fullmatch(self.text) is not None


class Mentioned(NamedTuple):
    """The rows of the keys that a text mentions, of the patterns that took too long on it, and of
    those that took too long on another text of that turn, which may be tried in the next."""

    rows: frozenset[int]
    slow: frozenset[int]
    untried: frozenset[int]


class KeyIndex:
    """Keys to be looked for together; a key is known by its row.

    Args:
        keys: distinct keys.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        """Sorts plain keys and patterns; these are compiled when they are first tried."""
        self.keys = list(keys)
        self._plain: list[tuple[int, str, bool, bool]] = []  # row, words, whole, in their case
        self._patterns: dict[int, Pattern] = {}
        self._too_long: list[Key] = []  # for a pattern
        for row, key in enumerate(keys):
            if not key.is_pattern:
                words = (_exact if key.case_sensitive else spaced)(key.text)
                if words:
                    self._plain.append((row, words, key.whole_words, key.case_sensitive))
            elif source := as_pattern(key.text):
                self._patterns[row] = Pattern(key.text, source)
            else:
                self._too_long.append(key)
        self._remembered: Kept[bytes, Mentioned] = Kept(REMEMBERED_BYTES)

    @property
    def patterns_size(self) -> int:
        """Characters of all regular expressions."""
        return sum(len(self.keys[row].text) for row in self._patterns)

    @property
    def broken(self) -> list[Key]:
        """Keys in slashes that are no valid expression, as far as they were tried, or too long."""
        return [
            *self._too_long,
            *(self.keys[row] for row, pattern in self._patterns.items() if pattern.broken),
        ]

    def found(self, text: str, budget: Budget) -> frozenset[int]:
        """The rows of the keys that the text mentions; what the turn's budget did not allow to look
        for is not among them.

        Raises:
            DeadlineExceeded: the turn has no time left.
        """
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        mentioned = self._remembered.get(digest)
        if mentioned is None or mentioned.untried:
            mentioned, whole = self._look(text, budget, mentioned)
            if whole:
                self._remembered.put(digest, mentioned, 650 + 60 * sum(map(len, mentioned)))
        budget.slow.update(self.keys[row].text for row in mentioned.slow)
        return mentioned.rows

    def _look(self, text: str, budget: Budget, before: Mentioned | None) -> tuple[Mentioned, bool]:
        """What a text mentions, and whether all of it was looked for that can be."""
        budget.check()
        rows, slow = set(before.rows if before else ()), set(before.slow if before else ())
        untried = set[int]()
        whole = before is not None or self._look_for_plain(text, rows, budget)
        composed = nfc(text)
        for row in before.untried if before else self._patterns:
            try:
                matches = self._patterns[row].matches(composed, budget)
            except TimeoutError:
                slow.add(row)
                continue
            if budget.patterns.ran_out:
                whole = False
                break
            if matches is None:
                untried.add(row)
            elif matches:
                rows.add(row)
        return Mentioned(frozenset(rows), frozenset(slow), frozenset(untried)), whole

    def _look_for_plain(self, text: str, rows: set[int], budget: Budget) -> bool:
        """Adds the rows of plain keys; whether the time was enough for all."""
        folded, exact = spaced(text), _exact(text)
        step = 1 + AT_ONCE // (1 + len(text))
        with budget.keywords:
            for start in range(0, len(self._plain), step):
                if budget.keywords.is_empty():
                    return False
                for row, words, whole, in_case in self._plain[start : start + step]:
                    said = exact if in_case else folded
                    if words in said and (not whole or stands_in(words, said)):
                        rows.add(row)
        return True


def _exact(text: str) -> str:
    """The text in its own case, otherwise as `spaced` gives it."""
    return " ".join(nfc(text).split())


class Asked(NamedTuple):
    """Rows of keys in the index, and what must hold of them."""

    rows: tuple[int, ...]
    logic: Logic

    def holds(self, is_found: Callable[[int], bool]) -> bool:
        """Whether it holds where these keys are found."""
        found = sum(map(is_found, self.rows))
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

    def __init__(self, book: Lorebook) -> None:
        """Files every key."""
        self.entries = book.entries
        rows: dict[Key, int] = {}

        def row_of(entry: LoreEntry, text: str) -> int:
            key = Key(text, entry.whole_words, entry.case_sensitive)
            return rows.setdefault(key, len(rows))

        self.primary = [tuple(row_of(entry, key) for key in entry.keys) for entry in book.entries]
        self.asked = [
            tuple(Asked(tuple(row_of(entry, k) for k in keys), lg) for keys, lg in entry.conditions)
            for entry in book.entries
        ]
        self.index = KeyIndex(list(rows))
        self.by_key: list[list[int]] = [[] for _ in rows]
        self.timed: list[int] = []
        self.delayed: dict[int, list[int]] = {}  # by level of recursion
        timed_rows: set[int] = set()
        for at, entry in enumerate(book.entries):
            own = {*self.primary[at], *(row for asked in self.asked[at] for row in asked.rows)}
            for row in own:
                self.by_key[row].append(at)
            if entry.sticky or entry.cooldown:
                self.timed.append(at)
                timed_rows |= own
            if entry.recursion_level:
                self.delayed.setdefault(entry.recursion_level, []).append(at)
        self.windows = {entry.scan_depth for entry in book.entries}
        self.always = [at for at, one in enumerate(book.entries) if one.constant or one.scan_also]
        self._timed_rows = sorted(timed_rows)
        self._timed_index = KeyIndex([self.index.keys[row] for row in self._timed_rows])

    @property
    def bytes(self) -> int:
        """About how much memory it takes, what it remembers included."""
        keys, patterns = self.index.keys, self.index.patterns_size
        texts = sum(getsizeof(entry.content) for entry in self.entries)
        of_keys = sum(BYTES_OF_KEY + 2 * getsizeof(key.text) for key in keys)
        objects = BYTES_OF_ENTRY * len(self.entries) + 2 * REMEMBERED_BYTES
        return texts + of_keys + objects + BYTES_OF_PATTERN * patterns

    def timed_hits(self, text: str, budget: Budget) -> frozenset[int]:
        """The keys of entries with timed effects that a text mentions, as rows of `index`."""
        return frozenset(self._timed_rows[row] for row in self._timed_index.found(text, budget))


def compiled(book: Lorebook) -> CompiledBook:
    """The compiled book; books of equal content share one.

    Compiling costs 30 ms for 1,000 plain keys and 130 ms for 1,000 patterns, each turn otherwise.
    """
    known = _books.get(book)
    if known is None:
        known = CompiledBook(book)
        _books.put(book, known, known.bytes)
    return known


_books: Kept[Lorebook, CompiledBook] = Kept(COMPILED_BYTES)
