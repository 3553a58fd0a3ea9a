"""Backoff where the job server is gone.

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

Poll = Callable[..., Awaitable[list[Any] | None]]

FIRST = 0.25
"""Seconds of pause after the first failure, and after an answer of nothing; doubled by each
further failure."""

LONGEST = 10.0
"""Longest pause in seconds: what a job waits at most when the server is back."""


class PollWithBackoff:
    """A long poll that pauses where the SDK would not; a failure counts as no answer.

    Args:
        poll: the SDK's.
        server: its name in the log.
    """

    def __init__(self, poll: Poll, server: str) -> None:
        self._poll, self._server = poll, server
        self._failures, self._since = 0, 0.0

    async def __call__(self, *args: object) -> list[Any] | None:
        """The poll's answer; None after a pause where there was none.

        Raises:
            Exception: HTTP 429, for which the SDK has a pause of its own.
        """
        asked = time.monotonic()
        try:
            answer = await self._poll(*args)
        except Exception as error:
            if getattr(error, "status", None) == 429:
                raise
            self._tell(error)
            pause = min(LONGEST, FIRST * 2.0 ** min(self._failures, 16))
            self._failures += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            return None
        if self._failures:
            log.info("%s answers again, after %.0f s", self._server, asked - self._since)
            self._failures = 0
        if not answer and time.monotonic() - asked < FIRST:
            await asyncio.sleep(FIRST)
        return answer

    def _tell(self, error: Exception) -> None:
        """Logs the first failure in a row."""
        if not self._failures:
            self._since = time.monotonic()
            what = f"{type(error).__name__} {getattr(error, 'status', '')}".strip()
            retry = f"asking again, after up to {LONGEST:g} s"
            log.warning("%s does not answer (%s); %s", self._server, what, retry)
