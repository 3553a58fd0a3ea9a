"""What is known of a server, and what is asked of it then: stop strings, context, reports."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import llm.openai_server
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import Settings
from llm.openai_server import OpenAIServerLLM, foremost
from llm.presets import WORTH
from llm.served import KINDS, Kind, Served, read_models
from schemas.formats import FORMATS
from tests.llm.asking import failing, reply
from tests.llm.fake_openai_server import (
    Behaviour,
    FakeServer,
    Peer,
    die,
    lists,
    loading,
    mute,
    refuse,
    say,
    strange,
)
from tests.support import MakePipeline, ask

Make = Callable[..., OpenAIServerLLM]


@pytest.fixture
async def pipeline_of(server: FakeServer, tmp_path: Path) -> AsyncIterator[MakePipeline]:
    """Pipelines whose server is the fake one, as the settings say."""
    made: list[OpenAIServerLLM] = []

    def make(**changes: Any) -> Pipeline:
        knobs = {"llm": "openai", "llm_url": server.url, "llm_models": ("plain",)} | changes
        services = make_services(Settings(_env_file=None, index_dir=tmp_path, **knobs))
        made.extend(it.llm for it in services.models.offered if isinstance(it.llm, OpenAIServerLLM))
        return Pipeline(services)

    yield make
    for model in made:
        await model.aclose()


def context_of(pipeline: Pipeline, name: str | None = None) -> int:
    """Tokens of the prompts that are written now."""
    return pipeline.services.models.choose(name).layout.context_length


# Stop strings

CAST: dict[str, Any] = {
    "user_name": "도경",
    "history": [
        {"role": "user", "name": "도경", "content": "여기였지?"},
        {"role": "character", "name": "Mirae", "content": "맞아."},
        {"role": "character", "name": "Old Ben", "content": "Aye."},
        {"role": "character", "name": "유라", "content": "조용히 해."},
    ],
    "respond_as": "character",
}


@pytest.mark.parametrize("form", sorted(FORMATS))
async def test_no_format_has_more_stop_strings_than_any_server_takes(
    server: FakeServer, pipeline_of: MakePipeline, form: str
) -> None:
    answer = await pipeline_of(llm_format=form).chat(ask(**CAST, gen={"stop": ["~끝~"]}))
    [asked] = server.requests
    assert answer["error"] is None
    assert len(asked["stop"]) == 4
    user = FORMATS[form].user_label or "도경"
    assert f"\n{user}:" in asked["stop"][:2]
    assert all(stop.startswith("\n") and stop.endswith(":") for stop in asked["stop"])


@pytest.mark.parametrize("form", sorted(FORMATS))
async def test_what_is_not_sent_is_watched(
    server: FakeServer, pipeline_of: MakePipeline, form: str
) -> None:
    server.will(say("좋아.", " ~끝", "~ 그리고", *[" 더"] * 500, pause=0.002))
    answer = await pipeline_of(llm_format=form).chat(ask(**CAST, gen={"stop": ["~끝~"]}))
    assert "".join(piece["text"] for piece in answer["response_contents"]) == "좋아."
    assert await server.all_closed()


def test_names_come_first_and_tokens_last() -> None:
    stops = ["</s>", "\n### Input:", "END", "[INST]", "\nDana:", "\nYou:"]
    assert foremost(stops, 6) == stops
    assert foremost(stops, 4) == ["\nDana:", "\nYou:", "\n### Input:", "END"]
    assert foremost(stops, 1) == ["\nDana:"]
    assert foremost(stops, 0) == []


@pytest.mark.parametrize(
    ("owner", "setting", "sent"),
    [
        ("vllm", None, 4),
        ("who", None, 4),
        ("sglang", None, 11),
        ("llamacpp", None, 11),
        ("vllm", 32, 11),
        ("llamacpp", 2, 2),
    ],
)
async def test_a_server_that_takes_more_gets_more(
    server: FakeServer, llm_of: Make, owner: str, setting: int | None, sent: int
) -> None:
    server.models, server.most_stops = lists({"id": "m"}, owned_by=owner), 32
    model = llm_of(max_stops=setting)
    await model.about()
    await reply(model, stop=[f"\nName {row}:" for row in range(11)])
    assert len(server.requests[0]["stop"]) == sent


# The context


@pytest.mark.parametrize(
    ("entry", "owner"),
    [
        ({"id": "plain", "max_model_len": 3000}, "vllm"),
        ({"id": "plain", "meta": {"n_ctx": 3000}}, "llamacpp"),
        ({"id": "some.gguf", "meta": {"n_ctx": 3000}}, "llamacpp"),
        ({"id": "some.gguf", "aliases": ["plain"], "meta": {"n_ctx": 3000}}, "llamacpp"),
    ],
)
async def test_a_prompt_is_as_long_as_the_server_takes(
    server: FakeServer, pipeline_of: MakePipeline, entry: dict[str, Any], owner: str
) -> None:
    server.models = lists(entry, owned_by=owner)
    pipeline = pipeline_of()
    assert context_of(pipeline) == 8192
    history = [{"role": "user", "content": f"Night {row} of the watch. " * 20} for row in range(60)]
    for _ in range(2):
        answer = await pipeline.chat(ask("And now?", history=history))
        budget = answer["meta"]["prompt"]["tokens"]["budget"]
        assert budget + answer["meta"]["prompt"]["tokens"]["reserve"] <= 3000
    assert (context_of(pipeline), server.asked_for_models) == (3000, 1)


@pytest.mark.parametrize(
    ("name", "setting", "served", "used"),
    [
        ("plain", None, 20_000, 20_000),
        ("plain", None, 1_000_000, WORTH),
        ("plain", 50_000, 1_000_000, 50_000),
        ("plain", 4096, 20_000, 4096),
        ("plain", 20_000, 4096, 4096),
        ("PygmalionAI/Eleusis-12B", None, 131_072, 16_384),
        ("PygmalionAI/Eleusis-12B", None, 8000, 8000),
        ("PygmalionAI/Eleusis-12B", 32_000, 131_072, 32_000),
        ("plain", None, None, 8192),
        ("plain", None, 100, 8192),
        ("plain", None, "many", 8192),
    ],
)
async def test_the_smallest_of_setting_model_and_server(
    server: FakeServer,
    pipeline_of: MakePipeline,
    caplog: pytest.LogCaptureFixture,
    name: str,
    setting: int | None,
    served: object,
    used: int,
) -> None:
    server.models = lists({"id": name, "max_model_len": served})
    pipeline = pipeline_of(llm_models=(name,), llm_context=setting)
    await pipeline.chat(ask())
    await pipeline.chat(ask())
    assert context_of(pipeline) == used
    warnings = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    if setting and used < setting:
        [line] = warnings
        assert f"IYAGI_LLM_CONTEXT is {setting}" in line and "4096" in line
    else:
        assert warnings == []


async def test_a_name_that_the_server_does_not_list_is_said_once(
    server: FakeServer, pipeline_of: MakePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    server.models = lists(
        {"id": "org/one", "max_model_len": 2000}, {"id": "org/two", "max_model_len": 3000}
    )
    pipeline = pipeline_of(llm_models=("org/two", "org/tow"))
    for name in (None, "org/tow", "org/tow"):
        await pipeline.chat(ask(model={"name": name}))
    assert (context_of(pipeline), context_of(pipeline, "org/tow")) == (3000, 8192)
    assert server.asked_for_models == 1
    [line] = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    assert "'org/tow' (IYAGI_LLM_MODELS)" in line and "'org/one', 'org/two'" in line


async def nonsense(peer: Peer) -> None:
    await peer.head(content_type="text/html")
    await peer.send(b"<html>It works!</html>")
    await peer.raw(b"0\r\n\r\n")


@pytest.mark.parametrize("behaviour", [refuse(404), refuse(401), nonsense, lists()])
async def test_who_lists_no_models_is_not_asked_again(
    server: FakeServer, pipeline_of: MakePipeline, behaviour: Behaviour
) -> None:
    server.models, pipeline = behaviour, pipeline_of()
    for _ in range(2):
        assert (await pipeline.chat(ask()))["error"] is None
    assert (context_of(pipeline), server.asked_for_models) == (8192, 1)


@pytest.mark.parametrize("behaviour", [refuse(500), die, mute])
async def test_who_is_silent_is_asked_again_after_a_pause(
    server: FakeServer,
    pipeline_of: MakePipeline,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: Behaviour,
) -> None:
    monkeypatch.setattr(llm.openai_server, "MODELS_TIMEOUT", 0.5)
    server.models, pipeline = behaviour, pipeline_of()
    for _ in range(3):
        assert (await pipeline.chat(ask()))["error"] is None
    assert server.asked_for_models == 1
    server.models = lists({"id": "plain", "max_model_len": 4096})
    monkeypatch.setattr(llm.openai_server, "PAUSE", 0.0)
    pipeline.services.models.offered[0].llm._about.silent_until = 0.0  # type: ignore[attr-defined]
    await pipeline.chat(ask())
    assert context_of(pipeline) == 4096


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"data": 7},
        {"data": [7, None, {}]},
        {"data": [{"id": ["x"], "owned_by": {}}]},
        {"data": [{"id": "m", "meta": [], "aliases": 3, "max_model_len": -4, "owned_by": "x"}]},
    ],
)
def test_answers_that_list_nothing(answer: object) -> None:
    served = read_models(answer)
    assert served.kind == Kind()
    assert served.context_of("m") is None


def test_a_name_without_a_length_has_the_one_that_all_share() -> None:
    assert Served(models={"a": 9, "b": 9}).context_of("c") == 9
    assert Served(models={"a": 9, "b": 8}).context_of("c") is None
    assert Served(models={"base": 9, "adapter": None}).context_of("base") == 9


async def overflow(peer: Peer) -> None:
    """llama.cpp's answer to a prompt that is too long."""
    error = {"code": 400, "message": peer.body["prompt"], "type": "exceed_context_size_error"}
    await peer.head(400, content_type="application/json")
    error |= {"n_prompt_tokens": 3001, "n_ctx": 2048}
    await peer.send(json.dumps({"error": error}).encode())
    await peer.raw(b"0\r\n\r\n")


