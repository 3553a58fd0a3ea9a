from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.pipeline import read_request
from schemas.base import embedding_id
from schemas.errors import BadRequest
from schemas.request import MAX_HISTORY, ChatRequest, StoryEvent

PERSONA = {"name": "하늘"}


def request(**changes: Any) -> dict[str, Any]:
    return {"message": "안녕?", "persona": PERSONA, **changes}


def event(**changes: Any) -> dict[str, Any]:
    return {"id": "e1", "order": 1, "text": "The bridge falls.", **changes}


@pytest.mark.parametrize(
    ("payload", "field", "cure"),
    [
        ([], "input", "JSON object"),
        ({"message": "hi"}, "persona", "add it"),
        (request(message=" \n"), "message", "/continue"),
        (request(message="a" * 200_000), "message", "20,000"),
        (request(message="\ud83d"), "message", "valid Unicode"),
        (request(persona={"name": "a\nb"}), "persona.name", "one line"),
        (request(persona={"name": "x", "naem": "y"}), "persona.naem", "did you mean 'name'"),
        (request(top_p=1), "top_p", "known are"),
        (request(history=[{"role": "bot", "content": "x"}]), "history.0.role", "'narrator'"),
        (request(history=[{"role": "user", "content": "\udc00"}]), "history.0.content", "Unicode"),
        (
            request(history=[{"role": "user", "content": "x"}] * (MAX_HISTORY + 1)),
            "history",
            "10,000",
        ),
        (request(gen={"temperature": math.nan}), "gen.temperature", "finite"),
        (request(gen={"top_p": 0}), "gen.top_p", "greater than 0"),
        (request(story=[event(), event()]), "story", "give each its own"),
        (request(meta={"x": math.inf}), "meta", "JSON"),
        (request(meta={"x": "\ud800"}), "meta", "JSON"),
        (request(model={"name": "m", "base_url": "http://h"}), "model.base_url", "unknown field"),
        (
            request(history=[{"role": "user", "content": "x", "embedding_id": "sha1:zz"}]),
            "history.0.embedding_id",
            "pattern",
        ),
    ],
)
def test_refusals_name_the_field_and_the_cure(payload: object, field: str, cure: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        read_request(payload)
    assert refusal.value.field == field
    assert refusal.value.message.startswith(field)
    assert cure in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_refusal_never_repeats_what_the_user_wrote() -> None:
    with pytest.raises(BadRequest) as refusal:
        read_request(request(history=[{"role": "my secret", "content": "another secret"}]))
    assert "secret" not in refusal.value.message


def test_unknown_fields_are_welcome_inside_meta_and_extensions() -> None:
    read = read_request(
        request(meta={"a": {"b": 1}}, persona={"name": "x", "extensions": {"c": [1]}})
    )
    assert read.meta == {"a": {"b": 1}}
    assert read.persona.extensions == {"c": [1]}


@pytest.mark.parametrize(
    ("given_fields", "expected"),
    [
        ({}, "public"),
        ({"characters": ["미르"]}, "witnessed"),
        ({"characters": ["미르"], "visibility": "public"}, "public"),
        ({"visibility": "secret"}, "secret"),
    ],
)
def test_visibility_defaults_to_who_is_named(given_fields: dict[str, Any], expected: str) -> None:
    assert StoryEvent.model_validate(event(**given_fields)).visibility == expected


def test_an_embedding_id_is_the_sha1_of_the_text() -> None:
    # the well-known SHA-1 of the three letters "abc" (FIPS 180-4, example 1)
    assert embedding_id("abc") == "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"


def test_an_embedding_id_is_that_of_its_message() -> None:
    line = {"role": "user", "content": "abc", "embedding_id": embedding_id("abc")}
    assert read_request(request(history=[line])).history[0].embedding_id == embedding_id("abc")
    with pytest.raises(BadRequest, match=r"history: message 1 has the embedding_id of another"):
        read_request(request(history=[line, {**line, "content": "abd"}]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
FIELDS = st.sampled_from([*sorted(ChatRequest.model_fields), "extra", ""])


@given(st.dictionaries(FIELDS, JSON) | JSON)
def test_any_json_is_either_read_or_refused_in_one_line(payload: object) -> None:
    try:
        read = read_request(payload)
    except BadRequest as refusal:
        assert refusal.message and "\n" not in refusal.message
    else:
        json.dumps(read.model_dump(mode="json"), allow_nan=False).encode()


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_any_text_that_can_be_encoded_is_taken_as_it_is(text: str) -> None:
    if text.strip():
        assert read_request(request(message=text)).message == text
