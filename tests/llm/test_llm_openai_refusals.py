"""Servers that refuse fields of a request: what is asked instead; no word of a user counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from llm.openai_server import OpenAIServerLLM
from tests.llm.asking import failing, reply
from tests.llm.fake_openai_server import Behaviour, FakeServer, Peer, say

Make = Callable[..., OpenAIServerLLM]

SAMPLING: dict[str, Any] = {
    "temperature": 0.8,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "repetition_penalty": 1.1,
    "seed": 7,
}
BARE = {"model", "prompt", "stream", "max_tokens", "temperature", "top_p", "seed"}

KNOWN = BARE | {"top_k", "repetition_penalty", "stop", "stream_options"}


def openai(field: str, prompt: str) -> dict[str, Any]:
    message = f"Unknown parameter: {field!r} in {prompt!r}"
    return {"error": {"message": message, "param": field, "code": "unknown_parameter"}}


def vllm(field: str, prompt: str) -> dict[str, Any]:
    """With the place inside of the body."""
    return {"error": {"message": prompt, "type": "BadRequestError", "param": f"body.{field}"}}


def fastapi(field: str, prompt: str) -> dict[str, Any]:
    fault = {"type": "extra_forbidden", "loc": ["body", field], "msg": "no", "input": prompt}
    return {"detail": [fault]}


def llama_cpp(field: str, prompt: str) -> dict[str, Any]:
    return {
        "error": {"code": 400, "message": f"{field}: {prompt}", "type": "invalid_request_error"}
    }


def transformers(field: str, prompt: str) -> dict[str, Any]:
    return {"detail": f"Unexpected fields in the request: {field}, {prompt}"}


def text_generation_inference(field: str, prompt: str) -> dict[str, Any]:
    return {"error": f"unknown field `{field}` in {prompt}", "error_type": "validation"}


def knows(known: set[str], told: Callable[[str, str], dict[str, Any]]) -> Behaviour:
    """A server that takes these fields only, and repeats the prompt in what it says of others."""

    async def behave(peer: Peer) -> None:
        if unknown := sorted(peer.body.keys() - known):
            await peer.head(400, content_type="application/json")
            await peer.send(json.dumps(told(unknown[0], peer.body["prompt"])).encode())
            await peer.raw(b"0\r\n\r\n")
        else:
            await say("ok")(peer)

    return behave


@pytest.mark.parametrize("told", [openai, vllm, fastapi])
async def test_a_field_that_an_error_names_by_its_structure_is_left_out(
    server: FakeServer, llm_of: Make, told: Any
) -> None:
    server.will(knows(KNOWN, told))
    llm = llm_of(max_retries=0)
    for _ in range(2):
        assert (await reply(llm, stop=["\nMin:"], **SAMPLING))[0] == ["ok"]
    assert [body.keys() - KNOWN for body in server.requests] == 2 * [
        {"min_p", "repeat_penalty"},
        {"repeat_penalty"},
        set(),
    ]
    assert server.requests[-1].keys() == KNOWN


@pytest.mark.parametrize("told", [llama_cpp, transformers, text_generation_inference])
async def test_where_the_error_has_no_structure_the_bare_request_is_tried(
    server: FakeServer, llm_of: Make, told: Any
) -> None:
    server.will(knows(KNOWN, told))
    assert (await reply(llm_of(max_retries=0), stop=["\nMin:"], **SAMPLING))[0] == ["ok"]
    assert len(server.requests) == 2
    assert server.requests[1].keys() == BARE


async def test_a_choice_is_given_up_where_the_server_knows_none(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(knows(KNOWN | {"min_p", "repeat_penalty"}, openai))
    assert (await reply(llm_of(), choice=["Sera", "Narrator"]))[0] == ["ok"]
    assert len(server.requests) == 3


@pytest.mark.parametrize("words", ["top_k, seed and min_p", "too long a context", "body.top_k"])
@pytest.mark.parametrize("told", [openai, vllm, fastapi, llama_cpp, transformers])
async def test_words_of_a_user_switch_nothing_off(
    server: FakeServer, llm_of: Make, told: Any, words: str
) -> None:
    """The server repeats them while it refuses something else, once."""

    async def once(peer: Peer) -> None:
        await knows(peer.body.keys() - {"min_p"}, told)(peer)

    server.will(once, say("ok"))
    llm = llm_of(max_retries=0)
    for _ in range(2):
        assert await llm.ainvoke(words, **SAMPLING) == "ok"
    _, again, later = server.requests
    given_up = {"min_p"} if told in (openai, vllm, fastapi) else SAMPLING.keys() - BARE
    assert SAMPLING.keys() - again.keys() == given_up
    assert {name: later[name] for name in SAMPLING} == SAMPLING


async def test_what_every_server_knows_is_not_given_up(server: FakeServer, llm_of: Make) -> None:
    """A temperature out of range is the caller's to mend."""
    server.will(knows(set(), lambda field, prompt: openai("temperature", prompt)))
    error = (await failing(llm_of(), **SAMPLING))[1]
    assert (error.retryable, "sampling values" in error.message) == (False, True)
    assert len(server.requests) == 1