async def test_a_prompt_that_is_too_long_is_told_in_numbers(
    server: FakeServer, llm_of: Make
) -> None:
    server.will(overflow)
    said, error = await failing(llm_of(), min_p=0.05)
    assert (said, error.retryable, len(server.requests)) == ("", False, 1)
    assert "3001 tokens" in error.message and "takes 2048" in error.message
    assert "IYAGI_LLM_CONTEXT" in error.message


async def test_another_refusal_names_the_servers_length(server: FakeServer, llm_of: Make) -> None:
    server.will(refuse(400, "the words of the server"))
    server.models = lists({"id": "m", "max_model_len": 5120})
    model = llm_of()
    await model.about()
    message = (await failing(model))[1].message
    assert "IYAGI_LLM_CONTEXT is not above its 5120 tokens" in message
    assert "words" not in message


# A server that loads its model


async def test_a_server_that_loads_its_model_is_waited_for(
    server: FakeServer, llm_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm.openai_server, "POLLS", (0.02,))
    server.will(*[loading] * 30, say("ready"))
    assert (await reply(llm_of(max_retries=0, first_token_timeout=20.0)))[0] == ["ready"]
    assert len(server.requests) == 31


async def test_the_wait_for_it_has_an_end(server: FakeServer, llm_of: Make) -> None:
    server.will(loading)
    error = (await failing(llm_of(max_retries=0, first_token_timeout=0.6)))[1]
    assert (error.retryable, "is loading its model" in error.message) == (True, True)
    assert 2 <= len(server.requests) <= 4


