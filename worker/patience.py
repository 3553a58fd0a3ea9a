"""Patience with a server that is gone.

The SDK asks again at once when its poll for jobs fails, or is answered with nothing at once, and
writes a line into the log each time: half a core and thousands of lines a minute.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger(__name__)

Fetch = Callable[..., Awaitable[list[Any] | None]]

FIRST = 0.25
"""Seconds of pause after the first failure, and after an answer of nothing; doubled by each
further failure."""

LONGEST = 10.0
"""Longest pause in seconds: what a job waits at most when the server is back."""


class Patient:
    """A long poll that pauses where the SDK would not; a failure counts as no answer.

    Args:
        fetch: the SDK's poll.
        whom: the server's name in the log.
    """

    def __init__(self, fetch: Fetch, whom: str) -> None:
        self._fetch, self._whom = fetch, whom
        self._failures, self._since = 0, 0.0

    async def __call__(self, *args: object) -> list[Any] | None:
        """The poll's answer; None after a pause where there was none.

        Raises:
            Exception: HTTP 429, for which the SDK has a pause of its own.
        """
        asked = time.monotonic()
        try:
            answer = await self._fetch(*args)
        except Exception as error:
            if getattr(error, "status", None) == 429:
                raise
            await asyncio.sleep(self._failed(error))
            return None
        if self._failures:
            log.info("%s answers again, after %.0f s", self._whom, asked - self._since)
            self._failures = 0
        if not answer and time.monotonic() - asked < FIRST:
            await asyncio.sleep(FIRST)
        return answer

    def _failed(self, error: Exception) -> float:
        """The pause; the first failure in a row is told."""
        if not self._failures:
            self._since = time.monotonic()
            what = f"{type(error).__name__} {getattr(error, 'status', '')}".strip()
            log.warning(
                "%s does not answer (%s); asking again, after up to %g s", self._whom, what, LONGEST
            )
        pause = min(LONGEST, FIRST * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)
