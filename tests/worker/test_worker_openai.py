"""OpenAI's shape to a ChatRequest and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from graph.pipeline import read_request
from schemas.errors import BadRequest
from schemas.request import ChatRequest, Persona
from worker import openai_api
from worker.characters import Character


def character(name: str) -> Character:
    if name != "마라":
        raise BadRequest("no such character", field="model")
    return Character(Persona(name="마라"), [])


def read(**body: Any) -> dict[str, Any]:
    asked = openai_api.read_completion({"model": "마라", **body})
    return openai_api.chat_request(asked, ["test/model"], character)


USER = {"role": "user", "content": "안녕?"}


def test_messages_become_history_and_message() -> None:
    payload = read(
        messages=[
            {"role": "system", "content": "밤이다."},
            {"role": "user", "name": "민", "content": [{"type": "text", "text": "거기"}]},
            {"role": "assistant", "content": "네."},
            {"role": "assistant", "name": "narrator", "content": "문이 열린다."},
            {**USER, "name": "민"},
        ],
        temperature=0.7, max_tokens=9, stop="###", seed=1, user="u", min_p=0.1, story_position=3,
        frequency_penalty=0.0, top_p=None,
    )  # fmt: skip
    request = read_request(payload)
    roles = [message.role for message in request.history]
    assert roles == ["system", "user", "character", "narrator"]
    assert request.message == "안녕?" and request.history[1].content == "거기"
    assert request.user_name == "민" and request.user_id == "u" and request.story_position == 3
    assert request.persona.name == "마라" and request.model.name is None
    gen = request.gen.model_dump(exclude_none=True)
    assert gen == {
        "temperature": 0.7, "max_new_tokens": 9, "stop": ["###"], "seed": 1, "min_p": 0.1
    }  # fmt: skip


VALUES: dict[str, Any] = {
    "persona": {"name": "하늘"}, "story": [{"id": "a", "order": 1, "text": "b"}], "meta": {"a": 1},
    "respond_as": "narrator", "chat_rag_config": {"recency": 0.5}, "story_rag_config": {"top_k": 2},
    "narrator_plays_people": True, "story_position": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted(ChatRequest.model_fields.keys() - {"message", "history", "model", "gen"})
)
def test_every_field_of_a_request_can_stand_beside_openais(name: str) -> None:
    value, extra = VALUES.get(name, "x"), {} if name == "persona" else {"model": "마라"}
    body = {"model": openai_api.ANY_MODEL, "messages": [USER], **extra, name: value}
    plain = ChatRequest.model_validate(
        {"message": "안녕?", "persona": {"name": "마라"}, name: value}
    )
    request = read_request(read(**body))
    assert getattr(request, name) == getattr(plain, name)


@pytest.mark.parametrize("name", ["message", "history", "gen"])
def test_what_openai_has_words_for_is_refused_in_ours(name: str) -> None:
    with pytest.raises(BadRequest, match=f"^{name}: unknown field"):
        read(messages=[USER], **{name: "x"})


def test_the_model_is_chosen_where_a_persona_is_sent() -> None:
    mine = {"persona": {"name": "하늘"}, "messages": [USER]}
    assert read(model="test/model", **mine)["model"] == {"name": "test/model"}
    assert "model" not in read(model=openai_api.ANY_MODEL, **mine)
    with pytest.raises(BadRequest, match=r"^model: .*choose among: iyagi, test/model"):
        read(model="other", **mine)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "messages: is required"),
        ({"messages": []}, "messages: "),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role: the last"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "not text"),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "half of a character"),
        ({"messages": [USER], "tools": [{}]}, "tools: "),
        ({"messages": [USER], "tols": []}, "tols: unknown field"),
        ({"messages": [USER], "n": 2}, "n: "),
        ({"messages": [USER], "model": "x" * 300}, "model: "),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(body: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**body)
    assert told in refused.value.message


RESPONSE = {
    "response_contents": [{"text": "*끄덕* "}, {"text": "네."}],
    "model_info": {"finish_reason": "length"},
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached_tokens": None},
}


def test_a_response_as_a_completion() -> None:
    answer = openai_api.completion(RESPONSE, "마라")
    [choice] = answer["choices"]
    assert choice["message"]["content"] == "*끄덕* 네." and choice["finish_reason"] == "length"
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert answer["iyagi"] is RESPONSE and answer["model"] == "마라"


async def test_events_as_server_sent_events() -> None:
    async def events() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "status", "step": "embed"}
        yield {"type": "token", "text": "네\n\n."}
        yield {"type": "final", "response": RESPONSE}

    stream = openai_api.completion_stream(events(), "마라", include_usage=True)
    texts = [text async for text in stream]
    assert all(text.startswith("data: ") and text.endswith("\n\n") for text in texts)
    assert all(text.count("\n") == 2 for text in texts), "a blank line would end an event"
    assert texts[-1] == "data: [DONE]\n\n"
    first, delta, end, usage = (json.loads(text[6:]) for text in texts[:-1])
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert delta["choices"][0]["delta"]["content"] == "네\n\n."
    assert end["choices"][0]["finish_reason"] == "length" and end["iyagi"] == RESPONSE
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 3
    assert len({chunk["id"] for chunk in (first, delta, end, usage)}) == 1


def test_an_error_as_openai_tells_it() -> None:
    error = {"code": "bad_request", "message": "no", "field": "model", "retryable": False}
    told = json.loads(openai_api.error_event(error)[6:])["error"]
    assert told["param"] == "model" and told["type"] == "invalid_request_error"