async def test_question_and_reply_wait_for_it_together(server: FakeServer, llm_of: Make) -> None:
    server.will(loading)
    model, started = llm_of(max_retries=0, first_token_timeout=1.0), time.monotonic()
    server.models = loading
    assert await model.about() is None
    assert "is loading its model" in (await failing(model))[1].message
    assert time.monotonic() - started < 1.9


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/event-stream"])
async def test_an_address_that_is_none_of_completions(
    kind: str, server: FakeServer, llm_of: Make
) -> None:
    body = b'data: {"content": "Hello"}\n\n' if kind == "text/event-stream" else b"<html>{}"
    server.will(strange(kind, body))
    error = (await failing(llm_of(max_retries=2)))[1]
    assert "mostly in `/v1`" in error.message and not error.retryable
    assert len(server.requests) == 1


async def test_words_make_no_loading_server(server: FakeServer, llm_of: Make) -> None:
    server.will(refuse(503, "Loading model"))
    assert "HTTP 503" in (await failing(llm_of(max_retries=0)))[1].message
    assert len(server.requests) == 1


async def test_its_context_is_known_in_the_first_turn(
    server: FakeServer, pipeline_of: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm.openai_server, "POLLS", (0.02,))
    rest = iter([loading] * 5)
    loaded = lists({"id": "x.gguf", "meta": {"n_ctx": 2048}}, owned_by="llamacpp")

    async def behave(peer: Peer) -> None:
        await next(rest, loaded)(peer)

    server.models, pipeline = behave, pipeline_of()
    answer = await pipeline.chat(ask(history=[{"role": "user", "content": "말 " * 5000}]))
    assert answer["meta"]["prompt"]["tokens"]["budget"] < 2048
    assert server.asked_for_models == 6


