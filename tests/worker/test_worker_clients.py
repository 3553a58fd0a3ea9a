"""The public clients, against a worker behind the platform's routes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.support import ask
from tests.worker.job_server import JobServer

LINE: Any = {"role": "user", "content": "KOREAN 안녕하세요?"}
SAID = "*고개를 끄덕인다.* 안녕하세요, 여행자님."


@pytest.fixture
def endpoint(jobs: JobServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(os.environ, "RUNPOD_LOG_LEVEL", "INFO")
    import runpod

    monkeypatch.setattr(runpod, "endpoint_url_base", jobs.base)
    return runpod.Endpoint("ep", api_key="client-key")


def test_runpods_client_gets_the_result(endpoint: Any) -> None:
    [response] = endpoint.run_sync({"input": ask("KOREAN 안녕하세요?")}, timeout=20)
    assert "".join(piece["text"] for piece in response["response_contents"]) == SAID


def test_runpods_client_gets_the_stream(endpoint: Any) -> None:
    run = endpoint.run({"input": ask("KOREAN 안녕하세요?", stream=True)})
    events = list(run.stream())
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert "".join(event["text"] for event in events if event["type"] == "token") == SAID
    assert events[-1]["type"] == "final" and run.output() == events


@pytest.fixture
def openai(jobs: JobServer) -> Any:
    from openai import OpenAI

    with OpenAI(base_url=f"{jobs.base}/ep/openai/v1", api_key="k", max_retries=0) as client:
        yield client


def test_openais_client_lists_characters_and_models(openai: Any) -> None:
    assert [model.id for model in openai.models.list()] == ["마라", "test/model", "iyagi"]


def test_openais_client_talks_to_a_named_character(openai: Any) -> None:
    answer = openai.chat.completions.create(
        model="마라", messages=[LINE], temperature=0.5, max_tokens=50, user="u1"
    )
    [choice] = answer.choices
    assert choice.message.content == SAID and choice.finish_reason == "stop"
    assert answer.usage.total_tokens > 0
    assert answer.iyagi["response_contents"][0]["speaker"] == "마라"


def test_openais_client_streams_with_a_persona_of_its_own(openai: Any) -> None:
    stream = openai.chat.completions.create(
        model="test/model",
        messages=[{"role": "assistant", "content": "어서 오세요."}, LINE],
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"persona": {"name": "하늘"}, "respond_as": "character", "top_k": 40},
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == SAID
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens > 0 and not chunks[-1].choices


def test_openais_client_is_told_what_is_wrong(openai: Any) -> None:
    import openai as package

    with pytest.raises(package.BadRequestError, match="no such model or character"):
        openai.chat.completions.create(model="nobody", messages=[LINE])


@pytest.mark.parametrize(
    ("words", "said"), [("it REFUSES", ""), ("it BREAKS off", "She waits at the door. And then")]
)
def test_openais_client_is_told_of_a_failure_in_the_stream(
    openai: Any, words: str, said: str
) -> None:
    import openai as package

    line: Any = {"role": "user", "content": words}
    stream = openai.chat.completions.create(model="마라", messages=[line], stream=True)
    if not said:
        with pytest.raises(package.APIError, match="LLM server refuses"):
            list(stream)
        return
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).startswith(said)
    assert chunks[-1].choices[0].finish_reason == "error"
