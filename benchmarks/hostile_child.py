"""A worker's process of its own, asked by `benchmarks.hostile` for measurements.

    python -m benchmarks.hostile_child SECONDS SHARE

A line of JSON on its input is a task, a line on its output the answer: `{"ready": ...}` first, then

    {"case": "runs/message of dot", "beside": false}
        -> {"name", "outcome", "cpu_s", "after_s", "wall_s", "blocked_ms", "waits_ms": {...},
            "places"}

The kernel ends the process when a task takes `SECONDS` of processor time: it writes the stacks of
its threads to its error output, and whoever asks reads the end of the answers and starts another.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.hostile_cases import KINDS, Case, Job, Size
from cards.read import read_any
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import ROOT, load_settings
from llm.scripted import ScriptedLLM
from llm.streaming import Ending
from schemas.errors import IyagiError
from schemas.models import Models
from worker.dispatch import Dispatcher
from worker.output import OutputCheck, failure

MOCK = ROOT / "data" / "mock" / "sample_request.json"

PIECE = 4
"""Characters of a token."""

CONTEXT = 131_072
"""Tokens: what is much longer than a short context is refused early."""

QUIET = "quiet"
"""The model of harmless turns, which says nothing of what a `Typist` is told."""

PACE = 0.02
"""Seconds from an answer to the next harmless request of its kind: one patient client of each kind.
More of them would measure how long they wait for each other."""

AFTER = 3.0
"""Seconds of processor time for what follows a reply, which no later turn waits for."""


class Typist(ScriptedLLM):
    """Writes what it is told token by token, and not word by word."""

    async def _write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> AsyncGenerator[str, None]:
        if not self.replies:
            async with aclosing(super()._write(prompt, stop, sampling, ending)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        text = self.replies.pop(0)
        for at in range(0, len(text), PIECE):
            await asyncio.sleep(0)  # as a server's pieces come: others run in between
            yield text[at : at + PIECE]


class Worker:
    """A worker's dispatchers, one for each format of prompts, whose model is a `Typist`.

    Args:
        index_dir: where vectors are kept; unset: as the environment has it.
    """

    def __init__(self, index_dir: Path | None = None) -> None:
        settings = load_settings()
        self._settings = settings.model_copy(update={"index_dir": index_dir or settings.index_dir})
        self._dispatchers: dict[str, Dispatcher] = {}
        mock = json.loads(MOCK.read_text(encoding="utf-8"))
        self.harmless = {**mock, "model": {"name": QUIET}}

    def dispatcher(self, form: str = "") -> Dispatcher:
        """The dispatcher of a format; empty: the model's own."""
        if form not in self._dispatchers:
            update = {"llm_format": form or None, "llm_context": CONTEXT}
            settings = self._settings.model_copy(update=update)
            services = make_services(settings)
            model = replace(services.models.offered[0], llm=Typist())
            models = Models((model, replace(model, name=QUIET, llm=ScriptedLLM())))
            pipeline = Pipeline(replace(services, models=models))
            self._dispatchers[form] = Dispatcher(
                pipeline, settings.characters_dir, settings.job_deadline
            )
        return self._dispatchers[form]

    async def warm_up(self) -> None:
        """All that is loaded once is loaded, for both scripts; the harmless chat is known."""
        await self.dispatcher().warm_up()
        await self.ask(
            {**self.harmless, "message": "안녕하세요, 오늘은 어디로 가요?", "history": []}
        )
        await self.ask(self.harmless)
        await self.dispatcher().pipeline.drain()

    async def answer(self, case: Case) -> str:
        """How the job or the import of a case ended, as `ask` says it."""
        if case.file:
            return await _outcome(asyncio.to_thread(read_any, case.file))
        model = self.dispatcher(case.format).pipeline.services.models.offered[0].llm
        assert isinstance(model, Typist)
        job = case.job
        if case.reply:
            model.replies[:] = [case.reply] * 2  # a second attempt has one, too
        if case.reply and "openai_route" not in job:
            job = {**job, "gen": {"max_new_tokens": 4_096, **job.get("gen", {})}}
        try:
            return await self.ask(job, case.format)
        finally:
            model.replies.clear()

    async def ask(self, job: Job, form: str = "") -> str:
        """How a job ended: `answered`, `refused: …`, or `fault: …` for what should not be."""
        return await _outcome(self._outputs(job, form))

    async def settle(self, form: str = "") -> float:
        """Waits for what follows a reply, at most for `AFTER`; its processor seconds."""
        used = time.process_time()
        draining = asyncio.ensure_future(self.dispatcher(form).pipeline.drain())
        while not draining.done() and time.process_time() - used < AFTER:
            await asyncio.wait({draining}, timeout=0.02)
        draining.cancel()  # and with it what it waits for
        with suppress(asyncio.CancelledError, IyagiError):
            await draining
        return time.process_time() - used

    async def _outputs(self, job: Job, form: str) -> None:
        check = OutputCheck()
        async with aclosing(self.dispatcher(form).answer({"input": job})) as outputs:
            async for output in outputs:
                if "Traceback (most" in json.dumps(check.checked(output), ensure_ascii=False):
                    raise RuntimeError("a traceback")


