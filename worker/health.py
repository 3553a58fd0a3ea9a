"""Is the worker well: how late the event loop comes to what is due, and whether the GPU is alive.

After a CUDA fault (an illegal address, a device-side assert) every further call of the process
fails, until it is replaced. Memory that ran out, or a request that cannot be computed, is no such
fault: the GPU answers again. So not the error's words decide, but the GPU itself.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from typing import Any

log = logging.getLogger(__name__)

PERIOD = 0.05
"""Seconds between two looks at the event loop."""

ALARM = 1.0
"""Seconds of lag that are worth a line in the log: other jobs and stop signals waited as long."""


class EventLoopLag:
    """Watches the running loop, for the last minutes."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque(maxlen=6000)

    async def watch(self) -> None:
        """Measures until it is cancelled."""
        while True:
            due = time.monotonic() + PERIOD
            await asyncio.sleep(PERIOD)
            lag = time.monotonic() - due
            self._lags.append(lag)
            if lag > ALARM:
                log.warning("the event loop was blocked for %.1f s", lag)

    def milliseconds(self, share: float) -> float:
        """The lag that this share of the measurements, such as 0.99, stayed within; 0 for none."""
        lags = sorted(self._lags)
        return 1000 * lags[min(len(lags) - 1, int(share * len(lags)))] if lags else 0.0


def gpu_is_broken() -> bool:
    """Whether the GPU that this process uses answers no more; False without one. Blocks briefly."""
    torch: Any = sys.modules.get("torch")  # not loaded: no model runs here
    try:
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
