"""A chat as passages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from retrieval.chat import chat_passages, recallable, scenes
from retrieval.index import Index, Passage
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
    index = Index()
    for length in range(len(before) + 1):  # message by message
        index.update(chat_passages(before[:length], request()))
    index.update(chat_passages(now, request(user)))
    fresh = Index(chat_passages(now, request(user)))
    assert index.passages == fresh.passages
    assert index.parts == fresh.parts
    assert [passage.text for passage in index.passages] == [line.content for line in now]


def test_who_said_it_and_in_which_scene() -> None:
    day = datetime(2026, 1, 1, 10, tzinfo=UTC)
    lines = [
        Message(role="user", content="a", timestamp=day),
        Message(role="character", content="b", id="x"),
        Message(role="narrator", content="c", timestamp=day + timedelta(days=1)),
        Message(role="character", content="d", name="미아"),
    ]
    assert chat_passages(lines, request("Jon")) == [
        Passage("", "a", "Jon", "0"),
        Passage("x", "b", "하루", "0"),
        Passage("", "c", "Narrator", "1"),
        Passage("", "d", "미아", "1"),
    ]
    apart = chat_passages(lines, request("Jon"), runs=[0, 0, 3, 4])
    assert [passage.scene for passage in apart] == ["0.0", "0.0", "3.1", "4.1"]


@given(CHATS, CHATS)
def test_what_is_said_next_moves_no_scene(before: list[Message], lines: list[Message]) -> None:
    assert scenes([*before, *lines])[: len(before)] == scenes(before)


def test_what_it_knows_is_not_made_anew() -> None:
    lines = [Message(role="user", content=text) for text in ("a", "b", "c")]
    index = Index(chat_passages(lines[:2], request()))
    dated = {"timestamp": datetime(2026, 1, 1)}
    same = [line.model_copy(update=dated) for line in lines]
    assert index.update(chat_passages(same, request("User"))) == 2, "it says the same"


def test_what_may_be_recalled() -> None:
    lines = [Message(role="user", content=text) for text in ("네", " ", "싫어", "네")]
    lines.append(Message(role="system", content="(pause)"))
    assert recallable(lines, ()).tolist() == [True, False, True, True, False]
    assert recallable(lines, lines[:1]).tolist() == [False, False, True, False, False]
