"""`OpenAIServerLLM` against servers that others wrote, with a tiny model made on the spot."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm.openai_server import OpenAIServerLLM
from tests.llm.asking import failing, reply
from tests.llm.tiny_models import llm_of
from tests.support import free_port

pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.huggingface

STARTUP_TIMEOUT = 120.0
"""Seconds until a server answers: it imports torch, on a machine that may be busy."""


def wait_for(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends = time.monotonic() + STARTUP_TIMEOUT
    while time.monotonic() < ends:
        assert server.poll() is None, f"it ended: {log.read_text(encoding='utf-8')[-2000:]}"
        try:
            if httpx.get(url, timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    raise AssertionError(f"no answer: {log.read_text(encoding='utf-8')[-2000:]}")


@pytest.fixture(scope="module")
def transformers_serve(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of `transformers serve`."""
    command = Path(sys.executable).with_name("transformers")
    missing = [name for name in ("accelerate", "fastapi", "uvicorn") if not find_spec(name)]
    if missing or not command.exists():
        pytest.skip(f'needs pip install "transformers[serving]" ({", ".join(missing) or command})')
    port, log = free_port(), tmp_path_factory.mktemp("serve") / "log"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [command, "serve", tiny_llama, "--port", str(port), "--device", "cpu"],
            env=environment, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        wait_for(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
async def llm(transformers_serve: str, tiny_llama: Path) -> AsyncIterator[OpenAIServerLLM]:
    made = OpenAIServerLLM(base_url=transformers_serve, model=str(tiny_llama), idle_timeout=30)
    yield made
    await made.aclose()


async def test_a_reply_streams_with_its_usage(llm: OpenAIServerLLM) -> None:
    pieces, info = await reply(llm, max_new_tokens=16, temperature=0.0)
    assert len(pieces) > 3
    assert info["finish_reason"] == "length"
    assert info["usage"]["completion_tokens"] == 16
    assert info["usage"]["prompt_tokens"] > 5


async def test_what_the_server_does_not_know_costs_no_reply(llm: OpenAIServerLLM) -> None:
    every: dict[str, Any] = {
        "temperature": 0.8,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "seed": 7,
        "max_new_tokens": 12,
    }
    assert (await reply(llm, **every))[0]
    assert (await reply(llm, stop=["민준:"], **every))[0]


async def test_a_stop_string_ends_the_reply(llm: OpenAIServerLLM) -> None:
    whole = "".join((await reply(llm, max_new_tokens=40, temperature=0.0))[0])
    stop = whole[6:9]
    pieces, info = await reply(llm, max_new_tokens=40, temperature=0.0, stop=[stop])
    assert "".join(pieces) == whole[: whole.index(stop)]
    assert info["finish_reason"] == "stop"


async def test_the_server_and_the_process_write_the_same(
    llm: OpenAIServerLLM, tiny_llama: Path
) -> None:
    asked: dict[str, Any] = {"max_new_tokens": 30, "temperature": 0.0}
    prompt = "안녕, 세라! Do you remember?\nSera:"
    ours = await llm_of(tiny_llama).ainvoke(prompt, **asked)
    cut = "\N{REPLACEMENT CHARACTER}"  # half a character at the end: the server leaves it out
    assert (await llm.ainvoke(prompt, **asked)).rstrip(cut) == ours.rstrip(cut)


async def test_a_reader_that_leaves_does_not_keep_the_server_from_the_next(
    llm: OpenAIServerLLM,
) -> None:
    stream: Any = llm.astream("The prompt:", max_new_tokens=3000, temperature=0.0)
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            if piece:
                break
    started = time.monotonic()
    replies = await asyncio.gather(*(reply(llm, max_new_tokens=8) for _ in range(2)))
    assert all(pieces for pieces, _ in replies)
    assert time.monotonic() - started < 30


async def test_a_model_that_the_server_refuses_is_an_error(transformers_serve: str) -> None:
    llm = OpenAIServerLLM(base_url=transformers_serve, model="no/such-model", max_retries=0)
    said, error = await failing(llm)
    await llm.aclose()
    assert (said, error.retryable) == ("", False)