# While the prompt is read


def reads(*processed: int, total: int = 1000, cache: int = 0, pause: float = 0.0) -> Behaviour:
    """llama.cpp, which tells its progress where it is asked to."""

    async def behave(peer: Peer) -> None:
        await peer.head()
        for count in processed:
            if peer.body.get("return_progress"):
                timings = {"cache_n": cache, "prompt_n": count - cache, "predicted_n": 0}
                await peer.event(
                    choices=[{"index": 0, "text": "", "finish_reason": None}],
                    prompt_progress={"total": total, "cache": cache, "processed": count},
                    timings=timings,
                )
            await asyncio.sleep(pause)
        for row, piece in enumerate(["Good ", "evening.", "\nDana:", *[" well"] * 500]):
            told = {"cache_n": cache, "prompt_n": total - cache, "predicted_n": row + 1}
            timed = {"timings": told} if peer.body.get("timings_per_token") else {}
            await peer.event(choices=[{"index": 0, "text": piece, "finish_reason": None}], **timed)
            await asyncio.sleep(0.002)

    return behave


LLAMA_CPP = lists({"id": "x.gguf", "meta": {"n_ctx": 4096}}, owned_by="llamacpp")


async def known(model: OpenAIServerLLM) -> OpenAIServerLLM:
    await model.about()
    return model


async def test_a_prompt_that_is_read_step_by_step_may_take_long(
    server: FakeServer, llm_of: Make
) -> None:
    server.models = LLAMA_CPP
    server.will(reads(*range(0, 1001, 100), pause=0.1))
    times: dict[str, Any] = {"first_token_timeout": 0.8, "idle_timeout": 0.5}
    told: list[object] = []
    model = await known(llm_of(**times))
    said = await model.ainvoke("x", stop=["\nDana:"], config={"callbacks": [Reading(told)]})
    assert (said, told) == ("Good evening.", [*range(0, 101, 10)])
    server.models = refuse(404)
    error = (await failing(await known(llm_of(**times)), stop=["\nDana:"]))[1]
    assert "nothing for 0.8 s" in error.message


async def test_the_first_token_has_a_limit_of_its_own(server: FakeServer, llm_of: Make) -> None:
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(0.5)
        await say("a", "b")(peer)

    async def halting(peer: Peer) -> None:
        await peer.head()
        await peer.text("a")
        await asyncio.sleep(30)

    server.will(slow, halting)
    model = llm_of(first_token_timeout=5.0, idle_timeout=0.3)
    assert (await reply(model))[0] == ["a", "b"]
    said, error = await failing(model)
    assert (said, "nothing for 0.3 s" in error.message) == ("a", True)


