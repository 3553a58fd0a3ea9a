"""Runpod's side of the wire on loopback: it gives jobs to a worker, and serves its clients."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

T = TypeVar("T")


class Background:
    """An event loop in a thread, for servers that several tests share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 20) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def strict(text: str) -> Any:
    """JSON as any other language reads it: NaN is none."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


class Job:
    """A job, and what the worker has sent for it."""

    def __init__(self, name: str, given: Any) -> None:
        self.id, self.input = name, given
        self.chunks: list[Any] = []
        self.read = 0
        self.done: dict[str, Any] | None = None
        self.times_done = 0
        self.cancelled = False
        self.taken_at = self.first_at = 0.0
        self._finished = threading.Event()

    def finish(self, done: dict[str, Any]) -> None:
        self.done = done
        self.times_done += 1
        self._finished.set()

    @property
    def status(self) -> str:
        if self.cancelled:
            return "CANCELLED"
        if self.done is None:
            return "IN_PROGRESS" if self.taken_at else "IN_QUEUE"
        return "FAILED" if "error" in self.done else "COMPLETED"

    def result(self, timeout: float = 20) -> list[Any]:
        """What it yielded, as /status and /runsync give it."""
        assert self._finished.wait(timeout), f"job {self.id} hangs"
        assert self.done and "error" not in self.done, self.done
        output: list[Any] = self.done["output"]
        return output

    def error(self, timeout: float = 20) -> dict[str, Any]:
        """Why it failed."""
        assert self._finished.wait(timeout), f"job {self.id} hangs"
        assert self.done and "error" in self.done, self.done
        error: dict[str, Any] = json.loads(self.done["error"])
        return error

    def heard(self, count: int = 1, timeout: float = 20) -> list[Any]:
        """The streamed outputs, as soon as there are so many."""
        ends = time.monotonic() + timeout
        while len(self.chunks) < count:
            assert time.monotonic() < ends, f"job {self.id}: {len(self.chunks)} outputs"
            time.sleep(0.01)
        return [chunk["output"] for chunk in self.chunks]


class JobServer:
    """Start it with `start()`, on a loop of its own."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.waiting: deque[Job] = deque()
        self.faults: dict[str, list[int]] = {"job-stream": [], "job-done": []}
        self.pings: list[dict[str, str]] = []
        self.post_delay = 0.0
        self.down: int | None = None
        """In an outage: the status of each answer to the worker; 0 for no answer."""
        self.raw: deque[str] = deque()
        """What the next polls for jobs are answered with, before any job."""
        self.wrong: list[str] = []
        self.most_held = 0
        """Jobs that were taken and not done, at most."""
        self._stops: list[str] = []
        self._news = threading.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2"

    def env(self) -> dict[str, str]:
        """What the platform sets for a worker."""
        url = f"{self.base}/ep"
        return {
            "RUNPOD_POD_ID": "w1",
            "RUNPOD_AI_API_KEY": "rp-secret-key",
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/$ID?gpu=x",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=x",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=x",
            "RUNPOD_WEBHOOK_PING": f"{url}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    def submit(self, given: Any) -> Job:
        job = self.expect(f"job-{len(self.jobs)}", given)
        self.waiting.append(job)
        return job

    def expect(self, name: str, given: Any = None) -> Job:
        """A job that the server knows and does not hand out."""
        job = self.jobs[name] = Job(name, given)
        return job

    def cancel(self, job: Job) -> None:
        job.cancelled = True
        self._stops.append(job.id)

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=20_000_000, middlewares=[self._outage])
        worker, client = "/v2/ep", "/v2/ep"
        app.add_routes(
            [
                web.get(worker + "/job-take/{worker}", self._take),
                web.get(worker + "/job-take-batch/{worker}", self._take),
                web.get(worker + "/job-stop/{worker}", self._stop),
                web.post(worker + "/job-stream/{worker}/{id}", self._streamed),
                web.post(worker + "/job-done/{worker}/{id}", self._done),
                web.get(worker + "/ping/{worker}", self._ping),
                web.post(client + "/run", self._run),
                web.post(client + "/runsync", self._runsync),
                web.get(client + "/status/{id}", self._status),
                web.get(client + "/stream/{id}", self._stream),
                web.post(client + "/cancel/{id}", self._cancel),
                web.get(client + "/openai{route:/v1/.+}", self._openai),
                web.post(client + "/openai{route:/v1/.+}", self._openai),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner
        await self._runner.cleanup()

    @web.middleware
    async def _outage(self, request: web.Request, handler: Any) -> web.StreamResponse:
        of_worker = "/w1" in request.path
        if of_worker and self.down == 0:
            await asyncio.sleep(60)
        if of_worker and self.down is not None:
            return web.Response(status=self.down)
        answer: web.StreamResponse = await handler(request)
        return answer

    # The worker's side

    async def _take(self, request: web.Request) -> web.Response:
        batch = "job-take-batch" in request.path
        for _ in range(2000):
            if self.raw:
                return web.Response(text=self.raw.popleft(), content_type="application/json")
            if self.waiting:
                break
            await asyncio.sleep(0.005)
        else:
            return web.Response(status=204)
        count = int(request.query.get("batch_size", 1))
        taken = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        for job in taken:
            job.taken_at = time.monotonic()
        held = sum(job.status == "IN_PROGRESS" for job in self.jobs.values())
        self.most_held = max(self.most_held, held)
        told = [{"id": job.id, "input": job.input} for job in taken]
        text = json.dumps(told if batch else told[0])
        return web.Response(text=text, content_type="application/json")

    async def _stop(self, request: web.Request) -> web.Response:
        for _ in range(2000):
            if self._stops:
                stops, self._stops = self._stops, []
                return web.json_response({"jobsToStop": stops})
            await asyncio.sleep(0.005)
        return web.Response(status=204)

    async def _body(self, request: web.Request, kind: str) -> Any:
        """The worker's JSON; a fault that was ordered answers instead."""
        text = await request.text()
        await asyncio.sleep(self.post_delay)
        if self.faults[kind]:
            raise _status(self.faults[kind].pop(0))
        try:
            return strict(text)
        except ValueError as error:
            self.wrong.append(f"{error}: {text[:200]}")
            raise _status(400) from None

    async def _streamed(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        chunk = await self._body(request, "job-stream")
        job.first_at = job.first_at or time.monotonic()
        job.chunks.append(chunk)
        return web.Response()

    async def _done(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        job.finish(await self._body(request, "job-done"))
        return web.Response()

    async def _ping(self, request: web.Request) -> web.Response:
        self.pings.append(dict(request.query))
        return web.Response()

    # The client's side

    async def _run(self, request: web.Request) -> web.Response:
        job = self.submit((await request.json())["input"])
        return web.json_response({"id": job.id, "status": "IN_QUEUE"})

    async def _runsync(self, request: web.Request) -> web.Response:
        job = self.submit((await request.json())["input"])
        await _until_done(job)
        return web.json_response({"id": job.id, "status": job.status, **(job.done or {})})

    async def _status(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        return web.json_response({"id": job.id, "status": job.status, **(job.done or {})})

    async def _stream(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        fresh = job.chunks[job.read :]
        job.read += len(fresh)
        return web.json_response({"status": job.status, "stream": fresh})

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        self.cancel(job)
        return web.json_response({"id": job.id, "status": "CANCELLED"})

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        """As the platform hands OpenAI's calls on: a job in, its raw text or its object out."""
        given: dict[str, Any] = {"openai_route": request.match_info["route"]}
        if request.method == "POST":
            given["openai_input"] = await request.json()
        job = self.submit(given)
        if not given.get("openai_input", {}).get("stream"):
            await _until_done(job)
            if job.status == "FAILED":
                return web.json_response({"error": job.error()}, status=400)
            return web.json_response(job.result()[0])
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        sent = 0
        while job.done is None or sent < len(job.chunks):
            for chunk in job.chunks[sent:]:
                await answer.write(chunk["output"].encode())
                sent += 1
            await asyncio.sleep(0.005)
        return answer


async def _until_done(job: Job) -> None:
    while job.done is None:  # noqa: ASYNC110 - the worker's post sets it
        await asyncio.sleep(0.005)


def _status(status: int) -> web.HTTPException:
    if status == 413:
        return web.HTTPRequestEntityTooLarge(1, 1)
    return web.HTTPBadRequest() if status == 400 else web.HTTPInternalServerError()
