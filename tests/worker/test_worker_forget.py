"""Deleting a chat's memory is one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BadRequest
from tests.support import MakePipeline, ask
from worker.dispatch import Dispatcher

CHAT = {"user_id": "mina", "session_id": "s1"}


async def outputs(dispatcher: Dispatcher, **job: Any) -> list[Any]:
    return [output async for output in dispatcher.answer({"input": job})]


async def test_a_job_forgets_a_chat(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    dispatcher = Dispatcher(make_pipeline(standing_memory=True), tmp_path, 30)
    await outputs(dispatcher, **ask("내 비밀번호는 4711이야", **CHAT))
    await dispatcher.pipeline.drain()
    assert await outputs(dispatcher, route="/forget", body=CHAT) == [{"forgotten": True}]
    assert await outputs(dispatcher, route="/forget", body=CHAT) == [{"forgotten": False}]


async def test_a_chat_that_is_not_named_is_not_forgotten(
    make_pipeline: MakePipeline, tmp_path: Path
) -> None:
    dispatcher = Dispatcher(make_pipeline(standing_memory=True), tmp_path, 30)
    for body in (None, {}, {"user_id": "mina"}, {"user_id": "mina", "session_id": ""}):
        with pytest.raises(BadRequest):
            await outputs(dispatcher, route="/forget", body=body)
