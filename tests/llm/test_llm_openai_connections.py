"""Connections: shared, limited, closed at once, bound to no event loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.language_models.llms import BaseLLM

from llm.openai_server import OpenAIServerLLM
from nodes.generate import generate_text
from schemas.state import Generation
from tests.llm.asking import reply
from tests.llm.fake_openai_server import FakeServer, mute, say
from tests.support import free_port

Make = Callable[..., OpenAIServerLLM]

USAGE = {
    "prompt_tokens": 900,
    "completion_tokens": 3,
    "total_tokens": 903,
    "prompt_tokens_details": {"cached_tokens": 880},
}


async def test_one_connection_serves_one_reply_after_the_other(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(say("ok", usage=USAGE))
    llm = llm_of()
    other = llm.model_copy(update={"model": "other"})
    for one in (llm, other, llm):
        await reply(one)
    assert server.connections == 1
    assert [request["model"] for request in server.requests] == ["m", "other", "m"]


async def test_cancelling_closes_the_stream_at_once(server: FakeServer, llm_of: Make) -> None:
    server.will(say(*["a"] * 1000, pause=0.02))
    heard = asyncio.Event()

    async def read() -> None:
        async for _ in llm_of().astream("x"):
            heard.set()

    task = asyncio.create_task(read())
    await heard.wait()
    assert server.open_streams == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await server.all_closed(within=0.1)


async def test_cancelling_before_the_first_token_closes_too(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(mute)
    task = asyncio.create_task(llm_of().ainvoke("x"))
    await server.busy.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await server.all_closed(within=0.1)


async def test_leaving_closes_the_stream(server: FakeServer, llm_of: Make) -> None:
    server.will(say(*["a"] * 1000, pause=0.02))
    async with aclosing(llm_of().astream("x")) as pieces:  # type: ignore[type-var]
        async for _ in pieces:
            break
    assert await server.all_closed(within=0.1)


async def test_no_more_than_max_concurrency_at_once(server: FakeServer, llm_of: Make) -> None:
    server.will(say("a", "b", pause=0.02))
    llm = llm_of(max_concurrency=3)
    other = llm.model_copy(update={"model": "other"})
    await asyncio.gather(*(reply(one) for one in [llm, other] * 6))
    assert (len(server.requests), server.most_streams) == (12, 3)


async def test_who_waits_for_a_place_in_vain_leaves_it_to_others(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(say(*["a"] * 1000, pause=0.02))
    llm = llm_of(max_concurrency=1)
    first, second = await asyncio.gather(generated(llm, 0.6), generated(llm, 0.2))
    assert (len(first.text) > 3, second.text, len(server.requests)) == (True, "", 1)
    assert "in time" in str(first.error) and "in time" in str(second.error)
    server.will(say("ok"))
    assert (await reply(llm))[0] == ["ok"]  # both places were given back


async def test_the_deadline_covers_the_whole_reply(server: FakeServer, llm_of: Make) -> None:
    server.will(say(*["a"] * 1000, pause=0.02))
    generation = await generated(llm_of(), 0.5)
    assert 3 < len(generation.text) < 30
    assert (generation.retryable, generation.finish_reason) == (True, "error")
    assert await server.all_closed()


@pytest.mark.parametrize("way", ["enough", "a stop string"])
async def test_a_stream_is_closed_by_the_time_its_reader_goes_on(
    server: FakeServer, llm_of: Make, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Though something still holds it, such as a traceback, so that nobody collects it."""
    server.will(say("a", *["b"] * 1000, pause=0.02))
    llm = llm_of()
    held: list[Any] = []
    for name, kind in (("astream", BaseLLM), ("_write", OpenAIServerLLM)):
        monkeypatch.setattr(kind, name, holding(getattr(kind, name), held))
    stop, hear = ([], lambda piece: False) if way == "enough" else (["bb"], lambda piece: True)
    generation = await generate_text(llm, "x", stop=stop, sampling={}, hear=hear)
    assert (generation.text, generation.error) == ("a", None)
    assert len(held) == 2
    assert await server.all_closed(within=0.2)


def holding(stream: Callable[..., Any], held: list[Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        held.append(stream(*given, **named))
        return held[-1]

    return call


async def generated(llm: OpenAIServerLLM, seconds: float) -> Generation:
    return await generate_text(llm, "x", stop=[], sampling={}, hear=lambda _: True, seconds=seconds)


def two_loops(port: int) -> list[str]:
    llm = OpenAIServerLLM(base_url=f"http://127.0.0.1:{port}/v1", model="m")

    async def turn() -> str:
        server = FakeServer()
        await server.start(port)
        try:
            return await llm.ainvoke("x")
        finally:
            await server.stop()

    return [asyncio.run(turn()), asyncio.run(turn())]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nobody closes the first connection
def test_one_llm_in_two_event_loops() -> None:
    assert two_loops(free_port()) == ["hello", "hello"]
    gc.collect()


async def test_it_works_again_after_it_was_closed(server: FakeServer, llm_of: Make) -> None:
    llm = llm_of()
    await reply(llm)
    await llm.aclose()
    assert (await reply(llm))[0] == ["hello"]


def test_secrets_stay_out_of_what_callbacks_see() -> None:
    llm = OpenAIServerLLM(base_url="http://10.0.0.7:8000/v1", model="m", api_key="k-1")
    seen = repr(llm) + str(llm) + str(llm._serialized) + str(llm.asdict())
    assert "10.0.0.7" not in seen
    assert "k-1" not in seen
