"""What an outage of a neighbour costs, and what large chats leave behind in memory."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from benchmarks.hostile_cases import Job, Size, said, told, turn
from benchmarks.speed_child import rss
from benchmarks.speed_cold import ROOT, JobHandler, Quiet, environment, worker_environment
from benchmarks.standing import server
from embedding.embedder import Embedder
from graph import services
from graph.pipeline import Pipeline
from graph.settings import Settings

AT_ONCE = 40
"""Turns beside each other; every other one has a memory."""

JOBS = 5
"""Jobs whose results fall into the outage."""

PATIENCE = 45.0
"""Seconds after which a turn or a result counts as lost."""


def chroma(limit: float) -> dict[str, float]:
    """Seconds of turns without memory beside turns with one, whose server works, or accepts and
    hangs.

    Args:
        limit: seconds for a turn with the server that hangs.
    """
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        with server(Path(place) / "chroma") as url:
            well = _apart(_beside, f"{place}/well", url, PATIENCE)
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as mute:  # never reads
            url = f"http://127.0.0.1:{mute.getsockname()[1]}"
            ill = _apart(_beside, f"{place}/ill", url, max(limit, PATIENCE))
    for name, times in (("works", well), ("hangs", ill)):
        found[f"{name}_s_p50"] = round(statistics.median(times), 3)
        found[f"{name}_s_max"] = round(max(times), 3)
    return found


def _beside(index: str, url: str, limit: float) -> list[float]:
    """Seconds of the turns without memory; `limit` for what was not done by then."""

    async def turns() -> list[float]:
        settings = Settings(index_dir=Path(index), chroma_url=url, standing_memory=True)
        pipeline = Pipeline(services.make_services(settings))
        await pipeline.chat(turn("Is anybody there?"))
        times: list[float] = []

        async def answer(row: int) -> None:
            ids: Job = {"user_id": "u", "session_id": f"s{row}"} if row % 2 else {}
            started = time.perf_counter()
            try:
                async with asyncio.timeout(limit):
                    await pipeline.chat(turn(f"Who came in {row}?", history=said(["Yes."]), **ids))
            finally:
                if not ids:
                    times.append(time.perf_counter() - started)

        for _ in range(2):  # the second round meets what the first one left
            rows = [asyncio.create_task(answer(row)) for row in range(AT_ONCE)]
            await asyncio.wait([row for at, row in enumerate(rows) if at % 2 == 0])
        return times

    # Not `asyncio.run`, which would wait for threads that hang.
    return asyncio.new_event_loop().run_until_complete(turns())


def _apart(work: Any, *given: Any) -> Any:
    """What a function gives in a process of its own, which is ended then."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, given)


class _Handler(JobHandler):
    platform: Platform

    def do_GET(self) -> None:
        jobs: list[dict[str, Any]] = []
        if "job-take" in self.path and not self.platform.down:
            self.platform.asked.set()
            for _ in range(20):
                if self.platform.waiting:
                    break
                time.sleep(0.02)
            jobs, self.platform.waiting = self.platform.waiting, []
        elif "job" in self.path:
            time.sleep(0.2)
        self.send(json.dumps(jobs) if jobs else "")
        if jobs:
            self.platform.down = True
            self.platform.taken.set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "job-done" in self.path and not self.platform.down and b"response" in body:
            self.platform.done[self.path.split("?")[0].rsplit("/", 1)[1]] += 1
        self.send("")

    def send(self, text: str) -> None:
        """The answer; in an outage it hangs up."""
        if self.platform.down:
            self.close_connection = True
        else:
            super().send(text)


