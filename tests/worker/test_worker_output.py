"""The way out: JSON, sizes, errors, and what the log may hold."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.logs import Discreet
from schemas.errors import BadRequest, LLMError, TooLarge
from worker.output import EVENT_BYTES, JOB_BYTES, OutputCheck, failure, json_size, shortened

TEXT = st.text(st.characters(codec=None, categories=None))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


@given(VALUES)
def test_what_passes_is_strict_json_in_utf8(value: Any) -> None:
    passed = OutputCheck().checked({"type": "x", "value": value})
    text = json.dumps(passed, allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")


def test_what_is_json_passes_as_it_is() -> None:
    output = {"text": "안녕 👋", "score": 0.5, "none": None}
    assert OutputCheck().checked(output) is output
    assert OutputCheck().checked({"a": float("nan"), "b": "x\ud83d"}) == {"a": None, "b": "x\ufffd"}


@pytest.mark.parametrize("value", [{1, 2}, b"x", object()])
def test_what_is_no_json_is_our_fault(value: object) -> None:
    with pytest.raises(TypeError):
        OutputCheck().checked({"value": value})


def test_sizes_are_the_platforms() -> None:
    with pytest.raises(TooLarge, match="1 MB"):
        OutputCheck().checked({"text": "가" * (EVENT_BYTES // 3 + 1)})
    check, part = OutputCheck(), {"text": "x" * (EVENT_BYTES - 1000)}
    with pytest.raises(TooLarge, match="10 MB"):
        for _ in range(JOB_BYTES // EVENT_BYTES + 1):
            check.checked(part)


def test_the_last_byte_of_a_job_may_leave_and_none_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.output.JOB_BYTES", 20)
    first, second = "x" * 6, "x" * 7  # two quotation marks, and two bytes between events
    check = OutputCheck()
    assert check.checked(first) == check.checked(first)
    with pytest.raises(TooLarge):
        [check := OutputCheck(), check.checked(first), check.checked(second)]


def test_known_errors_keep_their_words_and_unknown_ones_a_reference(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = failure(BadRequest("is required", field="persona"))
    assert told == {
        "code": "bad_request",
        "message": "persona: is required",
        "field": "persona",
        "retryable": False,
    }
    assert failure(LLMError("down", retryable=True))["retryable"] is True
    with caplog.at_level(logging.ERROR):
        told = failure(RuntimeError("/home/x: user said 안녕"))
    assert told["code"] == "internal" and "안녕" not in told["message"]
    reference = told["message"].split()[-1]
    assert reference in caplog.text


@given(TEXT)
def test_a_field_of_any_name_can_be_told(name: str) -> None:
    told = failure(BadRequest("unknown field", field=name))
    json.dumps(told, ensure_ascii=False).encode("utf-8")


def test_a_response_that_is_too_large_loses_its_extras_first() -> None:
    item = {"id": "m", "source": "chat", "text": "밤" * 100_000, "used": True}
    response: dict[str, Any] = {
        "response_contents": [{"text": "안녕"}],
        "retrieved": [item] * 5,
        "meta": {"prompt": {"text": "x" * 100_000, "tokens": 3}, "reply": {}, "request": {"a": 1}},
    }
    small = shortened(response, limit=10_000)
    assert (json_size(small) or 0) <= 10_000
    assert small["response_contents"] == response["response_contents"]
    assert len(small["retrieved"]) == 5 and len(small["retrieved"][0]["text"]) == 500
    assert small["meta"]["prompt"] == {"tokens": 3} and small["meta"]["request"] == {"a": 1}
    assert small["meta"]["left_out"] == ["meta.prompt.text", "retrieved.text beyond 500 characters"]
    assert len(response["retrieved"][0]["text"]) == 100_000, "the original is left alone"
    tiny = shortened(response, limit=300)
    assert tiny["retrieved"] == [] and tiny["response_contents"]
    assert shortened(response, limit=10**7) is response


def test_the_log_tells_where_and_not_what() -> None:
    try:
        try:
            raise ValueError("the user wrote: 비밀")
        except ValueError as error:
            raise RuntimeError("sk-key-1234") from error
    except RuntimeError as error:
        record = logging.LogRecord(
            "graph.x", logging.ERROR, "x", 1, "failed with %s", ("sk-key-1234",),
            (type(error), error, error.__traceback__),
        )  # fmt: skip
    text = Discreet(["sk-key-1234", ""]).format(record)
    assert "비밀" not in text and "sk-key-1234" not in text and "failed with ***" in text
    assert "builtins.ValueError" in text and "in test_the_log_tells_where_and_not_what" in text
