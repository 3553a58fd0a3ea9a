"""Tokens gathered for the network, the deadline, and leaving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from schemas.errors import BadRequest, DeadlineExceeded
from worker.events import INTERVAL, SIZE, paced


class Source:
    """Events with pauses between them; remembers whether it was closed."""

    def __init__(self, *parts: dict[str, Any] | float | Exception) -> None:
        self.parts = parts
        self.closed = False

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        try:
            for part in self.parts:
                if isinstance(part, Exception):
                    raise part
                if isinstance(part, dict):
                    yield part
                else:
                    await asyncio.sleep(part)
        finally:
            self.closed = True


def token(text: str) -> dict[str, Any]:
    return {"type": "token", "text": text}


STATUS, FINAL = {"type": "status", "step": "embed"}, {"type": "final", "response": {}}
SEGMENT = {"type": "segment", "content": {}}


async def collect(source: Source, *, slow: float = 0.0, deadline: float = 5.0) -> list[Any]:
    heard = []
    async with aclosing(paced(source.events(), deadline)) as events:
        async for event in events:
            heard.append(event)
            await asyncio.sleep(slow)
    return heard


async def test_nothing_is_lost_and_the_order_is_kept() -> None:
    parts = [STATUS, token("a"), token("b"), SEGMENT, token("c"), SEGMENT, FINAL]
    heard = await collect(Source(*parts))
    assert [event["type"] for event in heard] == ["token", "segment", "token", "segment", "final"]
    assert "".join(event.get("text", "") for event in heard) == "abc"


async def test_the_first_token_waits_for_nobody() -> None:
    async with aclosing(paced(Source(STATUS, 0.01, token("a"), 3.0).events(), 5)) as events:
        async with asyncio.timeout(INTERVAL):
            assert [await anext(events), await anext(events)] == [STATUS, token("a")]


async def test_tokens_are_gathered_by_time_and_by_size() -> None:
    quick = Source(token("a"), 0.01, *[token("b")] * 50, INTERVAL * 2, token("c"), FINAL)
    texts = [event["text"] for event in await collect(quick) if event["type"] == "token"]
    assert texts == ["a", "b" * 50, "c"]
    large = Source(token("a"), 0.005, token("x" * SIZE), 3.0)
    async with aclosing(paced(large.events(), 5)) as events, asyncio.timeout(INTERVAL * 0.9):
        await anext(events)
        assert len((await anext(events))["text"]) == SIZE


async def test_a_slow_reader_gets_more_at_a_time() -> None:
    source = Source(*[part for n in range(20) for part in (token(str(n)), 0.01)], FINAL)
    heard = await collect(source, slow=0.2)
    assert len(heard) <= 5, "20 tokens in 0.2 s, read five times a second"


async def test_a_failure_comes_after_what_was_said() -> None:
    heard = []
    with pytest.raises(BadRequest):
        async for event in paced(Source(token("a"), BadRequest("no")).events(), 5):
            heard.append(event)
    assert heard == [token("a")]


async def test_the_deadline_ends_the_source() -> None:
    source = Source(token("a"), 9.0)
    with pytest.raises(DeadlineExceeded, match=r"after 0\.1 s"):
        await collect(source, deadline=0.1)
    assert source.closed
    with pytest.raises(TimeoutError):  # the source's own, and no word of our deadline
        await collect(Source(TimeoutError()))


async def test_leaving_closes_the_source() -> None:
    source = Source(token("a"), 9.0)
    async with asyncio.timeout(3), aclosing(paced(source.events(), 10)) as events:
        await anext(events)
    assert source.closed


async def test_a_cancelled_reader_closes_the_source_though_it_never_closes_the_events() -> None:
    source = Source(token("a"), 9.0)
    kept = paced(source.events(), 10)  # a reference, so that no garbage collector helps

    async def read() -> None:
        async for _ in kept:
            await asyncio.sleep(9)  # as the SDK, sending

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    reader.cancel()
    await asyncio.sleep(0.05)
    assert source.closed
    await kept.aclose()
