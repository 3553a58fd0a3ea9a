"""What each shape of a job is answered with, on the real pipeline."""

from __future__ import annotations

import asyncio
import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from llm.scripted import ScriptedLLM
from schemas.errors import BadRequest, DeadlineExceeded, LLMError, SettingsError
from tests.support import MakePipeline, ask
from worker import characters
from worker.dispatch import Dispatcher


async def outputs(dispatcher: Dispatcher, given: Any) -> list[Any]:
    return [output async for output in dispatcher.answer({"id": "j", "input": given})]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "characters"
    folder.mkdir()
    (folder / "하늘.json").write_text(json.dumps({"name": "하늘"}), encoding="utf-8")
    (folder / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "outside.json").write_text(json.dumps({"name": "x"}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_that_takes_too_long_is_ended(
    make_pipeline: MakePipeline, folder: Path, stream: bool
) -> None:
    dispatcher = Dispatcher(make_pipeline(ScriptedLLM(delay=5)), folder, deadline=1.5)
    with pytest.raises(DeadlineExceeded):
        await outputs(dispatcher, ask(stream=stream))
    assert dispatcher.busy == 0


async def test_the_deadline_is_for_jobs_of_every_kind(
    make_pipeline: MakePipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline()
    dispatcher = Dispatcher(pipeline, folder, deadline=0.05)

    async def hang(chat: object) -> bool:
        await asyncio.sleep(60)
        return True

    monkeypatch.setattr(pipeline, "forget", hang)
    monkeypatch.setattr(characters, "listed", lambda folder: time.sleep(0.5))
    monkeypatch.setattr(characters, "find", lambda name, folder: time.sleep(0.5))
    body = {"model": "하늘", "messages": [{"role": "user", "content": "hi"}]}
    for given in (
        {"route": "/forget", "body": {"user_id": "u", "session_id": "s"}},
        {"openai_route": "/v1/models"},
        {"openai_input": body},
        {"openai_input": {**body, "stream": True}},
    ):
        with pytest.raises(DeadlineExceeded):
            await outputs(dispatcher, given)


async def test_a_failed_turn_is_noticed_and_a_bad_request_is_not(
    make_pipeline: MakePipeline, folder: Path
) -> None:
    noticed: list[int] = []
    llm = ScriptedLLM(fail_with=LLMError("down", retryable=True), fail_after=3)
    dispatcher = Dispatcher(make_pipeline(llm), folder, 60, on_failure=lambda: noticed.append(1))
    with pytest.raises(BadRequest):
        await outputs(dispatcher, {"message": "hi"})
    assert not noticed
    llm.replies = ["She waits at the door. And then she goes."]
    [partial] = await outputs(dispatcher, ask(respond_as="narrator"))
    assert partial["error"] is None and partial["meta"]["error"]["message"] == "down"
    llm.fail_after = 0
    with pytest.raises(LLMError):
        await outputs(dispatcher, ask())
    assert len(noticed) == 2


async def test_no_step_of_a_turn_holds_the_loop(
    make_pipeline: MakePipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milliseconds of processor time: the clock would count the machine's other programs."""
    held: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        held.append(1000 * (time.thread_time() - started))

    line = "우리는 등대 아래에서 오래된 지도를 찾았고 밤새 이야기를 나누었다. "
    history = [{"role": "user", "content": f"{n}: {line * 3}"} for n in range(500)]
    dispatcher = Dispatcher(make_pipeline(ScriptedLLM()), folder, deadline=60)
    await outputs(dispatcher, ask(history=history))
    await dispatcher.pipeline.drain()
    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    given = [ask(f"지도는 어디 있지 {n}?", history=history, stream=True) for n in range(16)]
    await asyncio.gather(*(outputs(dispatcher, one) for one in given))
    await dispatcher.pipeline.drain()
    monkeypatch.undo()
    assert len(held) > 1000 and sorted(held)[-3] <= 50, "two may be the garbage collector's"


async def test_the_steps_of_a_turn_are_told_in_order(
    make_pipeline: MakePipeline,
) -> None:
    steps = [
        event["step"] async for event in make_pipeline().stream(ask()) if event["type"] == "status"
    ]
    assert steps == ["embed", "retrieve", "route", "build_prompt", "generate", "parse_reply"]


@pytest.mark.parametrize("name", ["../outside", "outside", "/etc/passwd", "하늘.json", "", "."])
def test_a_character_is_found_by_its_name_only(folder: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="on offer: broken, 하늘"):
        characters.load(name, folder)


def test_a_characters_name_may_be_decomposed(folder: Path) -> None:
    assert characters.load("하늘", folder).persona.name == "하늘"
    assert characters.load(unicodedata.normalize("NFD", "하늘"), folder).persona.name == "하늘"
    (folder / "Ada.json").write_text(json.dumps({"name": "Ada"}), encoding="utf-8")
    assert characters.load("aDA", folder).persona.name == "Ada"
    assert characters.names(folder / "missing") == []
    with pytest.raises(SettingsError, match=r"broken\.json"):
        characters.load("broken", folder)