async def _outcome(work: Awaitable[object]) -> str:
    try:
        await work
    except IyagiError as error:
        told = failure(error)["message"]
        return f"refused: {told[:60]}" if "\n" not in told else "fault: several lines"
    except Exception as error:  # noqa: BLE001 - a fault of ours, which the report tells
        return f"fault: {type(error).__name__}"
    return "answered"


class Blocked:
    """The longest time for which the event loop did nothing else, in milliseconds."""

    def __init__(self) -> None:
        self.most = 0.0

    async def watch(self) -> None:
        """Looks every millisecond, until it is cancelled."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self.most = max(self.most, 1000 * (time.perf_counter() - before) - 1)


class Samples:
    """Which places of ours the threads were at, looked at every so many seconds."""

    EVERY = 0.005

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Samples:
        """Looks from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Looks no more."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(self.EVERY):
            for thread, frame in sys._current_frames().items():
                if thread != self._thread.ident and (place := _place(frame)):
                    self.places[place] += 1

    def worst(self, seconds: float) -> list[str]:
        """The places with most of so many seconds."""
        total = sum(self.places.values())
        return [
            f"{seconds * count / total:.2f} s {place}"
            for place, count in self.places.most_common(3)
            if count > total / 10
        ]


def _place(frame: FrameType | None) -> str:
    """The innermost place of the product; empty in a thread that waits for work."""
    while frame:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] not in _NOT_OURS:
            return f"{path.relative_to(ROOT)}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return ""


_NOT_OURS = ("benchmarks", "tests", ".venv")


class Child:
    """Does the tasks."""

    def __init__(self, seconds: float, size: Size) -> None:
        self._seconds, self._size = seconds, size
        self.worker = Worker()

    async def do(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer to one task."""
        name = task.pop("case")
        kind = name.partition("/")[0]
        case = next(it for it in KINDS[kind](self._size) if it.name == name)
        gc.collect()
        _let_run(self._seconds)
        return await self._measured(case, beside=task.get("beside", False))

    async def _measured(self, case: Case, *, beside: bool) -> dict[str, Any]:
        self.worker.dispatcher(case.format)  # made outside of the measurement
        blocked, waits = Blocked(), dict[str, list[float]]()
        watching = asyncio.create_task(blocked.watch())
        await asyncio.sleep(0.005)
        started, used = time.perf_counter(), time.process_time()
        with Samples() as samples:
            asked = asyncio.create_task(self.worker.answer(case))
            if beside:
                waits = await self._harmless_beside(asked)
            outcome = "not done"
            with suppress(TimeoutError):
                outcome = await asyncio.wait_for(asked, 10 * self._seconds)
        cpu, wall = time.process_time() - used, time.perf_counter() - started
        await asyncio.sleep(0.002)
        watching.cancel()
        _let_run(10 * AFTER)
        after = await self.worker.settle(case.format)
        return {
            "name": case.name,
            "outcome": outcome,
            "cpu_s": cpu,
            "after_s": after,
            "wall_s": wall,
            "blocked_ms": blocked.most,
            "waits_ms": waits,
            "places": samples.worst(cpu),
        }

    async def _harmless_beside(self, asked: asyncio.Task[str]) -> dict[str, list[float]]:
        """Milliseconds of harmless requests that come while a job is at work: at most for the
        seconds that a job has."""
        waits: dict[str, list[float]] = {"turn": [], "models": [], "health": []}
        jobs = {
            "turn": self.worker.harmless,
            "models": {"openai_route": "/v1/models"},
            "health": {"route": "/health"},
        }

        async def wait(name: str) -> None:
            due = time.perf_counter()
            await self.worker.ask(jobs[name])
            waits[name].append(1000 * (time.perf_counter() - due))

        ends = time.perf_counter() + self._seconds

        async def chat_on(name: str) -> None:
            while not asked.done() and time.perf_counter() < ends:
                await wait(name)
                await asyncio.sleep(PACE)

        await asyncio.gather(*map(chat_on, jobs))
        return waits


def _let_run(seconds: float) -> None:
    """Gives this process so many seconds of processor time from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 1, hard))


async def _work(seconds: float, share: float) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    child = Child(seconds, Size.share(share))
    await child.worker.warm_up()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await child.do(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    faulthandler.register(signal.SIGXCPU, chain=True)  # chained: and ends
    logging.disable(logging.CRITICAL)
    gc.freeze()  # as a worker does
    asyncio.run(_work(float(sys.argv[1]), float(sys.argv[2])))
