"""The threads of a store: one that hangs holds these, and none that other work waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")

THREADS = 4
"""For turns, and as many for what follows a reply: as many turns are prepared at once."""


class StoreThreads:
    """Two small pools, so that a turn's reading does not queue behind what others write.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        """Starts no thread yet."""
        self._reading = ThreadPoolExecutor(THREADS, thread_name_prefix=f"{name}-reading")
        self._writing = ThreadPoolExecutor(THREADS, thread_name_prefix=f"{name}-writing")

    async def run(self, work: Callable[[], T], *, writes: bool = False) -> T:
        """The result of work that blocks, done in one of these threads."""
        pool = self._writing if writes else self._reading
        return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, work)
