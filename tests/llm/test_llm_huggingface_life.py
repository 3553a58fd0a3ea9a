"""How the in-process model lives beside the event loop, and with what goes wrong."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from llm.huggingface import HuggingFaceLLM
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
        await self.llm.load()
        assert self.llm._local is not None
        self.llm._local._model.register_forward_pre_hook(self._step)

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
    assert llm._local is None
    first, _ = await asyncio.gather(llm.ainvoke("a:", seed=1), llm.ainvoke("b:", seed=1))
    local = llm._local
    assert first
    await llm.load()
    assert llm._local is local


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


async def test_a_long_prompt_is_left_in_the_middle(watched: Watched) -> None:
    watched.go.clear()
    task = asyncio.create_task(watched.llm.ainvoke("word " * 800))  # some six steps to read
    await asyncio.to_thread(watched.reached.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    watched.go.set()
    assert await watched.still() == 1


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


async def test_a_slow_reader_holds_the_model_up(watched: Watched) -> None:
    async with aclosing(stream(watched.llm, max_new_tokens=2000)) as pieces:
        async for piece in pieces:
            if piece:
                break
        assert await watched.still() < 1000


async def test_a_reply_that_takes_too_long_is_an_error(tiny_llama: Path) -> None:
    watched = Watched(tiny_llama, deadline=0.3)
    await watched.load()
    watched.go.clear()
    _, error = await failing(watched.llm)
    watched.go.set()
    assert (error.retryable, error.message.split(";")[0]) == (
        True,
        "the reply was not complete after 0.3 s",
    )
    await watched.still()
    watched.llm.deadline = 60
    assert (await reply(watched.llm, max_new_tokens=5))[0]


async def test_an_error_of_the_gpu_is_fatal(watched: Watched) -> None:
    assert not watched.llm.poisoned
    watched.error = RuntimeError("CUDA error: device-side assert triggered")
    _, error = await failing(watched.llm)
    assert (error.fatal, error.retryable, watched.llm.poisoned) == (True, True, True)
    watched.error = None
    _, error = await failing(watched.llm)
    assert error.fatal
    assert watched.steps == 1


async def test_a_gpu_that_fails_while_loading_is_fatal(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: unknown error")

    monkeypatch.setattr("llm.huggingface_model.AutoModelForCausalLM.from_pretrained", breaks)
    llm = llm_of(tiny_llama)
    with pytest.raises(LLMError) as caught:
        await llm.load()
    assert (caught.value.fatal, llm.poisoned) == (True, True)


@pytest.mark.parametrize(
    ("raised", "retryable"),
    [(torch.OutOfMemoryError("CUDA out of memory. Tried"), True), (ValueError("secret"), False)],
)
async def test_other_errors_are_of_one_reply(
    watched: Watched, raised: Exception, retryable: bool
) -> None:
    watched.error = raised
    _, error = await failing(watched.llm)
    assert (error.fatal, error.retryable, watched.llm.poisoned) == (False, retryable, False)
    assert "secret" not in error.message
    watched.error = None
    assert (await reply(watched.llm, max_new_tokens=5))[0]


async def test_numbers_that_are_none_are_said(watched: Watched) -> None:
    assert watched.llm._local is not None
    weights = watched.llm._local._model.lm_head.weight
    with torch.no_grad():
        weights.fill_(torch.nan)
    for sampling in ({"temperature": 0.0}, {"temperature": 1.0}):
        assert "NaN" in (await failing(watched.llm, **sampling))[1].message


def copy(source: Path, target: Path, limit: int | None = None) -> None:
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes()[:limit])


async def cannot_load(llm: HuggingFaceLLM) -> str:
    with pytest.raises(LLMError) as caught:
        await llm.load()
    assert not llm.poisoned
    return caught.value.message


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"device": "cuda"}, "IYAGI_LLM_DEVICE=cuda"),
        ({"quantize": "int4"}, "pip install bitsandbytes"),
    ],
)
async def test_what_this_machine_lacks_is_said(
    tiny_llama: Path, options: dict[str, Any], cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("llm.huggingface_model.find_spec", lambda name: None)
    assert cure in await cannot_load(HuggingFaceLLM(model="tiny", path=tiny_llama, **options))


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
