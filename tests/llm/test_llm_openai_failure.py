"""Servers that fail: what is tried again, what is kept, what is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from llm.openai_server import OpenAIServerLLM
from tests.llm.asking import failing, reply
from tests.llm.fake_openai_server import Behaviour, FakeServer, Peer, die, mute, refuse, say
from tests.support import free_port

Make = Callable[..., OpenAIServerLLM]


async def test_busy_then_fine_after_retry_after(server: FakeServer, llm_of: Make) -> None:
    server.will(refuse(429, retry_after="0.2"), refuse(503), say("ok"))
    begun = time.perf_counter()
    assert (await reply(llm_of()))[0] == ["ok"]
    assert time.perf_counter() - begun >= 0.2
    assert len(server.requests) == 3


async def test_a_retry_after_of_many_minutes_is_not_waited_for(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(refuse(429, retry_after="600"))
    begun = time.perf_counter()
    error = (await failing(llm_of()))[1]
    assert (error.retryable, "429" in error.message) == (True, True)
    assert time.perf_counter() - begun < 1


async def test_attempts_take_no_longer_than_a_silence_may(server: FakeServer, llm_of: Make) -> None:
    server.will(refuse(429, retry_after="60"))
    error = (await failing(llm_of(idle_timeout=0.3)))[1]
    assert (error.retryable, "nothing for 0.3 s" in error.message) == (True, True)


async def died_after_headers(peer: Peer) -> None:
    await peer.head()
    await peer.hang_up()


async def failed_in_the_stream(peer: Peer) -> None:
    await peer.head()
    await peer.event(error={"message": "engine: The prompt: is at http://127.0.0.1", "code": 500})
    await peer.end()


async def gave_up(peer: Peer) -> None:
    await peer.head()
    await peer.text("", "abort")
    await peer.end()


async def closed_cleanly(peer: Peer) -> None:
    await peer.head()
    await peer.end(done=False)


NOT_BEGUN: list[Behaviour] = [refuse(500), die]
BROKEN_OFF: list[Behaviour] = [died_after_headers, failed_in_the_stream, gave_up, closed_cleanly]


@pytest.mark.parametrize("behaviour", NOT_BEGUN + BROKEN_OFF)
async def test_a_transient_failure_is_tried_again(
    server: FakeServer, llm_of: Make, behaviour: Any
) -> None:
    server.will(behaviour, say("ok"))
    assert (await reply(llm_of()))[0] == ["ok"]


@pytest.mark.parametrize(
    ("behaviour", "retries", "requests"),
    [
        *((behaviour, retries, 1 + retries) for behaviour in NOT_BEGUN for retries in (0, 2)),
        *(
            (behaviour, retries, 1 + (retries > 0))
            for behaviour in BROKEN_OFF
            for retries in (0, 2)
        ),
    ],
)
async def test_attempts_are_bounded(
    server: FakeServer, llm_of: Make, behaviour: Any, retries: int, requests: int
) -> None:
    server.will(behaviour)
    said, error = await failing(llm_of(max_retries=retries))
    assert (said, error.retryable, len(server.requests)) == ("", True, requests)
    assert await server.all_closed()


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (401, "bad key k-1", "key"),
        (404, "no such model", "model's name"),
        (400, "This model's maximum context length is 4096 tokens", "context length"),
        (422, "something", "sampling"),
        (418, "teapot", "HTTP 418"),
    ],
)
async def test_a_refusal_is_final_and_says_what_to_do(
    server: FakeServer, llm_of: Make, status: int, message: str, hint: str
) -> None:
    server.will(refuse(status, message))
    error = (await failing(llm_of(api_key="k-1")))[1]
    assert not error.retryable
    assert len(server.requests) == 1 + (status not in {401, 404})  # once more, bare
    assert hint in error.message
    assert "k-1" not in error.message


async def test_nobody_listens(llm_of: Make) -> None:
    error = (await failing(llm_of(base_url=f"http://127.0.0.1:{free_port()}/v1")))[1]
    assert error.retryable
    assert "check that it runs" in error.message


async def silent_stream(peer: Peer) -> None:
    await peer.head()
    while True:
        await peer.text("")
        await peer.send(b": keep-alive\n\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("behaviour", [mute, silent_stream])
async def test_a_slow_first_token_ends_the_wait_once(
    server: FakeServer, llm_of: Make, behaviour: Any
) -> None:
    server.will(behaviour)
    said, error = await failing(llm_of(idle_timeout=0.2))
    assert (said, error.retryable, len(server.requests)) == ("", True, 1)
    assert "nothing for 0.2 s" in error.message
    assert await server.all_closed()


# After the first token: what was said stays, and is the end


async def broke_off(peer: Peer) -> None:
    await peer.head()
    await peer.text("반쯤 ")
    await peer.text("\n")
    await peer.hang_up()


async def fell_silent(peer: Peer) -> None:
    await peer.head()
    await peer.text("반쯤 ")
    await peer.text("\n")
    await asyncio.sleep(30)


async def sent_garbage(peer: Peer) -> None:
    await peer.head()
    await peer.text("반쯤 ")
    await peer.text("\n")
    await peer.send(b'data: {"choices": [\xff\n\n')


async def ended_early(peer: Peer) -> None:
    await peer.head()
    await peer.text("반쯤 ")
    await peer.text("\n")
    await peer.end()


@pytest.mark.parametrize("behaviour", [broke_off, fell_silent, sent_garbage, ended_early])
async def test_a_reply_that_breaks_off_keeps_its_text(
    server: FakeServer, llm_of: Make, behaviour: Any
) -> None:
    server.will(behaviour)
    said, _ = await failing(llm_of(idle_timeout=0.3), stop=["\n민준:"])
    assert said == "반쯤 \n"  # the start of a stop string included
    assert len(server.requests) == 1
    assert await server.all_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"<html>It works!</html>",
        b"data: {not json}\n\n",
        b"data: 42\n\ndata: null\n\ndata: []\n\ndata: {}\n\n",
        b'data: {"choices": "none"}\n\ndata: {"choices": [7]}\n\n',
        b'data: {"choices": [{"text": {"a": 1}, "finish_reason": 3}], "usage": []}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"\x00\xff\xfe\n\n",
        b"",
    ],
)
async def test_garbage_is_an_error(server: FakeServer, llm_of: Make, data: bytes) -> None:
    async def garbage(peer: Peer) -> None:
        await peer.head()
        if data:
            await peer.send(data)
        await peer.raw(b"0\r\n\r\n")

    server.will(garbage)
    assert (await failing(llm_of()))[0] == ""


@pytest.mark.parametrize("pieces", [[], [" \n"]])
async def test_an_empty_reply_is_no_failure(
    server: FakeServer, llm_of: Make, pieces: list[str]
) -> None:
    server.will(say(*pieces, usage={"prompt_tokens": 9, "completion_tokens": 1}))
    said, info = await reply(llm_of())
    assert (said, info["usage"]["total_tokens"]) == (pieces, 10)
    assert len(server.requests) == 1
