"""Answers in the shapes that OpenAI's clients read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from openai_api import answer

RESPONSE = {
    "responded_as": "character",
    "response_contents": [{"text": "*끄덕* "}, {"text": "네."}],
    "model_info": {"finish_reason": "length"},
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached_tokens": None},
}
PLAIN = {"text": "A title", "finish_reason": "stop", "usage": {**RESPONSE["usage"]}}  # type: ignore[dict-item]


def test_a_response_as_a_completion() -> None:
    told = answer.completion([RESPONSE], "마라")
    [choice] = told["choices"]
    assert choice["message"] == {"role": "assistant", "content": "*끄덕* 네.", "refusal": None}
    assert choice["finish_reason"] == "length" and choice["index"] == 0
    assert told["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert told["iyagi"] is RESPONSE and told["model"] == "마라"
    narrated = answer.completion([{**RESPONSE, "responded_as": "narrator"}], "마라")
    assert narrated["choices"][0]["message"]["name"] == "narrator"


def test_several_responses_are_several_choices() -> None:
    told = answer.completion([RESPONSE, PLAIN], "마라")
    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    assert told["choices"][1]["message"]["content"] == "A title"
    assert told["usage"]["total_tokens"] == 6


def test_a_text_completion_has_texts() -> None:
    told = answer.completion([PLAIN], "m", ["Once: "])
    assert told["object"] == "text_completion" and told["id"].startswith("cmpl-")
    assert told["choices"][0]["text"] == "Once: A title" and "iyagi" not in told


async def events() -> AsyncIterator[tuple[int, dict[str, Any]]]:
    yield 0, {"type": "status", "step": "embed"}
    yield 1, {"type": "token", "text": "네\n\n."}
    yield 1, {"type": "final", "response": RESPONSE}
    yield 0, {"type": "final", "response": PLAIN}


async def test_events_as_server_sent_events() -> None:
    stream = answer.chunks(events(), "마라", choices=2, include_usage=True)
    texts = [text async for text in stream]
    assert all(text.startswith("data: ") and text.endswith("\n\n") for text in texts)
    assert all(text.count("\n") == 2 for text in texts), "a blank line would end an event"
    assert texts[-1] == answer.DONE
    first, second, delta, end, other, usage = (json.loads(text[6:]) for text in texts[:-1])
    assert [chunk["choices"][0]["index"] for chunk in (first, second)] == [0, 1]
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert delta["choices"][0]["delta"] == {"content": "네\n\n."}
    assert delta["choices"][0]["index"] == 1
    assert end["choices"][0]["finish_reason"] == "length" and end["iyagi"] == RESPONSE
    assert other["choices"][0]["index"] == 0 and "iyagi" not in other
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 6
    assert len({chunk["id"] for chunk in (first, second, delta, end, other, usage)}) == 1
    assert first["object"] == "chat.completion.chunk"


async def test_events_of_texts() -> None:
    stream = answer.chunks(events(), "m", choices=2, prompts=["a", ""])
    told = [json.loads(text[6:]) async for text in stream if text != answer.DONE]
    assert {chunk["object"] for chunk in told} == {"text_completion"}
    assert [chunk["choices"][0]["text"] for chunk in told] == ["a", "네\n\n.", "", ""]


def test_an_error_as_openai_tells_it() -> None:
    error = {"code": "bad_request", "message": "no", "field": "model", "retryable": False}
    told = json.loads(answer.error_event(error)[6:])["error"]
    assert told["param"] == "model" and told["type"] == "invalid_request_error"


def test_a_list_of_models() -> None:
    told = answer.model_list([answer.model_entry("a", "Ahoy."), answer.model_entry("b")])
    assert [entry["id"] for entry in told["data"]] == ["a", "b"]
    assert told["data"][0]["greeting"] == "Ahoy." and "greeting" not in told["data"][1]
