"""How the in-process model lives beside the event loop, and with what goes wrong."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llm.huggingface import HuggingFaceLLM
from nodes.generate import generate_text
from schemas.errors import LLMError
from tests.llm.asking import failing, reply
from tests.llm.tiny_models import llm_of, save_tiny

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.huggingface


class Watched:
    """A loaded model whose steps are counted, and can be held up or broken."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.llm = llm_of(folder, **options)
        self.steps = 0
        self.at_once = 0
        self.error: Exception | None = None
        self.reached, self.go = threading.Event(), threading.Event()
        self.go.set()

    async def load(self) -> None:
        await self.llm.ainvoke("a", max_new_tokens=1)
        self.llm._model.register_forward_pre_hook(self._step)

    def _step(self, module: Any, args: Any) -> None:
        self.steps += 1
        if self.error:
            raise self.error
        self.reached.set()
        assert self.go.wait(10)

    async def still(self) -> int:
        """The steps made, once no more are."""
        steps = -1
        while steps != self.steps:
            steps = self.steps
            await asyncio.sleep(0.1)
        return steps


@pytest.fixture
async def watched(tiny_llama: Path) -> Watched:
    model = Watched(tiny_llama)
    await model.load()
    return model


def stream(llm: HuggingFaceLLM, prompt: str = "안녕:", **sampling: Any) -> Any:
    return llm.astream(prompt, temperature=0.0, **sampling)


async def test_construction_loads_nothing_and_the_first_reply_does(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama)
    assert llm._model is None
    replies = await asyncio.gather(*(llm.ainvoke(text, seed=1) for text in ("a:", "b:")))
    assert all(replies)


async def test_the_loop_runs_while_the_model_computes(watched: Watched) -> None:
    watched.go.clear()
    task = asyncio.create_task(reply(watched.llm, max_new_tokens=5))
    await asyncio.to_thread(watched.reached.wait, 10)
    before = time.perf_counter()
    await asyncio.sleep(0)
    assert time.perf_counter() - before < 1  # the step is held up until this very line is over
    watched.go.set()
    pieces, _ = await task
    assert pieces


async def test_the_first_piece_comes_before_the_second_is_computed(watched: Watched) -> None:
    async with aclosing(stream(watched.llm, max_new_tokens=50)) as pieces:
        async for piece in pieces:
            if piece:
                break
        assert watched.steps < 50


@pytest.mark.parametrize("way", ["leave", "cancel"])
async def test_a_reader_that_leaves_stops_the_work(watched: Watched, way: str) -> None:
    seen = asyncio.Event()

    async def read() -> None:
        async with aclosing(stream(watched.llm, max_new_tokens=3000)) as pieces:
            async for piece in pieces:
                if piece:
                    seen.set()
                    if way == "leave":
                        return

    task = asyncio.create_task(read())
    await asyncio.wait_for(seen.wait(), 20)
    if way == "cancel":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await task
    left = watched.steps
    assert await watched.still() <= left + 2
    assert (await reply(watched.llm, max_new_tokens=5))[0]


async def test_who_leaves_the_queue_is_never_computed(watched: Watched) -> None:
    watched.go.clear()
    first = asyncio.create_task(reply(watched.llm, max_new_tokens=4))
    await asyncio.to_thread(watched.reached.wait, 10)
    second = asyncio.create_task(watched.llm.ainvoke("never", max_new_tokens=500))
    await asyncio.sleep(0.05)
    second.cancel()
    watched.go.set()
    await first
    assert await watched.still() == 4


async def test_replies_come_in_the_order_of_asking(watched: Watched) -> None:
    done = []

    async def one(number: int) -> None:
        await reply(watched.llm, max_new_tokens=6)
        done.append(number)

    await asyncio.gather(*(one(number) for number in range(4)))
    assert done == [0, 1, 2, 3]


async def test_a_reply_that_takes_too_long_ends(watched: Watched) -> None:
    watched.go.clear()
    generation = await generate_text(
        watched.llm, "안녕:", stop=[], sampling={}, hear=lambda _: True, seconds=0.2
    )
    assert generation.finish_reason == "error" and "in time" in str(generation.error)
    watched.go.set()
    assert await watched.still() == 1
    assert (await reply(watched.llm, max_new_tokens=5))[0]


@pytest.mark.parametrize(
    ("raised", "retryable"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (ValueError("secret"), False),
    ],
)
async def test_errors_are_of_one_reply(
    watched: Watched, raised: Exception, retryable: bool
) -> None:
    watched.error = raised
    _, error = await failing(watched.llm)
    assert error.retryable == retryable
    assert "secret" not in error.message
    watched.error = None
    assert (await reply(watched.llm, max_new_tokens=5))[0]


async def test_numbers_that_are_none_are_said(watched: Watched) -> None:
    weights = watched.llm._model.lm_head.weight
    with torch.no_grad():
        weights.fill_(torch.nan)
    for sampling in ({"temperature": 0.0}, {"temperature": 1.0}):
        assert "NaN" in (await failing(watched.llm, **sampling))[1].message


def copy(source: Path, target: Path, limit: int | None = None) -> None:
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes()[:limit])


async def cannot_load(llm: HuggingFaceLLM) -> str:
    with pytest.raises(LLMError) as caught:
        await llm.ainvoke("a")
    return caught.value.message


async def test_a_gpu_that_is_not_there_is_said(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    llm = HuggingFaceLLM(model="tiny", path=tiny_llama, device="cuda")
    assert "IYAGI_LLM_DEVICE=cuda" in await cannot_load(llm)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
async def test_a_package_that_is_not_there_is_said(tiny_llama: Path) -> None:
    llm = llm_of(tiny_llama, quantize="int4")
    assert "a package is missing" in await cannot_load(llm)


async def test_a_model_that_is_not_there_is_said_and_looked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "hidden"
    llm = HuggingFaceLLM(model="tiny", path=folder)
    message = await cannot_load(llm)
    assert message.startswith("cannot load the model 'tiny'")
    assert "hidden" not in message
    save_tiny(folder, "llama")
    assert (await reply(llm, max_new_tokens=5))[0]


async def test_files_that_are_broken_are_said(tiny_llama: Path, tmp_path: Path) -> None:
    copy(tiny_llama, tmp_path, limit=5000)
    message = await cannot_load(HuggingFaceLLM(model="tiny", path=tmp_path))
    assert message.startswith("cannot load the model 'tiny'")


@pytest.mark.parametrize("trusted", [False, True])
async def test_code_of_a_model_runs_only_if_it_is_trusted(
    tiny_llama: Path, tmp_path: Path, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder, mark = tmp_path / "own", tmp_path / "ran"
    folder.mkdir()
    copy(tiny_llama, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    code = f"open({str(mark)!r}, 'w').close()\nraise RuntimeError('as far as this goes')\n"
    (folder / "configuration_own.py").write_text(code, encoding="utf-8")
    message = await cannot_load(HuggingFaceLLM(model="own", path=folder, trust_remote_code=trusted))
    assert ("IYAGI_LLM_TRUST_REMOTE_CODE=true" in message, mark.exists()) == (not trusted, trusted)
