"""The keys of a lorebook: which of them a text mentions, and which entries they belong to.

A plain key has to stand in the text as a word by `cards.lore.words.stands_in`; a key is a regular
expression, JavaScript's, only when it is written `/pattern/flags`. Both may name `{{char}}` and
`{{user}}`. What a text mentions is remembered, so of a running chat only new lines are looked at.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, count
from sys import getsizeof
from threading import Lock
from typing import NamedTuple

from cards.lore.lorebook import Logic, Lorebook, LoreEntry
from cards.lore.words import has_names, stands_in, with_names
from language.normal import nfc
from retrieval.patterns import BYTES_OF_PATTERN, Pattern, as_pattern
from retrieval.text import spaced
from schemas.budget import Budget
from schemas.kept import Kept

REMEMBERED_BYTES = 500_000
"""Of the keys in 500 texts that mention a dozen, which are remembered for one set of keys by a
digest: no word of a chat stays."""

COMPILED_BYTES = 64_000_000
"""Of books made ready: 16 of 2,000 entries with a text of 1,000 characters."""

BYTES_OF_ENTRY, BYTES_OF_KEY = 1_200, 300  # the objects that they are, beside their texts

AT_ONCE = 200_000
"""Characters that plain keys read between two looks at the clock: 0.2 ms at the slowest."""

GRAM = 3
"""Characters that a key is filed under: 15,000 names share few of them."""

FILED_BY = 16
"""Characters of a key, of which three are chosen."""

NAMED_BYTES = 32_000_000
"""Of keys with the names of a chat filled in: 20 chats with 1,000 of them each."""

MAX_INSERTED = 1_000_000
"""Characters of names that are filled in for the macros of keys; further ones stay as text."""

Names = tuple[str, str]
"""What `{{char}}` and `{{user}}` are."""


class Key(NamedTuple):
    """A key as its entry wants it matched."""

    text: str
    whole_words: bool = True
    case_sensitive: bool = False


class Mentioned(NamedTuple):
    """The rows of the keys that a text mentions, of the patterns that took too long on it, and of
    those that took too long on another text of that turn, which may be tried in the next."""

    rows: frozenset[int]
    slow: frozenset[int]
    untried: frozenset[int]


class Looked:
    """A text that keys are looked for in, in the forms that they are compared with; each is made
    once, for however many sets of keys."""

    def __init__(self, text: str) -> None:
        self.text = text
        encoded = text.encode("utf-8", "surrogatepass")
        self.digest = hashlib.blake2b(encoded, digest_size=16).digest()
        self._grams: dict[int, set[str]] = {}

    @cached_property
    def folded(self) -> str:
        """As plain keys are compared."""
        return spaced(self.text)

    @cached_property
    def exact(self) -> str:
        """The same in its own case."""
        return _exact(self.text)

    @cached_property
    def composed(self) -> str:
        """As patterns read it."""
        return nfc(self.text)

    def grams(self, size: int) -> set[str]:
        """All runs of so many characters."""
        if size not in self._grams:
            folded = self.folded
            self._grams[size] = {folded[at : at + size] for at in range(len(folded))}
        return self._grams[size]


class _Plain(NamedTuple):
    """A key that is no pattern, its words as they are compared."""

    words: str
    whole: bool
    in_case: bool


class KeyIndex:
    """Keys to be looked for together; a key is known by its row.

    Each is filed under three characters of it, or of each word of which a pattern needs one, so
    that of thousands only those are looked for whose three characters a text has.

    Args:
        keys: distinct keys, by their rows or in the order of these.
        names: for `{{char}}` and `{{user}}` in keys.
        most: bytes that are remembered of what texts mention.
    """

    def __init__(
        self,
        keys: Sequence[Key] | Mapping[int, Key],
        names: Names = ("Char", "User"),
        *,
        most: int = REMEMBERED_BYTES,
    ) -> None:
        """Files plain keys; patterns are translated when a text comes, on the turn's budget."""
        self._keys = dict(keys) if isinstance(keys, Mapping) else dict(enumerate(keys))
        self._plain: dict[int, _Plain] = {}
        self._patterns: dict[int, Pattern] = {}
        self._needs: dict[int, frozenset[str]] = {}  # words of which a pattern needs one
        self._filed: dict[int, dict[str, list[int]]] = {size: {} for size in range(1, GRAM + 1)}
        self._everywhere: list[int] = []  # patterns that need no word
        self._unfiled: deque[int] = deque()
        self._faults: dict[int, str] = {}
        self._filing = Lock()
        inserted = 0
        for row, key in self._keys.items():
            pattern = as_pattern(key.text)
            text = key.text
            if inserted < MAX_INSERTED and has_names(text):
                text = with_names(text, *names, in_pattern=pattern is not None)
                inserted += max(0, len(text) - len(key.text))
                pattern = pattern and as_pattern(text, key.text)
            if pattern:
                self._patterns[row] = pattern
                self._unfiled.append(row)
            elif words := spaced(text):
                exact = _exact(text) if key.case_sensitive else words
                self._plain[row] = _Plain(exact, key.whole_words, key.case_sensitive)
                self._file(row, words)
        self._remembered: Kept[bytes, Mentioned] = Kept(most)

    @property
    def bytes(self) -> int:
        """About how much memory it takes, what it remembers included."""
        keys = sum(BYTES_OF_KEY + 2 * getsizeof(key.text) for key in self._keys.values())
        patterns = sum(len(self._keys[row].text) for row in self._patterns)
        return keys + BYTES_OF_PATTERN * patterns + self._remembered.most

    @property
    def faults(self) -> list[tuple[Key, str]]:
        """Keys in slashes that can never match, as far as they were tried, and what is wrong."""
        return [(self._keys[row], fault) for row, fault in list(self._faults.items())]

    @property
    def broken(self) -> list[Key]:
        """The keys of `faults`."""
        return [key for key, _ in self.faults]

    def found(self, text: str | Looked, budget: Budget) -> frozenset[int]:
        """The rows of the keys that the text mentions; what the turn's budget did not allow to look
        for is not among them.

        Raises:
            DeadlineExceeded: the turn has no time left.
        """
        looked = Looked(text) if isinstance(text, str) else text
        mentioned = self._remembered.get(looked.digest)
        if mentioned is None or mentioned.untried:
            mentioned, whole = self._look(looked, budget, mentioned)
            if whole:
                self._remembered.put(looked.digest, mentioned, 650 + 60 * sum(map(len, mentioned)))
        if mentioned.slow:
            budget.slow.update(self._keys[row].text for row in mentioned.slow)
        return mentioned.rows

    def _look(
        self, text: Looked, budget: Budget, before: Mentioned | None
    ) -> tuple[Mentioned, bool]:
        """What a text mentions, and whether all of it was looked for that can be."""
        budget.check()
        rows, slow = set(before.rows if before else ()), set(before.slow if before else ())
        untried = set[int]()
        whole = True
        if before is None:
            whole = self._file_patterns(budget)
            called, looked = self._look_for_words(text, rows, budget)
            whole = whole and looked
            tried: Iterable[int] = chain(called, self._everywhere)
        else:
            tried = before.untried
        composed = text.composed
        for row in tried:
            pattern = self._patterns[row]
            try:
                matches = pattern.matches(composed, budget)
            except TimeoutError:
                slow.add(row)
                continue
            if pattern.fault:
                self._faults[row] = pattern.fault
            if budget.patterns.ran_out:
                whole = False
                break
            if matches is None:
                untried.add(row)
            elif matches:
                rows.add(row)
        return Mentioned(frozenset(rows), frozenset(slow), frozenset(untried)), whole

    def _look_for_words(
        self, text: Looked, rows: set[int], budget: Budget
    ) -> tuple[list[int], bool]:
        """Adds the rows of plain keys; gives the patterns that may match, and whether the time was
        enough for all."""
        called: list[int] = []
        with budget.keywords:
            folded = text.folded
            filed = self._filed_under(text)
            step = 1 + AT_ONCE // (1 + len(folded))
            for start in range(0, len(filed), step):
                if budget.keywords.is_empty():
                    return called, False
                for row in filed[start : start + step]:
                    if row in self._plain:
                        words, whole, in_case = self._plain[row]
                        said = text.exact if in_case else folded
                        if words in said and (not whole or stands_in(words, said)):
                            rows.add(row)
                    elif any(word in folded for word in self._needs[row]):
                        called.append(row)
        return called, True

    def _file_patterns(self, budget: Budget) -> bool:
        """Translates patterns and files them; whether the time was enough for all."""
        with self._filing, budget.patterns as time:
            while self._unfiled and not time.is_empty():
                row = self._unfiled[0]
                needs = self._patterns[row].words()
                if fault := self._patterns[row].fault:
                    self._faults[row] = fault
                elif needs:
                    self._needs[row] = needs
                    for word in needs:
                        self._file(row, word)
                else:
                    self._everywhere.append(row)
                self._unfiled.popleft()
            return not self._unfiled

    def _file(self, row: int, words: str) -> None:
        """Files a key under those of its characters that the fewest others are filed under."""
        start = words[:FILED_BY]
        size = min(GRAM, len(start))
        filed = self._filed[size]
        grams = [start[at : at + size] for at in range(len(start) - size + 1)]
        rarest = min(grams, key=lambda gram: len(filed.get(gram, ())))
        filed.setdefault(rarest, []).append(row)

    def _filed_under(self, text: Looked) -> list[int]:
        """The rows that are filed under what a text has, in their order."""
        rows = set[int]()
        folded, length = text.folded, len(text.folded)
        for size, filed in self._filed.items():
            if len(filed) * (100 + length) < 200 * length:  # the cheaper way
                has: Iterable[str] = [gram for gram in list(filed) if gram in folded]
            else:
                has = filed.keys() & text.grams(size)
            for gram in has:
                rows.update(filed[gram])
        return sorted(rows)


