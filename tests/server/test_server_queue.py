"""The queue's worker tells a failure in its stream as the server does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import handler as entry
from schemas.errors import LLMError
from tests.support import MakePipeline, RecordingLLM, ask
from worker.dispatch import Dispatcher


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("given", "code"), [(ask(), "llm"), ({"message": "x"}, "bad_request")], ids=["model", "request"]
)
async def test_a_stream_that_fails_ends_with_an_error_event(
    make_pipeline: MakePipeline,
    scripted: RecordingLLM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    code: str,
    stream: bool,
) -> None:
    scripted.fail_with = LLMError("the model is away", retryable=True)
    dispatcher = Dispatcher(make_pipeline(scripted), tmp_path, 60)
    monkeypatch.setattr(entry, "dispatcher", lambda: dispatcher)
    *events, last = [out async for out in entry.handler({"input": {**given, "stream": stream}})]
    assert isinstance(last, dict)
    failed = json.loads(last["error"])  # by which the platform reports the job as failed
    assert failed["code"] == code
    if stream:
        assert events[-1] == {"seq": len(events) - 1, "type": "error", **failed}
        assert not any(isinstance(it, dict) and it.get("error") for it in events), "goes through"
    else:
        assert not events
