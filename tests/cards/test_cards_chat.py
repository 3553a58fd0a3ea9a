"""Chat logs become the history, and go back to JSONL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.chats.chat import Chat
from cards.chats.times import sent_at
from cards.chats.writing import to_jsonl
from cards.read import read_any
from schemas.base import embedding_id
from schemas.errors import BadRequest
from schemas.request import Message
from tests.cards.cards_support import unhurried

HEADER = {"user_name": "민준", "character_name": "세라", "create_date": "", "chat_metadata": {}}


def log(*lines: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in (HEADER, *lines)).encode()


def line(mes: str, **fields: Any) -> dict[str, Any]:
    return {"name": "세라", "is_user": False, "is_system": False, "mes": mes, "extra": {}, **fields}


def read(content: bytes | str, **names: Any) -> Chat:
    chat = read_any(content.encode() if isinstance(content, str) else content, **names)
    assert isinstance(chat, Chat)
    return chat


def short(messages: list[Message]) -> list[tuple[str, str | None, str]]:
    return [(message.role, message.name, message.content) for message in messages]


def test_a_log_gives_who_said_what_and_when() -> None:
    content = log(
        line("어서 와", swipes=["저리 가", "어서 와"], swipe_id=1, send_date=1_700_000_000_000),
        line("안녕", is_user=True, name="민준"),
        line("숨김", is_system=True),
        line("밤이 왔다.", extra={"type": "narrator"}, name="System"),
        line("", name="세라"),
        {"name": "세라", "is_user": False, "swipes": ["a", "b"], "swipe_id": 1},
    )
    messages = read(content).messages
    assert short(messages) == [
        ("character", "세라", "어서 와"),
        ("user", "민준", "안녕"),
        ("narrator", None, "밤이 왔다."),
        ("character", "세라", "b"),
    ]
    assert messages[0].timestamp == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "when"),
    [
        (1_700_000_000, "2023-11-14T22:13:20"),
        ("1700000000000", "2023-11-14T22:13:20"),
        ("2023-5-12 @21h 32m 29s 228ms", "2023-05-12T21:32:29.228"),
        ("2024-01-02@03h04m05s", "2024-01-02T03:04:05"),
        ("July 3, 2023 4:05pm", "2023-07-03T16:05:00"),
        ("2024-01-02T03:04:05.000Z", "2024-01-02T03:04:05"),
        (1_700_000_000_000_000, "2023-11-14T22:13:20"),
        ("Jan 02, 2024 03:04", "2024-01-02T03:04:00"),
        ("Tue Jan 02 2024 12:04:05 GMT+0900 (KST)", "2024-01-02T03:04:05"),
        ("Tue, 02 Jan 2024 03:04:05 GMT", "2024-01-02T03:04:05"),
    ],
)
def test_times_as_logs_write_them(sent: object, when: str) -> None:
    assert sent_at(sent) == datetime.fromisoformat(when).replace(tzinfo=UTC)


@pytest.mark.parametrize("sent", ["", "soon", None, 10**30, -1e300, True, [], "9" * 5000])
def test_other_times_are_left_out(sent: object) -> None:
    assert sent_at(sent) is None


@pytest.mark.parametrize("wrap", [None, "messages", "history"])
def test_plain_json(wrap: str | None) -> None:
    rows: Any = [
        {"role": "assistant", "content": "어서 와", "name": "세라"},
        {"role": "user", "content": "안녕", "id": "m2"},
        {"name": "민준", "text": "응"},
    ]
    messages = read(json.dumps({wrap: rows} if wrap else rows), user="민준").messages
    assert [m.role for m in messages] == ["character", "user", "user"]
    assert messages[1].id == "m2"


TEXT = """세라: 어서 와. 지금은 12:30이야
참고: 문은 열려 있어

**민준** : 안녕!
내레이터： 비가 온다.
세라: https://example.org
민준: 그래
"""


def test_text_with_names() -> None:
    assert short(read(TEXT).messages) == [
        ("character", "세라", "어서 와. 지금은 12:30이야\n참고: 문은 열려 있어"),
        ("user", "민준", "안녕!"),
        ("narrator", None, "비가 온다."),
        ("character", "세라", "https://example.org"),
        ("user", "민준", "그래"),
    ]
    turned = read(TEXT, user="세라", character="민준").messages
    assert [m.role for m in turned][:2] == ["user", "character"]


def test_a_time_at_a_line_start_is_no_speaker() -> None:
    text = "You: hi\n12:30 we meet\n12:45 we part\nMira: ok"
    messages = read(text, character="Mira").messages
    assert short(messages) == [
        ("user", "You", "hi\n12:30 we meet\n12:45 we part"),
        ("character", "Mira", "ok"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (log() + b"\n[1]", "damaged and left out: line 2"),
        (log(), "holds no messages"),
        (log(line("a", is_system=True)), "holds no messages"),
        ("그냥 글입니다".encode(), "Name: words"),
        ("세라: 안녕".encode("johab"), "UTF-8"),
        (b"[1]", "no character, lorebook or chat"),
        (b'{"a": 1}', "its keys are `a`"),
        (b'{"a": 1}\n{"b": 1}', "its keys are `a`"),
        (b'[{"role": "user", "body_text": "x", "at": 1}]', "keys are `role`, `body_text`, `at`"),
    ],
)
def test_what_is_no_chat_is_refused_in_a_line(content: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as refused:
        read(content)
    assert "\n" not in refused.value.message


WORDS = st.text(max_size=20).map(lambda t: t.encode("utf-8", "replace").decode()).filter(bool)
NAMES = st.none() | WORDS.map(lambda t: " ".join(t.split())).filter(bool)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["user", "character", "narrator", "system"]),
    content=WORDS,
    name=NAMES,
    id=st.none() | st.just("m1"),
    timestamp=st.none() | st.datetimes(timezones=st.just(UTC)),
)
NAMED = st.builds(
    lambda line, named: line.model_copy(
        update={"embedding_id": embedding_id(line.content) if named else None}
    ),
    MESSAGES,
    st.booleans(),
)


@unhurried
@given(st.lists(NAMED, min_size=1, max_size=5))
def test_to_jsonl_and_back_is_the_same(messages: list[Message]) -> None:
    saved = to_jsonl(messages, user="민준", character="세라")
    assert read(saved).messages == messages


def test_the_name_of_a_vector_goes_when_its_line_was_edited() -> None:
    line = Message(role="user", content="안녕", embedding_id=embedding_id("안녕"))
    saved = to_jsonl([line], user="민준", character="세라")
    assert read(saved).messages == [line]
    [edited] = read(saved.replace("안녕", "잘 가")).messages
    assert (edited.content, edited.embedding_id) == ("잘 가", None)


@unhurried
@given(st.binary(max_size=60) | st.text(st.sampled_from('세라:："[]{}*\n ,a1'), max_size=60))
def test_nothing_but_a_refusal_comes_of_noise(noise: bytes | str) -> None:
    content = noise if isinstance(noise, bytes) else noise.encode()
    try:
        read_any(content)
    except BadRequest as error:
        assert "\n" not in error.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
LINES = st.dictionaries(
    st.sampled_from(["name", "is_user", "is_system", "mes", "extra", "swipes", "swipe_id",
                     "send_date", "role", "content", "id", "timestamp"]), JSON)  # fmt: skip


@unhurried
@given(st.lists(LINES, max_size=3))
def test_any_line_is_read_or_refused(lines: list[dict[str, Any]]) -> None:
    for content in (log(*lines), json.dumps(lines).encode()):
        try:
            read_any(content)
        except BadRequest as error:
            assert "\n" not in error.message
