"""Tokens gathered for the network.

Each event is a POST that the SDK awaits, while the model goes on writing. So the turn runs in a
task of its own, which never waits for the network: what is not sent yet is joined, and holds at
most the reply once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from schemas.budget import Budget, spending
from schemas.errors import DeadlineExceeded

Event = dict[str, Any]

INTERVAL = 0.08
"""Seconds between two sendings of tokens: a dozen a second reads as fluent writing."""

SIZE = 400
"""Characters that are sent at once without waiting for more."""


class Pending:
    """What was said and not sent yet."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._sent = float("-inf")  # when tokens went out last
        self.changed = asyncio.Event()
        self.ended = False

    def add(self, event: Event) -> None:
        """Keeps an event; a token joins the one before it, and replaces a status like a status."""
        last = self._events[-1] if self._events else None
        if last and last["type"] == "status" and event["type"] in ("status", "token"):
            self._events.pop()
            last = None
        if last and last["type"] == event["type"] == "token":
            last["text"] += event["text"]
            if len(last["text"]) < SIZE:
                return  # a reader that waits for the time of the first one need not wake
        else:
            self._events.append(dict(event))
        self.changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self.changed.set()

    def hold(self) -> float | None:
        """Seconds for which the next event should wait for more; None: there is no event."""
        if not self._events:
            return None
        first = self._events[0]
        alone = len(self._events) == 1 and first["type"] == "token" and not self.ended
        if not alone or len(first["text"]) >= SIZE:
            return 0.0
        return max(0.0, self._sent + INTERVAL - time.monotonic())

    def take(self) -> Event:
        """The next event."""
        event = self._events.popleft()
        if event["type"] == "token":
            self._sent = time.monotonic()
        return event


async def paced(
    source: AsyncGenerator[Event, None], deadline: float
) -> AsyncGenerator[Event, None]:
    """The events of `source`: the first token at once, then gathered by time and size.

    The source is closed when the reader leaves, or when the reader's task ends in any other way:
    the SDK cancels a job while it sends, without closing this generator.

    Args:
        source: `status`, `token`, `segment` and `final` events of a turn.
        deadline: seconds for all of them.

    Raises:
        DeadlineExceeded: the source was not done in time.
        Exception: whatever the source raises, after its events.
    """
    pending = Pending()
    producer = asyncio.create_task(_produce(source, pending, deadline))
    reader = asyncio.current_task()
    assert reader is not None

    def leave(_: object) -> None:
        producer.cancel()

    reader.add_done_callback(leave)
    try:
        while (wait := pending.hold()) is not None or not pending.ended:
            if wait == 0.0:
                yield pending.take()
                continue
            pending.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(pending.changed.wait(), wait)
        await producer
    finally:
        reader.remove_done_callback(leave)
        producer.cancel()
        await asyncio.wait({producer})


async def merged(
    sources: Sequence[AsyncGenerator[Event, None]],
) -> AsyncGenerator[tuple[int, Event], None]:
    """The events of several replies as they come, each with the number of its reply.

    All are closed when the reader leaves, or one of them fails.

    Raises:
        Exception: whatever the first raises that fails, after the events before.
    """
    if len(sources) == 1:
        async with aclosing(sources[0]) as events:
            async for event in events:
                yield 0, event
        return
    said: _Said = asyncio.Queue(len(sources))
    tasks = {asyncio.create_task(_tell(row, each, said)) for row, each in enumerate(sources)}
    reader = asyncio.current_task()
    assert reader is not None

    def leave(_: object) -> None:
        for task in tasks:
            task.cancel()

    reader.add_done_callback(leave)
    try:
        for _ in sources:  # each ends once
            while told := await said.get():
                if isinstance(told, Exception):
                    raise told
                yield told
    finally:
        reader.remove_done_callback(leave)
        leave(None)
        await asyncio.wait(tasks)


_Said = asyncio.Queue[tuple[int, Event] | Exception | None]


async def _tell(row: int, source: AsyncGenerator[Event, None], said: _Said) -> None:
    """Puts the events of a source into a queue, then what it raised, or None."""
    try:
        async with aclosing(source):
            async for event in source:
                await said.put((row, event))
    except Exception as error:  # noqa: BLE001 - raised where the events are read
        await said.put(error)
    else:
        await said.put(None)


async def _produce(source: AsyncGenerator[Event, None], pending: Pending, deadline: float) -> None:
    try:
        async with within(deadline), aclosing(source):
            async for event in source:
                pending.add(event)
    finally:
        pending.end()


@asynccontextmanager
async def within(deadline: float) -> AsyncIterator[None]:
    """Gives the work inside so many seconds, and its threads, which look at the deadline; a
    TimeoutError of its own passes as it is.

    Raises:
        DeadlineExceeded: it was not done in time.
    """
    limit = asyncio.timeout(deadline)
    try:
        async with limit:
            with spending(Budget(deadline)):
                yield
    except TimeoutError:
        if limit.expired():
            raise DeadlineExceeded(deadline) from None
        raise
