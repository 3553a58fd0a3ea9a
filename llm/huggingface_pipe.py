"""From a thread into an event loop, item by item, with a limit on what waits between them."""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Pipe(Generic[T]):
    """Made and read in the loop, written in the thread, which waits while `size` items lie unread.

    Args:
        size: items between the two.
        patience: seconds that the thread waits for room before it takes the reader for gone.
    """

    def __init__(self, *, size: int = 64, patience: float = 300.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[T] = asyncio.Queue()
        self._room = threading.Semaphore(size)
        self._patience = patience
        self.closed = False
        """The reader has left: whatever would be written is not wanted."""

    def put(self, item: T) -> None:
        """In the thread: hands an item over, or drops it where nobody reads."""
        if self.closed:
            return
        if not self._room.acquire(timeout=self._patience):
            self.closed = True
        if self.closed:
            return
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:  # the loop has ended
            self.closed = True

    async def get(self) -> T:
        """In the loop: the next item."""
        item = await self._items.get()
        self._room.release()
        return item

    def close(self) -> None:
        """In the loop: wants no more; a thread that waits for room goes on."""
        self.closed = True
        self._room.release()