async def test_steps_without_progress_end(server: FakeServer, llm_of: Make) -> None:
    server.models = LLAMA_CPP
    server.will(reads(*[400] * 10_000))
    assert await (await known(llm_of())).ainvoke("x", max_new_tokens=1) == ""
    assert await server.all_closed()


async def test_an_answer_that_breaks_off_while_it_reads_is_asked_for_again(
    server: FakeServer, llm_of: Make
) -> None:
    async def breaking(peer: Peer) -> None:
        await peer.head()
        await peer.event(prompt_progress={"total": 10, "processed": 5})
        await peer.hang_up()

    server.models = LLAMA_CPP
    server.will(breaking, say("ok"))
    assert (await reply_text(await known(llm_of()))) == "ok"


async def test_the_reader_of_a_turn_sees_how_far_it_is(
    server: FakeServer, pipeline_of: MakePipeline
) -> None:
    server.models = LLAMA_CPP
    server.will(reads(200, 204, 600, 1000, cache=200))
    pipeline = pipeline_of()
    turn = pipeline.stream(ask(user_name="Dana", respond_as="character"))
    events = [event async for event in turn]
    steps = [event for event in events if event.get("step") == "reading"]
    assert [step["percent"] for step in steps] == [0, 50, 100]
    assert events.index(steps[-1]) < [event["type"] for event in events].index("token")


class Reading:
    """A callback that keeps what it is told of the prompt."""

    def __new__(cls, told: list[object]) -> Any:
        from langchain_core.callbacks import AsyncCallbackHandler

        class Handler(AsyncCallbackHandler):
            async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
                if "reading" in (chunk.generation_info or {}):
                    assert token == ""
                    told.append(chunk.generation_info["reading"])

        return Handler()


async def reply_text(model: OpenAIServerLLM) -> str:
    return "".join([piece async for piece in model.astream("The prompt:")])


# Usage of a reply that is ended here


def counts(peer: Peer, written: int) -> dict[str, Any]:
    """What vLLM and llama.cpp add to a chunk, where they are asked to."""
    if peer.body.get("timings_per_token"):
        return {"timings": {"cache_n": 32, "prompt_n": 8, "predicted_n": written}}
    if peer.body["stream_options"].get("continuous_usage_stats"):
        usage = {"prompt_tokens": 40, "completion_tokens": written, "total_tokens": 40 + written}
        return {"usage": usage}
    return {}


def runs_on(*pieces: str) -> Behaviour:
    async def behave(peer: Peer) -> None:
        await peer.head()
        for row, piece in enumerate([*pieces, *[" 더"] * 500]):
            choice = {"index": 0, "text": piece, "finish_reason": None}
            await peer.event(choices=[choice], **counts(peer, row + 1))
            await asyncio.sleep(0.002)

    return behave


@pytest.mark.parametrize("tag", ["\n민준:", "\n**민준**:"])
@pytest.mark.parametrize("owner", [*KINDS, "who"])
async def test_a_reply_that_is_cut_has_its_usage(
    server: FakeServer, pipeline_of: MakePipeline, owner: str, tag: str
) -> None:
    """By a stop string, or by its reader where a name is marked; otherwise it is estimated."""
    server.models = lists({"id": "plain"}, owned_by=owner)
    server.will(runs_on("그래.", tag, " 응"))
    answer = await pipeline_of().chat(ask(user_name="민준", respond_as="character"))
    assert "".join(piece["text"] for piece in answer["response_contents"]) == "그래."
    usage = answer["usage"]
    assert usage["estimated"] is (owner == "who")
    if owner != "who":
        assert usage["prompt_tokens"] == 40 and 2 <= usage["completion_tokens"] < 100
    assert usage["cached_tokens"] == (32 if owner == "llamacpp" else None)
    assert await server.all_closed()
