"""The keys of a lorebook: which of them a text mentions, and which entries they belong to.

A plain key has to stand in the text as a word by `retrieval.text.stands_in`, which knows Korean
particles; a key is a regular expression only when it is written `/pattern/flags`. What a text
mentions is remembered, so of a running chat only new lines are looked at: 1,000 plain keys take
0.5 ms a text and 1,000 patterns 2.5 ms, so that nothing cleverer is worth its code.
"""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata
from collections.abc import Sequence
from sys import getsizeof
from typing import NamedTuple

import regex

from cards.lorebook import Logic, Lorebook, LoreEntry
from retrieval.text import PATTERN_SECONDS, as_pattern, spaced, stands_in
from schemas.kept import Kept

PATTERNS_SECONDS = 0.1
"""What all regular expressions of an activation may cost together."""

REMEMBERED_BYTES = 500_000
"""Of the keys in 500 texts that mention a dozen, which are remembered for one set of keys by a
digest: no word of a chat stays."""

COMPILED_BYTES = 64_000_000
"""Of books made ready: 16 of 2,000 entries with a text of 1,000 characters."""

BYTES_OF_ENTRY, BYTES_OF_KEY = 1_200, 300  # the objects that they are, beside their texts
BYTES_OF_PATTERN = 100  # for each character; lists of words take most

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


class Clock:
    """The time that regular expressions have left in one activation, and which took too long.

    Seconds of this thread's processor time, so that a busy machine changes no outcome.
    """

    def __init__(self, seconds: float = PATTERNS_SECONDS) -> None:
        self._end = time.thread_time() + seconds
        self.slow: set[Key] = set()
        self.spent = False

    def matches(self, pattern: regex.Pattern[str], text: str) -> bool:
        """Whether a pattern matches; not tried when the time is spent.

        Raises:
            TimeoutError: it takes too long on this text.
        """
        left = self._end - time.thread_time()
        self.spent = self.spent or left <= 0
        if self.spent:
            return False
        try:
            return bool(pattern.search(text, timeout=min(PATTERN_SECONDS, left)))
        except TimeoutError:
            if left < PATTERN_SECONDS:
                self.spent = True
                return False
            raise


class Mentioned(NamedTuple):
    """The rows of the keys that a text mentions, and the patterns that took too long on it."""

    rows: frozenset[int]
    slow: frozenset[Key]


class KeyIndex:
    """Keys to be looked for together; a key is known by its row.

    Args:
        keys: distinct keys.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        """Compiles the regular expressions, 0.15 ms each."""
        self.keys = list(keys)
        self.broken: list[Key] = []  # in slashes, and no valid expression or too long for one
        self._plain: list[tuple[int, str, bool, bool]] = []  # row, words, whole, in their case
        self._patterns: dict[int, regex.Pattern[str]] = {}
        for row, key in enumerate(keys):
            if not key.is_pattern:
                words = (_exact if key.case_sensitive else spaced)(key.text)
                if words:
                    self._plain.append((row, words, key.whole_words, key.case_sensitive))
            elif pattern := _compiled(key.text):
                self._patterns[row] = pattern
            else:
                self.broken.append(key)
        self._remembered: Kept[bytes, Mentioned] = Kept(REMEMBERED_BYTES)

    @property
    def patterns_size(self) -> int:
        """Characters of all regular expressions."""
        return sum(len(self.keys[row].text) for row in self._patterns)

    def found(self, text: str, clock: Clock) -> frozenset[int]:
        """The rows of the keys that the text mentions."""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        mentioned = self._remembered.get(digest)
        if mentioned is None:
            mentioned = self._look(text, clock)
            if not (self._patterns and clock.spent):
                self._remembered.put(digest, mentioned, 650 + 60 * len(mentioned.rows))
        clock.slow |= mentioned.slow
        return mentioned.rows

    def _look(self, text: str, clock: Clock) -> Mentioned:
        folded, exact, composed = spaced(text), _exact(text), unicodedata.normalize("NFC", text)
        rows = set()
        for row, words, whole, in_case in self._plain:
            said = exact if in_case else folded
            if words in said and (not whole or stands_in(words, said)):
                rows.add(row)
        slow = set()
        for row, pattern in self._patterns.items():
            try:
                if clock.matches(pattern, composed):
                    rows.add(row)
            except TimeoutError:
                slow.add(self.keys[row])
        return Mentioned(frozenset(rows), frozenset(slow))


def _compiled(key: str) -> regex.Pattern[str] | None:
    """The regular expression of a key in slashes; None if it is no valid one, or too long."""
    source = as_pattern(key)
    if source is None:
        return None
    try:
        return regex.compile(unicodedata.normalize("NFC", source))
    except (regex.error, RecursionError, OverflowError, ValueError):
        return None


def _exact(text: str) -> str:
    """The text in its own case, otherwise as `spaced` gives it."""
    return " ".join(unicodedata.normalize("NFC", text).split())


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

    def timed_hits(self, text: str, clock: Clock) -> frozenset[int]:
        """The keys of entries with timed effects that a text mentions, as rows of `index`."""
        return frozenset(self._timed_rows[row] for row in self._timed_index.found(text, clock))


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
