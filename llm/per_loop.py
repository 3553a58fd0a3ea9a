"""Connections and places, one set for each event loop: an HTTP client breaks in another's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from llm.openai_wire import Wire


@dataclass
class _Link:
    """What belongs to one event loop."""

    gate: asyncio.Semaphore
    building: asyncio.Lock = field(default_factory=asyncio.Lock)
    wire: Wire | None = None


class PerLoop:
    """Hands out the running loop's connections, to as many users at once as there are places."""

    def __init__(self, connect: Callable[[], Wire], places: int) -> None:
        self._connect = connect  # slow: runs in a thread, once per loop
        self._places = places
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, _Link] = WeakKeyDictionary()

    @asynccontextmanager
    async def place(self, ends: float) -> AsyncIterator[Wire]:
        """A place and the connections; TimeoutError if all are taken until `ends` (loop time)."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            link = self._links[loop] = _Link(asyncio.Semaphore(self._places))
        async with asyncio.timeout_at(ends):
            await link.gate.acquire()
        try:
            async with link.building:
                if link.wire is None:
                    link.wire = await asyncio.to_thread(self._connect)
            yield link.wire
        finally:
            link.gate.release()

    async def aclose(self) -> None:
        """Closes what the running loop has open."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link and link.wire:
            await link.wire.close()
