"""The server's life: warming up, ready, ending."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from schemas.errors import IyagiError, LLMError, traced
from server.errors import Ending
from worker import serve
from worker.dispatch import Dispatcher
from worker.health import gpu_is_broken

log = logging.getLogger(__name__)

DRAIN = 25.0
"""Seconds for open replies after SIGTERM: orchestrators kill after 30, and 10 for Docker alone."""

LAST_WORDS = 3.0
"""Seconds for replies that were cut off to say so."""

PAUSE = 1.0
"""Seconds between two looks for a model server that is not there yet."""


class Reply(Protocol):
    """An open reply, which can be cut off."""

    def cut(self) -> None:
        """Ends it with an error that says so."""


class Life:
    """Of one server.

    Args:
        drain: seconds that open replies have when the server ends.
    """

    def __init__(self, drain: float = DRAIN) -> None:
        self.ready = False
        self.ending = False
        self.exit_code = 0
        self._drain = drain
        self._open: set[Reply] = set()
        self._idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end: Callable[[], None] = lambda: None  # stops the server

    @property
    def state(self) -> str:
        """`warming_up`, `ready` or `ending`."""
        return "ending" if self.ending else "ready" if self.ready else "warming_up"

    def enter(self, reply: Reply) -> None:
        """Counts an open reply. Raises Ending where it is too late for one."""
        if self.ending:
            raise Ending
        self._open.add(reply)

    def leave(self, reply: Reply) -> None:
        """The reply is over."""
        self._open.discard(reply)
        if not self._open:
            self._idle.set()

    def begin(self, dispatcher: Dispatcher, *, warm_up: bool, wait: float) -> None:
        """Starts what goes on beside the requests, in the running loop.

        Args:
            warm_up: answer a turn for nobody first; until then the server is not ready.
            wait: seconds in which such turns wait for a model server that is not there yet.
        """
        dispatcher.on_failure = lambda: self._start(self._suspect())
        self._start(dispatcher.lag.watch())
        self.ready = not (warm_up or wait)
        if not self.ready:
            self._start(self._warm_up(dispatcher, wait))

    def stop_by_signals(self, stop: Callable[[], None], at_once: Callable[[int], None]) -> None:
        """From now on the first SIGTERM or SIGINT ends the server by and by, the next one at once.

        Args:
            stop: called when open replies have ended.
            at_once: called with the number of the second signal.
        """
        self._end = stop

        def signalled(number: int) -> None:
            if self.ending:
                at_once(number)
            self.end()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):  # on Windows, where uvicorn's own way stays
                loop.add_signal_handler(number, signalled, number)

    def end(self, exit_code: int = 0) -> None:
        """Takes no more turns; ends when those that run have ended, or were cut off."""
        if not self.ending:
            self.ending, self.exit_code = True, exit_code
            log.info("ending: %d replies are open", len(self._open))
            self._start(self._finish())

    async def close(self) -> None:
        """Ends what goes on beside the requests."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self) -> None:
        await self._all_left(self._drain)
        if self._open:
            log.warning("%d replies were cut off after %g s", len(self._open), self._drain)
            for reply in list(self._open):
                reply.cut()
            await self._all_left(LAST_WORDS)
        self._end()

    async def _all_left(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    self._idle.clear()
                    await self._idle.wait()

    async def _warm_up(self, dispatcher: Dispatcher, wait: float) -> None:
        until = time.monotonic() + wait
        try:
            while time.monotonic() < until:
                try:
                    await dispatcher.warm_up()
                    break
                except LLMError:
                    await asyncio.sleep(PAUSE)
                except IyagiError:  # told below, or waited for
                    await serve.warm_up(dispatcher)
                    break
            else:
                await serve.warm_up(dispatcher)
            self.ready = True
            log.info("ready")
        except Exception as error:  # noqa: BLE001 - nothing can be answered
            log.critical("the warm-up turn failed for good\n%s", traced(error))
            self.end(1)

    async def _suspect(self) -> None:
        """After a failure: a GPU that is gone for this process is there for the next one."""
        if await asyncio.to_thread(gpu_is_broken):
            log.critical("the GPU does not answer; the server ends")
            self.end(1)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
