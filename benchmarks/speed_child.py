"""One build in a process of its own, asked by `benchmarks.speed` for measurements.

    python -m benchmarks.speed_child iyagi|peer|peer_torch [MODEL]

A line of JSON on its input is a task, a line on its output the answer: `{"ready": ...}` first, then

    {"do": "turns", "messages": 1000, "turns": 5, "known": true}
        -> {"wall_ms": [...], "cpu_ms": [...], "parts_ms": [{...}]}
    {"do": "together", "messages": 200, "at_once": 64, "turns": 2, "model_s": 0, "pause_s": 0}
        -> {"wall_s": ..., "turns": ..., "cpu_s": ..., "overhead_ms": [...]}
    {"do": "many", "chats": 1000, "turns": 10000, "messages": 20} -> {"rss_mb": [...]}
    {"do": "rss"} -> {"rss_mb": ...}
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

MOCK = Path(__file__).resolve().parent.parent / "data" / "mock" / "sample_request.json"
REQUEST = json.loads(MOCK.read_text(encoding="utf-8"))
PIECES = 20
"""Pieces of every reply, its number included, so that the model's time is known."""
REPLY = " ".join(["*She"] + ["nods"] * (PIECES - 4) + ["again.*", "Yes."])


def reply_to(request: dict[str, Any]) -> str:
    """What the model says in this turn of this chat, and in no other; the next turn's history has
    it as it was."""
    return f"{REPLY} ({request['session_id']}:{len(request['history'])})"


BEGINS = datetime(2025, 1, 1, tzinfo=UTC)
"""Of every chat; forty messages a day, so that it has scenes."""


class Build(Protocol):
    """What is measured."""

    async def turn(self, request: dict[str, Any]) -> dict[str, float]:
        """Answers; milliseconds of its parts."""

    async def settle(self) -> None:
        """Waits for what is done after a reply."""

    def model_takes(self, seconds: float) -> None:
        """How long the model writes from now on."""


class Iyagi:
    """This project, with the scripted model."""

    def __init__(self) -> None:
        from graph.app import pipeline

        gc.freeze()  # as a worker does: 70 ms of looking through imports for garbage
        self._pipeline = pipeline
        self._llm = pipeline.services.models.offered[0].llm

    async def turn(self, request: dict[str, Any]) -> dict[str, float]:
        """The milliseconds of each node, and of the whole."""
        self._llm.replies.append(reply_to(request))  # type: ignore[attr-defined]
        response = await self._pipeline.chat(request)
        if response["error"]:
            raise RuntimeError(response["error"])
        return {**response["timing"]["nodes"], "total": response["timing"]["total"]}

    async def settle(self) -> None:
        """Embeds what is new."""
        await self._pipeline.drain()

    def model_takes(self, seconds: float) -> None:
        """By a pause before each piece."""
        self._llm.delay = seconds / PIECES  # type: ignore[attr-defined]


class Usual:
    """The peer."""

    def __init__(self, model: str | None) -> None:
        from benchmarks.peer_langchain import Peer, sentence_transformers
        from llm.scripted import ScriptedLLM

        self._llm = ScriptedLLM()
        self._peer = Peer(sentence_transformers(model) if model else None, self._llm)

    async def turn(self, request: dict[str, Any]) -> dict[str, float]:
        """The milliseconds that embedding took."""
        self._llm.replies.append(reply_to(request))
        before = self._peer.embeddings.seconds
        await self._peer.turn(request)
        return {"embedding": 1000 * (self._peer.embeddings.seconds - before)}

    async def settle(self) -> None:
        """Nothing is left to be done."""

    def model_takes(self, seconds: float) -> None:
        """By a pause before each piece; LangChain's `ainvoke` runs it without pieces."""
        self._llm.delay = seconds / PIECES


