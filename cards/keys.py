"""Which of many lore keys a text mentions: all of a book's keys in one pass.

Each plain key is filed under the rarest run of three characters in it. The runs of a text, looked
up together, leave the few keys that may be in it; those are tested as words by
`retrieval.text.finder`, which knows Korean particles. A key is a regular expression only when it is
written `/pattern/flags`.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import regex

from retrieval.text import PARTICLES, PATTERN_SECONDS, as_pattern, finder, normal

PATTERNS_SECONDS = 0.1
"""What all regular expressions of an activation may cost together."""

REMEMBERED = 512
"""Texts whose keys an index remembers: a chat's messages are scanned once, not every turn."""

GRAM = 3
_SLASHED = re.compile(r"/.+/[a-z]*", re.DOTALL)
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]+")
_CHAIN = re.compile("(?:" + "|".join(sorted(PARTICLES, key=len, reverse=True)) + "){1,4}")
_BEHIND = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]{0,24}.?", re.DOTALL)


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

    def matches(self, row: int, pattern: regex.Pattern[str], text: str) -> bool:
        """Whether a pattern matches; one that once took too long is not tried again."""
        left = self._end - time.thread_time()
        if left <= 0 or row in self.slow:
            self.spent = self.spent or left <= 0
            return False
        try:
            return bool(pattern.search(text, timeout=min(PATTERN_SECONDS, left)))
        except TimeoutError:
            if left < PATTERN_SECONDS:
                self.spent = True
            else:
                self.slow.add(row)
            return False


class KeyIndex:
    """Keys made ready to be found; a key is known by its row.

    Args:
        keys: distinct keys.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        """Compiles what is cheap to compile: no pattern of a plain key before it is needed."""
        self.keys = list(keys)
        self._plain = {row: _words(key.text) for row, key in enumerate(keys) if not key.is_pattern}
        self._grams = _rarest(self._plain)
        self._short = {len(gram) for gram in self._grams if len(gram) < GRAM}
        self._patterns = dict(_patterns(keys))
        self._found = lru_cache(maxsize=REMEMBERED)(self._find)
        self._matched: dict[str, frozenset[int]] = {}

    @property
    def broken(self) -> list[Key]:
        """Keys in slashes that are no valid expression, or too long for one; they never match."""
        return [
            key for row, key in enumerate(self.keys) if key.is_pattern and row not in self._patterns
        ]

    def found(self, text: str, clock: Clock) -> frozenset[int]:
        """The rows of the keys that the text mentions."""
        rows = self._found(text)
        return rows | self._match(text, clock) if self._patterns else rows

    def _find(self, text: str) -> frozenset[int]:
        spaced = _words(text)
        grams = {spaced[at : at + GRAM] for at in range(len(spaced) - GRAM + 1)}
        for size in self._short:
            grams.update(spaced[at : at + size] for at in range(len(spaced) - size + 1))
        near = (row for gram in grams & self._grams.keys() for row in self._grams[gram])
        return frozenset(
            row for row in near if self._plain[row] in spaced and self._is_in(row, text, spaced)
        )

    def _is_in(self, row: int, text: str, spaced: str) -> bool:
        key = self.keys[row]
        if key.case_sensitive:
            return _exact(key, unicodedata.normalize("NFC", text))
        return not key.whole_words or stands_in(self._plain[row], spaced)

    def _match(self, text: str, clock: Clock) -> frozenset[int]:
        """The rows of the regular expressions that match; remembered if all had their time."""
        if clock.spent or text in self._matched:
            return self._matched.get(text, frozenset())
        subject = unicodedata.normalize("NFC", text)
        rows = frozenset(
            row for row, pattern in self._patterns.items() if clock.matches(row, pattern, subject)
        )
        if not (clock.slow or clock.spent):
            if len(self._matched) >= REMEMBERED:
                self._matched.clear()
            self._matched[text] = rows
        return rows


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
    return run is not None and _CHAIN.fullmatch(run[0]) is not None


def _words(text: str) -> str:
    return " ".join(normal(text).split())


def _rarest(plain: dict[int, str]) -> dict[str, list[int]]:
    """Each key's rarest gram among all keys, to the keys filed under it."""
    counts = Counter(gram for words in plain.values() for gram in set(_grams(words)))
    filed: dict[str, list[int]] = {}
    for row, words in plain.items():
        if words:
            filed.setdefault(min(_grams(words), key=counts.__getitem__), []).append(row)
    return filed


def _grams(words: str) -> list[str]:
    if len(words) <= GRAM:
        return [words] if words else []
    return [words[at : at + GRAM] for at in range(len(words) - GRAM + 1)]


def _patterns(keys: Sequence[Key]) -> Iterable[tuple[int, regex.Pattern[str]]]:
    for row, key in enumerate(keys):
        pattern = as_pattern(key.text) if key.is_pattern else None
        if pattern is None:
            continue
        try:
            yield row, regex.compile(unicodedata.normalize("NFC", pattern))
        except (regex.error, RecursionError, OverflowError, ValueError):
            continue


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