class BookKeys:
    """The keys of a book, some of which may name the character or the user.

    What those mention is kept apart for each pair of names: no chat sees another's.

    Args:
        keys: distinct keys by their row.
    """

    def __init__(self, keys: Mapping[int, Key]) -> None:
        """Files what names nobody."""
        self._named = {row: key for row, key in keys.items() if has_names(key.text)}
        plain = {row: key for row, key in keys.items() if row not in self._named}
        self._plain = [KeyIndex(plain)] if plain else []
        self._number = next(_numbers)

    @property
    def bytes(self) -> int:
        """About how much memory it takes, what it remembers included."""
        named = sum(BYTES_OF_KEY + 2 * getsizeof(key.text) for key in self._named.values())
        return named + sum(index.bytes for index in self._plain)

    def of(self, names: Names) -> list[KeyIndex]:
        """All keys as a chat with these names looks for them."""
        if not self._named:
            return self._plain
        index = _named.get((self._number, *names))
        if index is None:
            index = KeyIndex(self._named, names, most=REMEMBERED_BYTES // 5)
            _named.put((self._number, *names), index, index.bytes)
        return [*self._plain, index]


_numbers = count()
"""Of sets of keys, so that none is taken for another."""
_named: Kept[tuple[int, str, str], KeyIndex] = Kept(NAMED_BYTES)


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
        self.keys = list(rows)
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
        self.twins = _twins(book.entries)
        self._index = BookKeys(dict(enumerate(self.keys)))
        self._timed_index = BookKeys({row: self.keys[row] for row in sorted(timed_rows)})

    @property
    def bytes(self) -> int:
        """About how much memory it takes, what it remembers included."""
        texts = sum(getsizeof(entry.content) for entry in self.entries)
        indexes = self._index.bytes + self._timed_index.bytes
        return texts + BYTES_OF_ENTRY * len(self.entries) + indexes

    def seen_by(self, names: Names) -> BookInChat:
        """The book in a chat with these names."""
        return BookInChat(self, self._index.of(names), self._timed_index.of(names))


class BookInChat(NamedTuple):
    """A book whose keys are looked for under the names of one chat."""

    book: CompiledBook
    indexes: list[KeyIndex]
    timed_indexes: list[KeyIndex]

    def found(self, text: str, budget: Budget) -> frozenset[int]:
        """The rows of the keys that a text mentions."""
        return _found(self.indexes, text, budget)

    def timed_found(self, text: str, budget: Budget) -> frozenset[int]:
        """Those of them that entries with timed effects have."""
        return _found(self.timed_indexes, text, budget)

    @property
    def faults(self) -> list[tuple[Key, str]]:
        """Keys that can never match, as far as they were tried, and what is wrong with each."""
        return [fault for index in self.indexes for fault in index.faults]


def _found(indexes: Sequence[KeyIndex], text: str, budget: Budget) -> frozenset[int]:
    if len(indexes) == 1:
        return indexes[0].found(text, budget)
    looked = Looked(text)
    return frozenset().union(*[index.found(looked, budget) for index in indexes])


def _twins(entries: Sequence[LoreEntry]) -> dict[int, int]:
    """Entries that say the same as an earlier one in every way, as in two books that are equal, and
    the earlier one."""
    first: dict[LoreEntry, int] = {}
    twins: dict[int, int] = {}
    stacked = len({entry.rank for entry in entries}) > 1
    for row, entry in enumerate(entries if stacked else ()):
        earlier = first.setdefault(replace(entry, id="", rank=0), row)
        if earlier != row:
            twins[row] = earlier
    return twins


def compiled(book: Lorebook) -> CompiledBook:
    """The compiled book; books of equal content share one.

    Compiling costs 10 ms for 1,000 plain keys, and 0.3 s for 1,000 patterns that are all called
    for, each turn otherwise.
    """
    known = _books.get(book)
    if known is None:
        known = CompiledBook(book)
        _books.put(book, known, known.bytes)
    return known


_books: Kept[Lorebook, CompiledBook] = Kept(COMPILED_BYTES)
