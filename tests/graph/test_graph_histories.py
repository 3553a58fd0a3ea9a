"""Messages that are taken over from a chat's last request."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from graph.histories import Histories
from schemas.request import ChatRequest
from tests.support import ask

LINES: list[dict[str, Any]] = [
    {"role": "user", "content": "안녕?", "id": "1"},
    {"role": "character", "content": "Hello.", "timestamp": "2025-01-01T00:00:00Z"},
    {"role": "user", "content": "Is it raining?"},
]


def chat(*lines: dict[str, Any], session: str | None = "s", **fields: Any) -> dict[str, Any]:
    return ask(history=copy.deepcopy([*lines]), session_id=session, **fields)


@pytest.mark.parametrize("session", ["s", None])
def test_a_chat_that_grows_keeps_its_messages(session: str | None) -> None:
    histories = Histories()
    first = histories.request(chat(*LINES[:2], session=session))
    payload = chat(*LINES, session=session)
    second = histories.request(payload)
    assert second == ChatRequest.model_validate(payload)
    assert [a is b for a, b in zip(first.history, second.history, strict=False)] == [True, True]


def test_an_edited_line_and_all_behind_it_are_read_anew() -> None:
    histories = Histories()
    first = histories.request(chat(*LINES))
    payload = chat(LINES[0], {**LINES[1], "content": "Good night."}, LINES[2])
    second = histories.request(payload)
    assert second == ChatRequest.model_validate(payload)
    same = [a is b for a, b in zip(first.history, second.history, strict=True)]
    assert same == [True, False, False]


def test_a_caller_that_changes_its_own_lines_is_heard() -> None:
    histories = Histories()
    payload = chat(*LINES)
    histories.request(payload)
    payload["history"][1]["content"] = "Good night."
    assert histories.request(payload).history[1].content == "Good night."


def test_another_chat_under_the_same_key_gets_its_own_messages() -> None:
    histories = Histories()
    histories.request(chat(*LINES, user_id="u"))
    other = chat({"role": "user", "content": "Mine."}, user_id="u")
    assert histories.request(other) == ChatRequest.model_validate(other)


@pytest.mark.parametrize(
    "history",
    [[*LINES, {"role": "nobody", "content": "x"}], [*LINES, 5], [*LINES[:2], [LINES]], "text",
     [{"role": "user", "content": ["x"]}], [{"role": "user", "content": "\ud83d"}], [None]],
)  # fmt: skip
@pytest.mark.parametrize("session", ["s", None, 7, ["x"]])
def test_what_is_wrong_is_refused_at_its_place(history: Any, session: Any) -> None:
    histories = Histories()
    histories.request(chat(*LINES))
    payload = {**chat(session=session), "history": history}
    with pytest.raises(ValidationError) as plain:
        ChatRequest.model_validate(payload)
    with pytest.raises(ValidationError) as known:
        histories.request(payload)
    assert known.value.errors(include_url=False) == plain.value.errors(include_url=False)


def test_the_oldest_chats_go_and_the_forgotten_too() -> None:
    histories = Histories(messages=5)
    kept = {name: histories.request(chat(*LINES, session=name)) for name in ("a", "b")}
    again = {name: histories.request(chat(*LINES, session=name)) for name in ("b", "a")}
    assert again["b"].history[0] is kept["b"].history[0]
    assert again["a"].history[0] is not kept["a"].history[0]
    assert histories.request(chat(*LINES, session="a")).history[0] is again["a"].history[0]
    histories.forget("", "a")
    assert histories.request(chat(*LINES, session="a")).history[0] is not again["a"].history[0]
