"""What one turn may cost, whatever its input.

The budget of a turn lies in a context variable, so that its nodes and threads share it: LangGraph
and `asyncio.to_thread` copy the context. What is counted in characters comes out the same on every
machine; what is counted in seconds of processor time changes no outcome on a busy one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import DeadlineExceeded

MACRO_CHARACTERS = 2_000_000
"""Characters that the macros of a card, and as many that those of its lore may read and insert: 20
fields of the greatest length, or 20,000 macros, which take 0.2 s."""

PATTERN_SECONDS = 0.4
"""For all regular expressions of users together, their compiling included: 1,000 take 0.2 s."""

KEYWORD_SECONDS = 0.6
"""For all else that looks for keywords of lore and story: 10,000 in 10 texts take 0.1 s."""


MAX_TOLD = 20
"""Macros that are told of as left out."""

_NO_TIME = "nothing says what time it is; send `timestamp`"
_WHY = {
    **dict.fromkeys(("time", "date", "weekday", "isotime", "isodate"), _NO_TIME),
    **dict.fromkeys(("datetimeformat", "unixtime", "idleduration"), _NO_TIME),
}


class Purse:
    """Processor time of the thread that works inside of `with purse:`, one thread at a time."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._end = 0.0
        self._depth = 0
        self.ran_out = False
        """Whether work was left undone."""

    def __enter__(self) -> Purse:
        """From here on time is taken."""
        if not self._depth:
            self._end = time.thread_time() + self._left
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        """To here."""
        self._depth -= 1
        if not self._depth:
            self._left = self._end - time.thread_time()

    def is_empty(self) -> bool:
        """Whether the work inside has to end here."""
        self.ran_out = self.ran_out or time.thread_time() >= self._end
        return self.ran_out


@dataclass(eq=False)
class Budget:
    """What is left to a turn.

    Args:
        seconds: from now to the deadline.
    """

    seconds: float = math.inf
    characters: int = MACRO_CHARACTERS
    """For macros."""
    expanded: dict[Hashable, str] = field(default_factory=dict)
    """Texts with their macros filled in, so that each is expanded once and the same all turn."""
    told: dict[Hashable, Any] = field(default_factory=dict)
    """What macros are told of this turn, made once."""
    removed: set[str] = field(default_factory=set)
    """Macros that were left out, as they make no sense here or could not be evaluated."""
    keywords: Purse = field(default_factory=lambda: Purse(KEYWORD_SECONDS))
    patterns: Purse = field(default_factory=lambda: Purse(PATTERN_SECONDS))
    slow: set[str] = field(default_factory=set)
    """Patterns that took too long on a text; they are not tried again."""

    def __post_init__(self) -> None:
        """Sets the deadline."""
        self._deadline = time.monotonic() + self.seconds

    def anew(self) -> Budget:
        """A whole budget with the same deadline."""
        budget = Budget(self.seconds)
        budget._deadline = self._deadline
        return budget

    def beside(self) -> Budget:
        """The same for another part of this turn, which is told the same."""
        budget = self.anew()
        budget.told, budget.removed = self.told, self.removed
        return budget

    def removals(self) -> list[str]:
        """Which macros were left out, the first `MAX_TOLD` of them."""
        return [
            f"macro `{{{{{name}}}}}` is left out: {_WHY.get(name, 'it is not supported')}"
            for name in sorted(self.removed)[:MAX_TOLD]
        ]

    def check(self) -> None:
        """Raises DeadlineExceeded behind the deadline."""
        if time.monotonic() >= self._deadline:
            raise DeadlineExceeded(self.seconds)

    def warnings(self) -> list[str]:
        """Which keywords were not looked for as they should."""
        return [
            *(f"key `{pattern}` takes too long" for pattern in sorted(self.slow)),
            *(["the patterns took too long together; some were not tried"] * self.patterns.ran_out),
            *(["the keys took too long together; some were left out"] * self.keywords.ran_out),
        ]


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


def current() -> Budget:
    """The budget of this turn; a whole one without a deadline where no turn set any."""
    return _budget.get() or Budget()


def keep_deadline() -> None:
    """For loops that may be long. Raises DeadlineExceeded behind the deadline of this turn."""
    if budget := _budget.get():
        budget.check()


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """What is done inside, also by threads and tasks that it starts, is on this budget."""
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)