def chat(messages: int, seed: str) -> dict[str, Any]:
    """A request whose history is the mock chat's words, mixed anew by the seed: texts of one seed
    are in no other, and as long as those of a real chat."""
    draw = random.Random(seed)
    texts = [line["content"].split() for line in REQUEST["history"]]
    history = []
    for row in range(messages):
        first, second = draw.choice(texts), draw.choice(texts)
        at, to = draw.random(), draw.random()
        words = first[: int(at * len(first))] + second[int(to * len(second)) :]
        time_of_day = timedelta(days=row // 40, minutes=3 * (row % 40))
        history.append(
            {
                "id": f"{seed}-{row}",
                "role": ("user", "character")[row % 2],
                "content": " ".join(words) + f" ({draw.randrange(10**9)})",
                "timestamp": (BEGINS + time_of_day).isoformat(),
            }
        )
    ask = " ".join(draw.choice(texts)[:12])
    return {**REQUEST, "message": f"{ask}?", "history": history, "session_id": seed, "meta": {}}


def next_turn(request: dict[str, Any], number: int) -> dict[str, Any]:
    """The same chat after the message and a reply, with a new message."""
    draw = random.Random(number)
    words = draw.choice(REQUEST["history"])["content"].split()[:12]
    said = [
        {"role": "user", "content": request["message"]},
        {"role": "character", "content": reply_to(request)},
    ]
    return {
        **request,
        "message": " ".join(words) + f" {number}?",
        "history": [*request["history"], *said],
    }


class Child:
    """Does the tasks."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._chats: dict[int, dict[str, Any]] = {}
        self._beside: list[dict[str, Any]] = []  # known chats for `together`
        self._seed = 0

    async def do(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer to one task."""
        tasks: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "turns": self.turns,
            "together": self.together,
            "many": self.many,
            "rss": self.rss,
        }
        return await tasks[task.pop("do")](**task)

    def _fresh(self, messages: int) -> dict[str, Any]:
        self._seed += 1
        return chat(messages, f"{messages}-{self._seed}")

    async def turns(self, messages: int, turns: int, known: bool) -> dict[str, Any]:
        """Turns one after another: of one chat that goes on, or each of a chat never seen."""
        if known and messages not in self._chats:
            self._chats[messages] = self._fresh(messages)
            await self._build.turn(self._chats[messages])
            await self._build.settle()
        wall, cpu, parts = [], [], []
        for _ in range(turns):
            if known:
                self._seed += 1
                self._chats[messages] = next_turn(self._chats[messages], self._seed)
            request = self._chats[messages] if known else self._fresh(messages)
            started, used = time.perf_counter(), time.process_time()
            parts.append(await self._build.turn(request))
            cpu.append(1000 * (time.process_time() - used))
            wall.append(1000 * (time.perf_counter() - started))
            await self._build.settle()
        return {"wall_ms": wall, "cpu_ms": cpu, "parts_ms": parts}

    async def together(
        self, messages: int, at_once: int, turns: int, model_s: float, pause_s: float = 0.0
    ) -> dict[str, Any]:
        """So many chats at once, each turn by turn. Where the users pause before they write on,
        they do not begin all together either."""
        while len(self._beside) < at_once:
            self._beside.append(self._fresh(messages))
            await self._build.turn(self._beside[-1])
            await self._build.settle()
        chats = self._beside[:at_once]
        self._build.model_takes(model_s)
        overhead: list[float] = []

        self._seed += 1
        first = 1000 * self._seed  # messages that no earlier call has sent

        async def go_on(request: dict[str, Any], wait: float) -> None:
            await asyncio.sleep(wait)
            for number in range(first, first + turns):
                request = next_turn(request, number)
                took = await self._build.turn(request)
                overhead.append(took.get("total", 0) - took.get("generate", 0))
                await asyncio.sleep(pause_s)

        waits = [pause_s and (model_s + pause_s) * row / at_once for row in range(at_once)]
        started, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*map(go_on, chats, waits))
        wall, cpu = time.perf_counter() - started, time.process_time() - used
        await self._build.settle()
        self._build.model_takes(0)
        return {
            "wall_s": wall,
            "cpu_s": cpu,
            "turns": turns * at_once,
            "overhead_ms": overhead,
        }

    async def many(self, messages: int, chats: int, turns: int) -> dict[str, Any]:
        """Resident memory at moments of many turns, by turns over all the chats, up to
        eight at once."""
        kept = [self._fresh(messages) for _ in range(chats)]
        sizes = [rss()]
        for start in range(0, turns, width := min(8, chats)):
            numbers = range(start, min(start + width, turns))
            await asyncio.gather(*(self._build.turn(kept[number % chats]) for number in numbers))
            await self._build.settle()
            for number in numbers:
                kept[number % chats] = next_turn(kept[number % chats], number)
            if numbers.stop * 10 // turns > start * 10 // turns:
                sizes.append(rss())
        return {"rss_mb": sizes}

    async def rss(self) -> dict[str, Any]:
        """Resident memory now."""
        return {"rss_mb": rss()}


def rss() -> float:
    """Resident megabytes (10^6 bytes) of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def main(name: str, model: str | None = None) -> None:
    """Answers tasks until its input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    async def work() -> None:
        child = Child(Iyagi() if name == "iyagi" else Usual(model))
        print(json.dumps({"ready": name}), file=answers, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await child.do(json.loads(line))), file=answers, flush=True)

    asyncio.run(work())


if __name__ == "__main__":
    main(*sys.argv[1:])
