"""What each shape of a job is answered with, on the real pipeline."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from llm.scripted import ScriptedLLM
from schemas.errors import BadRequest, DeadlineExceeded, LLMError, SettingsError
from tests.support import MakePipeline, ask
from worker import characters
from worker.desk import Desk


async def outputs(desk: Desk, given: Any) -> list[Any]:
    return [output async for output in desk.answer({"id": "j", "input": given})]


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
    desk = Desk(make_pipeline(ScriptedLLM(delay=5)), folder, deadline=1.5)
    with pytest.raises(DeadlineExceeded):
        await outputs(desk, ask(stream=stream))
    assert desk.busy == 0


async def test_a_failed_turn_is_noticed_and_a_bad_request_is_not(
    make_pipeline: MakePipeline, folder: Path
) -> None:
    noticed: list[int] = []
    llm = ScriptedLLM(fail_with=LLMError("down", retryable=True), fail_after=3)
    desk = Desk(make_pipeline(llm), folder, 60, notice=lambda: noticed.append(1))
    with pytest.raises(BadRequest):
        await outputs(desk, {"message": "hi"})
    assert not noticed
    llm.replies = ["She waits at the door. And then she goes."]
    [partial] = await outputs(desk, ask(respond_as="narrator"))
    assert partial["error"] is None and partial["meta"]["error"]["message"] == "down"
    llm.fail_after = 0
    with pytest.raises(LLMError):
        await outputs(desk, ask())
    assert len(noticed) == 2


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
    assert characters.names(folder / "missing") == []
    with pytest.raises(SettingsError, match=r"broken\.json"):
        characters.load("broken", folder)
