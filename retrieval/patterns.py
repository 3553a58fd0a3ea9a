"""Regular expressions that users write as keywords, `/pattern/flags`, on the turn's budget.

They are JavaScript's (`retrieval/javascript.py`)."""

from __future__ import annotations

import time

import regex

from language.normal import nfc
from retrieval import javascript
from schemas.budget import Budget
from schemas.kept import Kept

MAX_PATTERN = 2_000
"""Characters of a pattern; lists of names are as long. None as long takes more than
0.1 s to translate and compile, in which other threads go on."""

MAX_SEARCHED = 20_000
"""Characters of a text that a pattern looks at, as many as a message has: between two looks at the
clock `regex` may read them a hundred times."""

SEARCH_SECONDS = 0.02
"""What a pattern may cost on a text."""

BYTES_OF_PATTERN = 100
"""For each character of one that is compiled; lists of words take most."""

KNOWN_BYTES = 4_000_000
"""Of patterns in a story's keywords: 1,000 of 30 characters, which take 0.3 s to compile."""

INVALID = "is no valid pattern"

FIRST_LOOK = 0.002
"""Seconds that a search may hold the interpreter's lock. Nearly all need less, and to give up the
lock costs each of 1,000 patterns up to 5 ms where other threads wait for it."""


def as_pattern(keyword: str, written: str | None = None) -> Pattern | None:
    """The regular expression of a keyword `/pattern/flags`, as JavaScript would read it; None for
    plain text, such as `/home/user`.

    Args:
        written: what the author wrote, where something was filled in.
    """
    slashed = javascript.split(keyword)
    return Pattern(written or keyword, *slashed) if slashed else None


def known_pattern(keyword: str) -> Pattern | None:
    """`as_pattern`, kept from turn to turn."""
    if not keyword.startswith("/"):
        return None
    pattern = _known.get(keyword) or as_pattern(keyword)
    if pattern is not None:
        _known.put(keyword, pattern, 1_000 + BYTES_OF_PATTERN * len(keyword))
    return pattern


class Pattern:
    """The regular expression of a keyword, translated and compiled when it is first tried.

    Args:
        keyword: as the user wrote it, in slashes.
        source: what stands between the slashes.
        flags: behind them.
    """

    def __init__(self, keyword: str, source: str, flags: str) -> None:
        self._keyword, self._source, self._flags = keyword, source, flags
        self._translated: javascript.Translation | None = None
        self._compiled: regex.Pattern[str] | None = None
        self.fault = ""
        """What is known to be wrong with it: it "is no valid pattern", or another end of that
        sentence. Such a pattern matches nothing."""
        if len(source) > MAX_PATTERN:
            self.fault = f"is longer than {MAX_PATTERN:,} characters"

    def words(self) -> frozenset[str]:
        """Words of which any text that matches holds one, both as `normal`; none if that is not
        known. Takes 0.1 ms for 50 characters."""
        if self._translated is None and not self.fault:
            try:
                self._translated = javascript.translate(nfc(self._source), self._flags)
            except javascript.Unsupported as error:
                self.fault = f"uses what is not supported: {error}"
            except (javascript.Invalid, RecursionError):
                self.fault = INVALID
        return self._translated.words if self._translated else frozenset()

    def matches(self, text: str, budget: Budget) -> bool | None:
        """Whether it matches; None where it is not tried: the turn's time for patterns is spent, or
        this one took too long on another text.

        Raises:
            TimeoutError: it takes too long on this text.
        """
        if self._keyword in budget.slow:
            return None
        with budget.patterns:
            if budget.patterns.is_empty():
                return None
            budget.check()
            try:
                if self._compiled is None and not self.fault:
                    self._compile()
                return self._compiled is not None and _found(self._compiled, text)
            except TimeoutError:
                budget.slow.add(self._keyword)
                raise

    def _compile(self) -> None:
        self.words()
        if self._translated is not None:
            try:
                self._compiled = regex.compile(self._translated.source, cache_pattern=False)
            except (regex.error, RecursionError, OverflowError, ValueError):
                self.fault = INVALID


def _found(pattern: regex.Pattern[str], text: str) -> bool:
    """Whether a pattern matches; TimeoutError after `SEARCH_SECONDS` of this thread.

    The clock of `regex` is that of the process: where other threads work it runs faster, so a
    search that it ended early gets more of it.
    """
    started = time.thread_time()
    try:
        return bool(pattern.search(text, 0, MAX_SEARCHED, timeout=FIRST_LOOK))
    except TimeoutError:
        pass
    for times in (1, 2, 4):
        try:
            limit = times * SEARCH_SECONDS
            return bool(pattern.search(text, 0, MAX_SEARCHED, timeout=limit, concurrent=True))
        except TimeoutError:
            if time.thread_time() - started >= SEARCH_SECONDS:
                break
    raise TimeoutError


_known: Kept[str, Pattern] = Kept(KNOWN_BYTES)
