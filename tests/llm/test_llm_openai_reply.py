"""What an OpenAI-compatible server is asked, and how its reply is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llm.openai_server import OpenAIServerLLM
from tests.llm.asking import reply
from tests.llm.fake_openai_server import FakeServer, Peer, say

Make = Callable[..., OpenAIServerLLM]

BASE = {"model", "prompt", "stream", "stream_options", "max_tokens"}

USAGE = {
    "prompt_tokens": 900,
    "completion_tokens": 3,
    "total_tokens": 903,
    "prompt_tokens_details": {"cached_tokens": 880},
}


async def test_a_reply_streams_and_tells_how_it_ended(server: FakeServer, llm_of: Make) -> None:
    server.will(say("Hello", ", ", "세라", usage=USAGE))
    assert await reply(llm_of()) == (
        ["Hello", ", ", "세라"],
        {
            "finish_reason": "stop",
            "usage": {
                "prompt_tokens": 900,
                "completion_tokens": 3,
                "total_tokens": 903,
                "cached_tokens": 880,
            },
        },
    )


async def test_the_request_leaves_nothing_to_the_server(server: FakeServer, llm_of: Make) -> None:
    """Which would take what the model's files recommend for what is unset, or its own values."""
    llm = llm_of(api_key="k-1")
    await reply(llm)
    assert server.requests[0] == {
        "model": "m",
        "prompt": "The prompt:",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 300,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "repeat_penalty": 1.0,
    }
    assert server.headers[0]["authorization"] == "Bearer k-1"
    await reply(
        llm,
        stop=["\nMin:"],
        max_new_tokens=64,
        temperature=0.0,
        top_p=0.9,
        top_k=0,
        min_p=0.05,
        repetition_penalty=1.05,
        seed=7,
        dry_multiplier=0.8,
    )
    assert {k: v for k, v in server.requests[1].items() if k not in BASE} == {
        "stop": ["\nMin:"],
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.05,
        "repetition_penalty": 1.05,
        "repeat_penalty": 1.05,
        "seed": 7,
        "dry_multiplier": 0.8,
    }
    assert server.requests[1]["max_tokens"] == 64


async def test_length_is_told_apart(server: FakeServer, llm_of: Make) -> None:
    server.will(say("cut of", finish="length"))
    assert (await reply(llm_of()))[1] == {"finish_reason": "length"}


async def test_ainvoke_gives_the_whole_reply(server: FakeServer, llm_of: Make) -> None:
    server.will(say("one ", "two", usage=USAGE))
    assert await llm_of().ainvoke("x") == "one two"


async def test_characters_split_over_packets_stay_whole(server: FakeServer, llm_of: Make) -> None:
    async def in_bytes(peer: Peer) -> None:
        await peer.head()
        event = 'data: {"choices":[{"text":"안녕 😀"}]}\n\n'.encode()
        for byte in event:
            await peer.send(bytes([byte]))
        await peer.text("\ud83d")
        await peer.text("\ude00!")
        await peer.text("", "stop")
        await peer.end()

    server.will(in_bytes)
    assert "".join((await reply(llm_of()))[0]) == "안녕 😀😀!"


async def test_a_stop_string_that_the_server_lets_through_ends_the_reply(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(say("그래.", "\n민", "준: 뭐", *["?"] * 1000, pause=0.002))
    pieces, info = await reply(llm_of(), stop=["\n민준:"])
    assert ("".join(pieces), info) == ("그래.", {"finish_reason": "stop"})
    assert await server.all_closed()


async def test_the_start_of_a_stop_string_at_the_end_is_not_lost(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(say("bye\n"))
    assert "".join((await reply(llm_of(), stop=["\nMin:"]))[0]) == "bye\n"


async def test_a_choice_is_sent_in_the_words_of_the_servers(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(say("세라"))
    await reply(llm_of(), choice=["세라", 'The "Old" One'])
    asked = server.requests[0]
    assert asked["structured_outputs"] == {"choice": ["세라", 'The "Old" One']}
    assert asked["grammar"] == r'root ::= "세라" | "The \"Old\" One"'
    assert "choice" not in asked


async def test_llama_cpp_tells_cached_tokens_among_its_timings(
    server: FakeServer, llm_of: Make
) -> None:
    async def llama_cpp(peer: Peer) -> None:
        await peer.head()
        await peer.text("ok", "stop")
        usage = {"prompt_tokens": 40, "completion_tokens": 1, "total_tokens": 41}
        await peer.event(choices=[], usage=usage, timings={"cache_n": 32, "prompt_n": 8})
        await peer.end()

    server.will(llama_cpp)
    _, info = await reply(llm_of())
    assert info["usage"]["cached_tokens"] == 32


@pytest.mark.parametrize(
    "usage", [None, {"prompt_tokens": "many"}, {"prompt_tokens": -1, "completion_tokens": 2}]
)
async def test_usage_that_is_none_is_left_out(
    server: FakeServer, llm_of: Make, usage: dict[str, Any] | None
) -> None:
    server.will(say("ok", usage=usage))
    assert (await reply(llm_of()))[1] == {"finish_reason": "stop"}


async def test_a_server_that_never_closes_does_not_delay_the_end(
    server: FakeServer, llm_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lingering(peer: Peer) -> None:
        await peer.head()
        await peer.text("done", "stop")
        await asyncio.sleep(30)

    monkeypatch.setattr("llm.openai_server.USAGE_TIMEOUT", 0.05)
    server.will(lingering)
    assert await reply(llm_of()) == (["done"], {"finish_reason": "stop"})
    assert await server.all_closed()
