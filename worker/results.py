"""From a job's outputs to the job server: nothing is lost while it does not answer.

The SDK posts three times within some seconds, and then drops the result. Here a post is tried for
as long as a job may take. From its first failure on a result is kept on disk as well, so a worker
that is stopped or killed leaves it to the next one. It is deleted once the server has taken it, or
refused it for good: a crash between the two posts it twice, which the server sees by the job's id,
and none is lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from schemas.base import digest
from worker.job_loop import pause_after, unless
from worker.kept_results import KeptResults, Result

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPT = 10.0
"""Seconds for one post, and one more for each megabyte: a stop waits for it."""

SWEEP = 60.0
"""Seconds between two looks for kept results that nobody posts."""

PASSING = (408, 425, 429)
"""Statuses below 500 after which the same post may be taken later."""


class Refused(Exception):
    """The server does not want a post and never will: the job is gone, or the result too large."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Unavailable(Exception):
    """The server cannot take a post now."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Addresses(NamedTuple):
    """Where results go, with `$RUNPOD_POD_ID` for the worker and `$ID` for the job.

    Attributes:
        output: takes one output of a job.
        result: takes the end of a job.
    """

    output: str
    result: str


class Route:
    """One of the two, and since when it takes nothing."""

    def __init__(self, what: str, address: str, patience: float) -> None:
        self._what, self._address, self._patience = what, address, patience
        self.down_since: float | None = None
        self.down = asyncio.Event()

    def url(self, worker: str, job: str) -> str:
        """The address for a job that this worker took."""
        return self._address.replace("$RUNPOD_POD_ID", worker).replace("$ID", quote(job, safe=""))

    def failed(self, error: Exception) -> None:
        """Logs the first failure in a row."""
        if self.down_since is None:
            self.down_since = time.monotonic()
            self.down.set()
            why = f"{type(error).__name__} {getattr(error, 'status', '')}".strip()
            log.warning("the job server takes no %s (%s); trying again", self._what, why)

    def answered(self) -> None:
        """The server took a post, or refused it."""
        if self.down_since is not None:
            log.info("the job server takes %s again", self._what)
            self.down_since = None
            self.down.clear()

    def gives_up(self, begun: float) -> bool:
        """Whether a post that was begun then, in `time.monotonic()`, was tried for long enough.

        Where the server takes nothing at all, all posts share one patience.
        """
        since = begun if self.down_since is None else min(begun, self.down_since)
        return time.monotonic() - since > self._patience


class Results:
    """Answers jobs in place of the SDK's `handle_job`, and posts what they yield.

    Args:
        worker: this worker's name.
        addresses: where results go.
        folder: for results that could not be posted.
        patience: seconds for which a post is tried.
        stopping: set when the worker is to end: a post that fails then is not tried again.
    """

    def __init__(
        self,
        worker: str,
        addresses: Addresses,
        folder: Path,
        *,
        patience: float,
        stopping: asyncio.Event,
    ) -> None:
        self._worker, self._stopping = worker, stopping
        self._outputs = Route("outputs", addresses.output + "&isStream=false", patience)
        self._results = Route("results", addresses.result + "&isStream=true", patience)
        # Another endpoint's workers may share the folder; their server does not know our jobs.
        mine = folder / digest(addresses.result.partition("?")[0])
        self._kept = KeptResults(mine, worker, patience=patience)
        self._underway: set[Path] = set()
        # One thread: what is deleted after it was written stays deleted.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="results")

    async def handle_job(self, session: Any, config: dict[str, Any], job: dict[str, Any]) -> None:
        """Answers a job: posts each output, then all of them as its result.

        The handler waits for the posts, so that it gathers tokens meanwhile, unless the server is
        gone: then it goes on, and its result is on disk as soon as it is complete. An output with a
        true `error` ends the job as failed. A job that is cancelled leaves nothing.

        Args:
            session: aiohttp's.
            config: `handler` is an async generator function of a job.
            job: has an `id`.
        """
        handler: Callable[[Any], AsyncGenerator[Any, None]] = config["handler"]
        result: dict[str, Any] = {"output": []}
        posts: list[asyncio.Task[None]] = []
        turn = asyncio.Lock()  # first come, first served
        try:
            async with aclosing(handler(job)) as outputs:
                async for output in outputs:
                    if isinstance(output, dict) and output.get("error"):
                        result = {"error": str(output["error"])}
                        break
                    result["output"].append(output)
                    post = Result(self._worker, job["id"], _json({"output": output}))
                    posts.append(asyncio.create_task(self._post_output(session, post, turn)))
                    await unless(self._outputs.down, asyncio.shield(posts[-1]))
            end = Result(self._worker, job["id"], _json(result))
            await self._post_result(session, end, posts)
        finally:
            for each in posts:
                each.cancel()
        log.info("job %s is answered", job["id"])

    async def sweep(self, open_session: Callable[[], Any]) -> None:
        """Posts what is kept, now and whenever there is some, until it is cancelled."""
        async with open_session() as session:
            while True:
                try:
                    await self.post_kept(session)
                except OSError as error:
                    log.warning("kept results cannot be read (%s)", type(error).__name__)
                await asyncio.sleep(SWEEP)

    async def _post_output(self, session: Any, post: Result, turn: asyncio.Lock) -> None:
        """Posts one output in its turn; it may be given up, since the result holds it, too."""
        async with turn:
            if self._stopping.is_set() and self._outputs.down.is_set():
                return
            try:
                await self._until_answered(session, self._outputs, post)
            except Refused as error:
                log.warning("an output was refused (%d)", error.status)

    async def _post_result(
        self, session: Any, result: Result, outputs: Sequence[asyncio.Task[None]]
    ) -> None:
        """Posts a job's result after its outputs, or leaves it on disk."""
        file, answered = self._kept.new_file(), True
        try:
            if left := [post for post in outputs if not post.done()]:
                await self._keep(file, result)
                await asyncio.wait(left)
            answered = await self._until_answered(session, self._results, result, keep_in=file)
            if not answered:
                log.warning("a result could not be posted; it is posted later")
        except Refused as error:
            log.warning("a result was refused (%d): it is given up", error.status)
        finally:
            if file in self._underway:
                if answered:  # or the job was cancelled, and wants none
                    await self._on_disk(self._kept.delete, file)
                self._underway.discard(file)

    async def post_kept(self, session: Any) -> None:
        """Posts what is kept, the oldest first, until the server does not answer."""
        for file in await self._on_disk(lambda: [*self._kept.take(self._underway)]):
            if result := await self._on_disk(self._kept.read, file):
                try:
                    await self._post(session, self._results, result)
                    log.info("a kept result was posted")
                except Refused as error:
                    log.warning("a kept result was refused (%d): it is given up", error.status)
                except Exception as error:  # noqa: BLE001 - aiohttp's have no common base
                    return self._results.failed(error)
            await self._on_disk(self._kept.delete, file)

    async def _until_answered(
        self, session: Any, route: Route, post: Result, *, keep_in: Path | None = None
    ) -> bool:
        """Posts until the server takes it: true; or until that was tried for long enough: false.

        Args:
            keep_in: the file that keeps the post from its first failure on.

        Raises:
            Refused: the server never will take it.
        """
        begun = time.monotonic()
        failures = 0
        while True:
            try:
                await self._post(session, route, post)
                return True
            except Refused:
                raise
            except Exception as error:  # noqa: BLE001 - aiohttp's have no common base
                route.failed(error)
            if keep_in:
                await self._keep(keep_in, post)
            if self._stopping.is_set() or route.gives_up(begun):
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_after(failures))
            failures += 1

    async def _post(self, session: Any, route: Route, post: Result) -> None:
        """One attempt.

        Raises:
            Refused: a status that will not change.
            Exception: no answer, or a status that may.
        """
        body = post.body.encode("utf-8", "replace")
        headers = {
            "X-Request-ID": post.job,
            "charset": "utf-8",
            "Content-Type": "application/x-www-form-urlencoded",  # as the SDK has it
        }
        async with asyncio.timeout(ATTEMPT + len(body) / 1e6):
            url = route.url(post.worker, post.job)
            async with session.post(url, data=body, headers=headers) as answer:
                status: int = answer.status
        if status >= 500 or status in PASSING:
            raise Unavailable(status)
        route.answered()
        if status >= 400:
            raise Refused(status)

    async def _keep(self, file: Path, result: Result) -> None:
        self._underway.add(file)
        try:
            await self._on_disk(self._kept.write, file, result)
        except OSError as error:
            log.warning("a result cannot be kept on disk (%s)", type(error).__name__)

    async def _on_disk(self, work: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *given)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
