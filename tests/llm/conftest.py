from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm.openai_server import OpenAIServerLLM
from tests.llm.fake_openai_server import FakeServer
from tests.llm.tiny_models import save_tiny


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def llm_of(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., OpenAIServerLLM]]:
    """Makes LLMs of the fake server, with short times; closes them."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    made: list[OpenAIServerLLM] = []

    def make(**options: Any) -> OpenAIServerLLM:
        given = {"base_url": server.url, "model": "m", "idle_timeout": 2.0}
        given["first_token_timeout"] = options.get("idle_timeout", 2.0)
        made.append(OpenAIServerLLM(**(given | options)))
        return made[-1]

    yield make
    for llm in made:
        await llm.aclose()


@pytest.fixture(scope="session")
def one_core() -> Iterator[None]:
    """Torch's cores wait for each other after each step: dear for tiny models, and while busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_llama(one_core: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama."""
    return save_tiny(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session", params=["llama", "mistral", "mistral with a window"])
def tiny(
    request: pytest.FixtureRequest, one_core: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folders of all kinds of tiny models, one by one."""
    kind, _, window = request.param.partition(" ")
    changes = {"sliding_window": 16} if window else {}
    return save_tiny(tmp_path_factory.mktemp(kind), kind, **changes)
