"""Counts of tokens from the server: vLLM's and llama.cpp's ways, failures, and whole turns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseLLM

import llm.openai_server
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import Settings, load_settings
from llm.openai_server import OpenAIServerLLM
from schemas.errors import LLMError, SettingsError
from tests.llm.fake_openai_server import FakeServer, Peer, die, refuse, say
from tests.support import MakePipeline, ask

Make = Callable[..., OpenAIServerLLM]


async def as_json(peer: Peer, answer: object) -> None:
    await peer.head(content_type="application/json")
    await peer.send(json.dumps(answer).encode())
    await peer.raw(b"0\r\n\r\n")


def of_bytes(text: str) -> list[int]:
    return list(text.encode())


async def vllm(peer: Peer) -> None:
    """Answers completions as well."""
    if "stream" in peer.body:
        return await say(" 왔어?")(peer)
    tokens = [1] * peer.body["add_special_tokens"] + of_bytes(peer.body["prompt"])
    await as_json(peer, {"count": len(tokens), "max_model_len": 100, "tokens": tokens})


async def llama_cpp(peer: Peer) -> None:
    tokens = [1] * peer.body.get("add_special", False) + of_bytes(peer.body.get("content", ""))
    await as_json(peer, {"tokens": tokens})


@pytest.fixture
async def pipeline_of(server: FakeServer, tmp_path: Path) -> AsyncIterator[MakePipeline]:
    """Pipelines that ask the fake server for everything, as the settings say."""
    models: list[BaseLLM] = []

    def make(**changes: Any) -> Pipeline:
        knobs = {"llm": "openai", "llm_url": server.url, "llm_models": ("some-model",)} | changes
        services = make_services(Settings(_env_file=None, index_dir=tmp_path, **knobs))
        models.append(services.models.offered[0].llm)
        return Pipeline(services)

    yield make
    for model in models:
        assert isinstance(model, OpenAIServerLLM)
        await model.aclose()


@pytest.mark.parametrize("behaviour", [vllm, llama_cpp])
async def test_both_servers_tell_the_tokens(
    server: FakeServer, llm_of: Make, behaviour: Any
) -> None:
    server.will(behaviour)
    assert await llm_of(model="org/name").tokenize("세라 <|im_end|>") == of_bytes("세라 <|im_end|>")
    assert server.paths == ["/tokenize"]
    assert server.requests[0]["model"] == "org/name"


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (refuse(404), "HTTP 404"),
        (refuse(503), "HTTP 503"),
        (die, "cannot be reached"),
        (lambda peer: as_json(peer, {"tokens": ["a"]}), "no tokens"),
        (lambda peer: as_json(peer, [1, 2]), "no tokens"),
        (lambda peer: asyncio.sleep(5), "slow"),
    ],
)
async def test_failures_are_ours(
    server: FakeServer, llm_of: Make, monkeypatch: pytest.MonkeyPatch, behaviour: Any, told: str
) -> None:
    monkeypatch.setattr(llm.openai_server, "TOKENIZE_TIMEOUT", 0.3)
    server.will(behaviour)
    with pytest.raises(LLMError, match=told):
        await llm_of().tokenize("hello")


async def test_counting_does_not_wait_for_replies(server: FakeServer, llm_of: Make) -> None:
    model = llm_of(max_concurrency=1)

    async def slow_reply(peer: Peer) -> None:
        if "stream" not in peer.body:
            return await vllm(peer)
        await peer.head()
        await peer.text("a")
        await asyncio.sleep(30)

    server.will(slow_reply)
    async with asyncio.timeout(5):
        async for _ in model.astream("hello"):
            assert await model.tokenize("ab") == of_bytes("ab")
            break


async def test_a_turn_counts_by_the_server(server: FakeServer, pipeline_of: MakePipeline) -> None:
    """Two calls: for the chat, then for the notes. A byte is a token here."""
    server.will(vllm)
    pipeline = pipeline_of(llm_context=4096, llm_tokenizer="server")
    history = [{"role": "user", "content": f"{row} 번째 밤이다. " * 9} for row in range(40)]
    answer = await pipeline.chat(ask(history=history))
    assert answer["error"] is None
    tokens = answer["meta"]["prompt"]["tokens"]
    prompt = next(body["prompt"] for body in server.requests if "stream" in body)
    assert 0.95 * tokens["total"] <= len(prompt.encode()) <= tokens["total"]
    assert tokens["total"] <= tokens["budget"]
    asked = server.paths.count("/tokenize")
    assert asked == 2
    await pipeline.chat(ask(history=history))
    assert server.paths.count("/tokenize") == asked


async def test_without_the_setting_nobody_is_asked(
    server: FakeServer, pipeline_of: MakePipeline
) -> None:
    server.will(vllm)
    pipeline = pipeline_of()
    await pipeline.chat(ask())
    assert server.paths == ["/v1/completions"]


def test_the_setting_needs_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IYAGI_LLM_TOKENIZER", "server")
    with pytest.raises(SettingsError, match="IYAGI_LLM_TOKENIZER=server needs IYAGI_LLM=openai"):
        load_settings()
    monkeypatch.setenv("IYAGI_LLM", "openai")
    monkeypatch.setenv("IYAGI_LLM_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("IYAGI_LLM_MODELS", "m")
    assert load_settings().llm_tokenizer == "server"
