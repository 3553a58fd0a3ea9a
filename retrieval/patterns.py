"""Regular expressions that users write as keywords, `/pattern/flags`, on the turn's budget."""

from __future__ import annotations

import re
import time

import regex

from language.normal import nfc
from schemas.budget import Budget

MAX_PATTERN = 200
"""Characters of a pattern; lorebooks stay far below. None as long takes 3 ms to compile."""

MAX_SEARCHED = 20_000
"""Characters of a text that a pattern looks at, as many as a message has: between two looks at the
clock `regex` may read them a hundred times."""

SEARCH_SECONDS = 0.02
"""What a pattern may cost on a text."""

FIRST_LOOK = 0.002
"""Seconds that a search may hold the interpreter's lock. Nearly all need less, and to give up the
lock costs each of 1,000 patterns up to 5 ms where other threads wait for it."""


def as_pattern(keyword: str) -> str | None:
    """The regular expression of a keyword `/pattern/flags` with its flags inside, else None.

    Flags are i, m and s; others are ignored.
    """
    slashed = re.fullmatch(r"/(.+)/([a-z]*)", keyword, re.DOTALL)
    if not slashed or len(slashed[1]) > MAX_PATTERN:
        return None
    flags = "".join(flag for flag in "ims" if flag in slashed[2])
    return f"(?{flags}){slashed[1]}" if flags else slashed[1]


class Pattern:
    """The regular expression of a keyword, compiled when it is first tried.

    Args:
        keyword: as the user wrote it, in slashes.
        source: `as_pattern` of it.
    """

    def __init__(self, keyword: str, source: str) -> None:
        self._keyword, self._source = keyword, source
        self._compiled: regex.Pattern[str] | None = None
        self.broken = False
        """Whether it is known to be no valid expression."""

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
                if self._compiled is None and not self.broken:
                    self._compiled = _compiled(self._source)
                    self.broken = self._compiled is None
                return self._compiled is not None and _found(self._compiled, text)
            except TimeoutError:
                budget.slow.add(self._keyword)
                raise


def _compiled(source: str) -> regex.Pattern[str] | None:
    try:
        return regex.compile(nfc(source))
    except (regex.error, RecursionError, OverflowError, ValueError):
        return None


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
