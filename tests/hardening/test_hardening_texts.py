"""A turn of any text takes little time, and keeps the event loop for a moment only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llm.scripted import ScriptedLLM
from tests.support import MakePipeline, ask

RUNS = ("\n", ". ", "<", "* ", "oh, Mira, ", "\u0301\u0323")
MOMENT, TURN = 0.05, 1.0
"""Seconds of processor time, of one callback of the event loop and of a turn."""
NOISE = 4
"""Times slower that a busy machine may be."""


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """For how long each callback keeps the event loop."""
    seconds = [0.0]
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        seconds.append(time.thread_time() - started)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    yield seconds


def of(run: str, size: int) -> str:
    return f"Hello, {run * (size // len(run))}."


def turns(run: str) -> dict[str, dict[str, Any]]:
    """Turns with a run in each place where a user's text stands."""
    lines = [{"role": role, "content": of(run, 90_000)} for role in ("user", "narrator")]
    card = {"description": of(run, 3_000), "first_message": of(run, 3_000)}
    event = {"id": "a", "order": 0, "text": of(run, 90_000), "trigger": of(run, 900)}
    later = {**event, "id": "b", "order": 1}
    return {
        "message": ask(of(run, 19_900)),
        "history": ask(history=lines),
        "card": {"message": "Hi.", "persona": {"name": "Mira", **card}},
        "story": ask(story=[event, later], story_position=0),
    }


@pytest.mark.parametrize("run", RUNS)
async def test_no_text_keeps_the_loop(
    run: str, make_pipeline: MakePipeline, kept: list[float]
) -> None:
    replies = ["Fine.", "Fine.", "Fine.", "Fine.", "Fine.", of(run, 20_000), "Fine."]
    pipeline = make_pipeline(ScriptedLLM(replies=replies), llm_context=65_536)
    await pipeline.chat(ask())
    for place, turn in {**turns(run), "reply": ask()}.items():
        kept[:] = [0.0]
        started = time.process_time()
        await pipeline.chat(turn)
        took = time.process_time() - started
        assert took < TURN * NOISE, f"{place}: {took:.2f} s"
        assert max(kept) < MOMENT * NOISE, f"{place}: {max(kept):.3f} s on the loop"
    await pipeline.drain()
