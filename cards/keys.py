"""Which of many lore keys a text mentions: all of a book's keys in one pass.

Keys are filed by what a text must contain (`cards.grams`): a plain key by itself, a regular
expression by the literals in it (`cards.literals`). The few that are left for a text are tested:
plain keys as words by `retrieval.text.finder`, which knows Korean particles. A key is a regular
expression only when it is written `/pattern/flags`. What a text was found to mention is remembered,
so of a running chat only new lines are looked at.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import regex

from cards.grams import Grams
from cards.literals import fold, required
from language.korean import HANGUL, is_particles
from retrieval.text import PATTERN_SECONDS, as_pattern, finder, normal

PATTERNS_SECONDS = 0.1
"""What all regular expressions of an activation may cost together."""

REMEMBERED = 512
"""Texts whose keys an index remembers: a chat's messages are scanned once, not every turn."""

_SLASHED = re.compile(r"/.+/[a-z]*", re.DOTALL)
_HANGUL = re.compile(f"[{HANGUL}]+")
_BEHIND = re.compile(f"[{HANGUL}]{{0,24}}.?", re.DOTALL)


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
        self.slow: set[int] = set()
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


class Matches(NamedTuple):
    """The rows of the patterns that match a text, and of those that took too long on it."""

    rows: frozenset[int]
    slow: frozenset[int]


class KeyIndex:
    """Keys made ready to be found; a key is known by its row.

    Args:
        keys: distinct keys.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        """Files the keys; a regular expression is compiled when a text calls for it."""
        self.keys = list(keys)
        self._plain = {row: _words(key.text) for row, key in enumerate(keys) if not key.is_pattern}
        self._words = Grams({row: [words] for row, words in self._plain.items()})
        self._patterns = _Patterns(keys)
        self._found = lru_cache(maxsize=REMEMBERED)(self._find)

    @property
    def broken(self) -> list[Key]:
        """Keys in slashes that are known to be no valid expression, or too long for one."""
        return [self.keys[row] for row in sorted(self._patterns.broken)]

    def check(self) -> list[Key]:
        """Compiles every pattern; gives all that are broken."""
        self._patterns.compile()
        return self.broken

    def found(self, text: str, clock: Clock) -> frozenset[int]:
        """The rows of the keys that the text mentions."""
        return self._found(text) | self._patterns.found(text, clock)

    def _find(self, text: str) -> frozenset[int]:
        spaced = _words(text)
        near = self._words.found(spaced)
        return frozenset(row for row in near if self._is_in(row, text, spaced))

    def _is_in(self, row: int, text: str, spaced: str) -> bool:
        key = self.keys[row]
        if key.case_sensitive:
            return _exact(key, unicodedata.normalize("NFC", text))
        return not key.whole_words or stands_in(self._plain[row], spaced)


class _Patterns:
    """The regular expressions among keys, by row."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._sources: dict[int, str] = {}
        self.broken: set[int] = set()
        for row, key in enumerate(keys):
            if not key.is_pattern:
                continue
            source = as_pattern(key.text)
            if source is None:
                self.broken.add(row)
            else:
                self._sources[row] = unicodedata.normalize("NFC", source)
        needs = {row: required(source) for row, source in self._sources.items()}
        self._always = {row for row, literals in needs.items() if not literals}
        self._literals = Grams(needs)
        self._compiled: dict[int, regex.Pattern[str] | None] = {}
        self._remembered: dict[str, Matches] = {}
        self.compile(self._always)  # so that most of what is broken is known early

    def compile(self, rows: Iterable[int] | None = None) -> None:
        """Compiles these patterns, or all."""
        for row in self._sources if rows is None else rows:
            self._pattern(row)

    def found(self, text: str, clock: Clock) -> frozenset[int]:
        """The rows of the patterns that match; remembered, unless the time for all ran out."""
        if not self._sources or clock.spent:
            return frozenset()
        matches = self._remembered.get(text)
        if matches is None:
            matches = self._search(unicodedata.normalize("NFC", text), clock)
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            if not clock.spent:
                self._remembered[text] = matches
        clock.slow |= matches.slow
        return matches.rows

    def _search(self, text: str, clock: Clock) -> Matches:
        rows, slow = set(), set()
        for row in sorted(self._always | self._literals.found(fold(text))):
            pattern = self._pattern(row)
            if pattern is None:
                continue
            try:
                if clock.matches(pattern, text):
                    rows.add(row)
            except TimeoutError:
                slow.add(row)
        return Matches(frozenset(rows), frozenset(slow))

    def _pattern(self, row: int) -> regex.Pattern[str] | None:
        """The compiled pattern; None if it is no valid one."""
        if row not in self._compiled:
            try:
                self._compiled[row] = regex.compile(self._sources[row])
            except (regex.error, RecursionError, OverflowError, ValueError):
                self._compiled[row] = None
                self.broken.add(row)
        return self._compiled[row]


def stands_in(words: str, text: str) -> bool:
    """Whether the words stand in the text as words of their own; both in normal form.

    It is `finder` without a compiled pattern for every key, which costs 0.1 ms each: keys and
    neighbours in ASCII and Hangul are decided here, other scripts are left to it.
    """
    first, last = _script(words[0]), _script(words[-1])
    if "other" in (first, last):
        return finder(words)(text)
    at = text.find(words)
    while at >= 0:
        end = at + len(words)
        before, after = _script(text[at - 1 : at]), _script(text[end : end + 1])
        if "other" in (before, after):
            return finder(words)(text)
        starts = before == "none" or (before == "hangul" and first != "hangul")
        if starts and (after == "none" or (after == "hangul" and _is_particles(text, end))):
            return True
        at = text.find(words, at + 1)
    return False


def _script(character: str) -> Literal["none", "ascii", "hangul", "other"]:
    """Of a letter or digit; none for anything else."""
    if not character.isalnum():
        return "none"
    if character.isascii():
        return "ascii"
    return "hangul" if _HANGUL.match(character) else "other"


def _is_particles(text: str, start: int) -> bool:
    """Whether the Hangul from here on is a chain of particles."""
    run = _HANGUL.match(text, start)
    return run is not None and is_particles(run[0])


def _words(text: str) -> str:
    return " ".join(normal(text).split())


def _exact(key: Key, text: str) -> bool:
    """Whether the key stands in the text in its own case; as a word, if it wants that."""
    wanted = unicodedata.normalize("NFC", key.text).strip()
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        behind = _BEHIND.match(text, end)
        around = text[max(0, at - 1) : behind.end() if behind else end]
        if not key.whole_words or finder(key.text)(normal(around)):
            return True
        at = text.find(wanted, at + 1)
    return False
