"""The index of a chat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from retrieval.chat import ChatIndex
from retrieval.index import Passage
from schemas.request import ChatRequest, Message, Persona

TIMES = st.none() | st.integers(0, 3).map(
    lambda day: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["user", "character", "narrator", "system"]),
    content=st.sampled_from(["", " ", "네", "The ferry leaves at seven.", "배는 일곱 시에 떠나?"]),
    name=st.sampled_from([None, "미아"]),
    timestamp=TIMES,
)
CHATS = st.lists(MESSAGES, max_size=8)


def request(user: str | None = None) -> ChatRequest:
    return ChatRequest(message="?", persona=Persona(name="하루"), user_name=user)


@given(CHATS, st.integers(0, 8), CHATS, st.sampled_from([None, "Jon"]))
def test_whatever_was_read_before_it_holds_what_it_reads_now(
    before: list[Message], kept: int, new: list[Message], user: str | None
) -> None:
    now = [line.model_copy() for line in before[:kept]] + new
    index, fresh = ChatIndex(), ChatIndex()
    for length in range(len(before) + 1):  # message by message
        index.read(before[:length], request())
    index.read(now, request(user))
    fresh.read(now, request(user))
    assert index.passages == fresh.passages
    assert index.parts == fresh.parts
    assert [passage.text for passage in index.passages] == [line.content for line in now]
    for seen in (), now[:2]:
        assert index.recallable(seen).tolist() == fresh.recallable(seen).tolist()


def test_who_said_it_and_in_which_scene() -> None:
    day = datetime(2026, 1, 1, 10, tzinfo=UTC)
    lines = [
        Message(role="user", content="a", timestamp=day),
        Message(role="character", content="b", id="x"),
        Message(role="narrator", content="c", timestamp=day + timedelta(days=1)),
        Message(role="character", content="d", name="미아"),
    ]
    index = ChatIndex()
    index.read(lines[:2], request("Jon"))
    index.read(lines, request("Jon"))
    assert index.passages == [
        Passage("", "a", "Jon", "0"),
        Passage("x", "b", "하루", "0"),
        Passage("", "c", "Narrator", "1"),
        Passage("", "d", "미아", "1"),
    ]


@given(CHATS, CHATS)
def test_the_scene_after_some_lines_is_that_of_the_last(
    before: list[Message], lines: list[Message]
) -> None:
    index, whole = ChatIndex(), ChatIndex()
    index.read(before, request())
    whole.read([*before, *lines], request())
    assert index.scene_after(lines) == (whole.passages[-1].scene if len(whole) else "0")


def test_what_it_knows_is_not_made_anew() -> None:
    lines = [Message(role="user", content=text) for text in ("a", "b", "c")]
    index = ChatIndex()
    index.read(lines[:2], request())
    first = index.passages[0]
    index.read([line.model_copy() for line in lines], request())
    assert index.passages[0] is first
    dated = {"timestamp": datetime(2026, 1, 1)}
    index.read([line.model_copy(update=dated) for line in lines], request("User"))
    assert index.passages[0] is first, "it says the same"


def test_what_may_be_recalled() -> None:
    lines = [Message(role="user", content=text) for text in ("네", " ", "싫어", "네")]
    index = ChatIndex()
    index.read([*lines, Message(role="system", content="(pause)")], request())
    assert index.recallable(()).tolist() == [True, False, True, True, False]
    assert index.recallable(lines[:1]).tolist() == [False, False, True, False, False]
