"""Around the SDK's two long polls: no job before the warm-up, and none lost at the end.

Left alone, the SDK keeps its poll for jobs open after SIGTERM, for up to 90 seconds: a job that
arrives by it is accepted and never run. So a stop ends that poll first; then what runs is finished
and reported, and the poll for cancellations ends last.

When all its places are taken, the SDK sleeps a second and a place that becomes free stays empty as
long. So it is told of more places (`advertised`) than are filled here: it never is full, and the
next job is asked for as soon as there is a place.

When a poll fails or is answered with nothing at once, the SDK asks again at once, and writes a line
into the log each time: half a core and thousands of lines a minute. So there is a pause here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from schemas.errors import traced

log = logging.getLogger(__name__)

T = TypeVar("T")
Poll = Callable[..., Awaitable[list[Any] | None]]

FIRST_PAUSE = 0.25
"""Seconds after the first failed poll, and after an answer of nothing; doubled by each further
failure."""

LONGEST_PAUSE = 10.0
"""Seconds: what a job waits at most when the server is back."""

GRACE = 30.0
"""Seconds that a worker with a dead GPU gives its other jobs: they may hang in it."""

LOOK = 0.02
"""Seconds between two looks for a free place, or for the end of the last job."""


def advertised(places: int) -> int:
    """Places to tell the SDK of: it counts a job twice until it runs."""
    return 2 * places + 1


def pause_after(failures: int) -> float:
    """Seconds until the next attempt, after so many failures before the last one."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 16))
    return longest * random.uniform(0.5, 1.0)  # not all at once when the server is back


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
            self._failures += 1
            await asyncio.sleep(pause_after(self._failures - 1))
            return None
        if self._failures:
            log.info("%s answers again, after %.0f s", self._server, asked - self._since)
            self._failures = 0
        if not answer and time.monotonic() - asked < FIRST_PAUSE:
            await asyncio.sleep(FIRST_PAUSE)
        return answer

    def _tell(self, error: Exception) -> None:
        """Logs the first failure in a row."""
        if not self._failures:
            self._since = time.monotonic()
            what = f"{type(error).__name__} {getattr(error, 'status', '')}".strip()
            retry = f"asking again, after up to {LONGEST_PAUSE:g} s"
            log.warning("%s does not answer (%s); %s", self._server, what, retry)


class JobLoop:
    """Stands before the SDK's fetcher of jobs and its fetcher of stop signals.

    Everything is made by the first fetch, the earliest moment within the loop that runs the jobs.

    Args:
        fetch: the SDK's fetcher of jobs, `(session, count) -> jobs or None`.
        fetch_stops: the SDK's fetcher of stop signals, `(session) -> job ids`.
        places: how many jobs may be held at once.
        jobs: how many jobs the SDK holds, queued or running.
        begin: awaited before the first fetch; a failure ends the worker.
        settle: awaited when the last job is reported.
        sweep: runs as long as the loop.
        watch: the same, from the warm-up on.
        broken: whether the device is lost for this process; runs in a thread.
    """

    def __init__(
        self,
        fetch: Poll,
        fetch_stops: Poll,
        *,
        places: int,
        jobs: Callable[[], int],
        begin: Callable[[], Awaitable[None]],
        settle: Callable[[], Awaitable[None]],
        sweep: Callable[[], Coroutine[Any, Any, None]],
        watch: Callable[[], Coroutine[Any, Any, None]],
        broken: Callable[[], bool],
    ) -> None:
        self._fetch = PollWithBackoff(fetch, "the job server")
        self._fetch_stops = PollWithBackoff(fetch_stops, "the channel for cancellations")
        self._places = places
        self._jobs, self._begin, self._settle = jobs, begin, settle
        self._sweep, self._watch, self._broken = sweep, watch, broken
        self._beginning: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopping, self._drained = asyncio.Event(), asyncio.Event()
        self.exit_code = 0

    async def fetch(self, session: object, count: int) -> list[Any] | None:
        """The next jobs; none, to be asked again, after a wait for the warm-up or for a place (the
        SDK gives up on a fetch after 90 seconds), and once the worker is to stop.
        """
        if self._beginning is None:
            self._take_signals()
            self._keep(self._sweep())
            self._beginning = self._keep(self._warm())
        if self.stopping.is_set():
            self._end_sdk()
        elif not self._beginning.done():
            await unless(self.stopping, asyncio.shield(self._beginning))
        elif (free := self._places - self._jobs()) > 0:
            return await unless(self.stopping, self._fetch(session, min(count, free)))
        else:
            await unless(self.stopping, self._until_fewer(self._places))
        return None

    async def fetch_stops(self, session: object) -> list[Any]:
        """The jobs to be cancelled; none once all jobs are reported."""
        return await unless(self._drained, self._fetch_stops(session)) or []

    def stop(self, exit_code: int = 0) -> None:
        """Takes no more jobs, finishes those it has, and then ends."""
        self.exit_code = self.exit_code or exit_code
        if not self.stopping.is_set():
            log.info("stopping: %d jobs are finished first", self._jobs())
            self.stopping.set()
            self._keep(self._drain())

    def suspect(self) -> None:
        """A turn failed: looks at the device, and ends the worker if it is lost."""
        self._keep(self._examine())

    async def _warm(self) -> None:
        try:
            await self._begin()
        except Exception as error:  # noqa: BLE001 - a worker that cannot answer is replaced
            log.error("the warm-up failed: this worker ends\n%s", traced(error))
            self.stop(exit_code=1)
        self._keep(self._watch())  # what is loaded before blocks no job

    async def _examine(self) -> None:
        if not self.stopping.is_set() and await self._is_broken():
            log.error("the GPU does not answer any more: this worker ends")
            self.stop(exit_code=1)
            asyncio.get_running_loop().call_later(GRACE, os._exit, 1)

    async def _is_broken(self) -> bool:
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._broken), GRACE)
        except TimeoutError:  # it does not even say so
            return True

    async def _drain(self) -> None:
        await self._until_fewer(1)
        await self._settle()
        self._drained.set()

    async def _until_fewer(self, jobs: int) -> None:
        while self._jobs() >= jobs:  # noqa: ASYNC110 - the SDK tells nobody when one is done
            await asyncio.sleep(LOOK)

    def _take_signals(self) -> None:
        """Takes over the signals that the SDK has taken, which would end its loop only."""
        loop = asyncio.get_running_loop()
        self._sdk_stops = signal.getsignal(signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    def _end_sdk(self) -> None:
        if callable(self._sdk_stops):
            self._sdk_stops(signal.SIGTERM, None)

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task, and a reference to it: the loop keeps none."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def unless(event: asyncio.Event, answer: Awaitable[T]) -> T | None:
    """The answer, or None as soon as the event is set; what has arrived by then is not lost."""
    answering = asyncio.ensure_future(answer)
    setting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({answering, setting}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else None
    finally:
        answering.cancel()
        setting.cancel()
