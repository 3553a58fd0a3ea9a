"""Is the event loop awake: how late it comes to what is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

log = logging.getLogger(__name__)

PERIOD = 0.05
"""Seconds between two looks."""

ALARM = 1.0
"""Seconds of lag that are worth a line in the log: other jobs and stop signals waited as long."""


class LoopLag:
    """Watches the running loop, for the last minutes."""

    def __init__(self, kept: int = 6000) -> None:
        """Keeps so many looks."""
        self.lags: deque[float] = deque(maxlen=kept)

    async def watch(self) -> None:
        """Looks until it is cancelled."""
        while True:
            due = time.monotonic() + PERIOD
            await asyncio.sleep(PERIOD)
            lag = time.monotonic() - due
            self.lags.append(lag)
            if lag > ALARM:
                log.warning("the event loop was blocked for %.1f s", lag)

    def milliseconds(self, share: float) -> float:
        """The lag that this share of the looks stayed within, such as 0.99; 0 without looks."""
        lags = sorted(self.lags)
        return 1000 * lags[min(len(lags) - 1, int(share * len(lags)))] if lags else 0.0