class Platform:
    """Runpod's side on loopback: some jobs, then an outage in which every call is hung up on."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []
        self.taken = threading.Event()
        self.asked = threading.Event()
        self.down = False
        self.done: Counter[str] = Counter()
        """How often the result of each job arrived."""
        handler = type("Handler", (_Handler,), {"platform": self})
        self.server = Quiet(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @contextmanager
    def worker(self, index: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A worker as the platform starts it, once it asks for jobs."""
        self.asked.clear()
        process = subprocess.Popen(
            [sys.executable, "-m", "handler"],
            cwd=ROOT,
            env=environment(index, **worker_environment(self.server.server_port)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not self.asked.wait(PATIENCE):
                raise RuntimeError("the worker did not ask for a job")
            yield process
        finally:
            process.kill()
            process.wait()

    def arrived(self, seconds: float) -> int:
        """Results of different jobs, as soon as there are all, or after so many seconds."""
        ends = time.monotonic() + seconds
        while len(self.done) < JOBS and time.monotonic() < ends:
            time.sleep(0.1)
        time.sleep(1)  # for one that comes twice
        return len(self.done)


def outage(seconds: float) -> dict[str, float]:
    """Results that were lost or came twice, where the server is away for so long just when they
    are ready: of a worker that waits, and of one that is stopped meanwhile and started again."""
    found: dict[str, float] = {"jobs": JOBS, "seconds": seconds}
    for restarts in (False, True):
        name = "with a restart" if restarts else "waiting"
        platform = Platform()
        with tempfile.TemporaryDirectory() as place:
            index = Path(place)
            with platform.worker(index) as process:
                platform.waiting = [
                    {"id": f"job-{row}", "input": turn(f"Who came in {row}?")}
                    for row in range(JOBS)
                ]
                platform.taken.wait(PATIENCE)
                time.sleep(seconds / 2)
                if restarts:
                    process.terminate()
                    process.wait(PATIENCE + seconds)
                else:
                    time.sleep(seconds / 2)
                    platform.down = False
                    platform.arrived(PATIENCE)
            if restarts:
                platform.down = False
                with platform.worker(index):
                    platform.arrived(PATIENCE)
        platform.server.shutdown()
        platform.server.server_close()
        found[f"lost, {name}"] = JOBS - len(platform.done)
        found[f"twice, {name}"] = sum(count > 1 for count in platform.done.values())
    return found


class Hashed(Embeddings):
    """Vectors out of hashes: as large as the model's, and there at once."""

    fingerprint, dimension = "hashed", 384

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A row for each text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """A vector of unit length."""
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
        vector = np.random.default_rng(seed).standard_normal(self.dimension, dtype=np.float32)
        found: list[float] = (vector / np.linalg.norm(vector)).tolist()
        return found


def resident(chats: int, share: float) -> dict[str, float]:
    """Megabytes of a worker after turns of so many stories, sessions and remembered chats."""
    with tempfile.TemporaryDirectory() as index:
        found: dict[str, float] = _apart(_keep, index, chats, share)
    return found


def _keep(index: str, chats: int, share: float) -> dict[str, float]:
    backend: Any = services
    backend.minilm = lambda: Embedder(Hashed())  # the work of the model leaves nothing behind
    size = Size.share(share)

    async def turns() -> dict[str, float]:
        live = services.make_services(Settings(index_dir=Path(index), standing_memory=True))
        pipeline = Pipeline(live)
        await pipeline.chat(turn())
        found = {"at_rest_mb": rss()}

        def texts(seed: int, count: int) -> list[str]:
            words = f"The {seed:x} rider of the {seed % 97} towers came in the night, and "
            each = max(1, size.total // (count + 1) - len(words) - 8)
            return [
                (f"{words}{row} " + "on and on " * (each // 10 + 1))[:each] for row in range(count)
            ]

        for seed in range(chats):
            await pipeline.chat(turn(story=told(texts(seed, size.events))))
            await pipeline.drain()
            print("s", end="", file=sys.stderr, flush=True)
        found["after_stories_mb"] = _resting()
        for seed in range(chats):
            await pipeline.chat(turn(history=said(texts(-seed, size.lines)), session_id=f"s{seed}"))
            await pipeline.drain()
            print("h", end="", file=sys.stderr, flush=True)
        found["after_sessions_mb"] = _resting()
        for seed in range(chats):
            ids: Job = {"user_id": "u", "session_id": f"chat {seed}"}
            await pipeline.chat(turn(history=said(["The lamp is lit."] * 20), **ids))
            await pipeline.drain()
        found["after_memories_mb"] = _resting()
        found["open_files"] = len(os.listdir("/proc/self/fd"))
        return found

    return asyncio.run(turns())


def _resting() -> float:
    gc.collect()
    return rss()
