"""The standing memory: complete, in order, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index import PART_SIZE
from retrieval.text import parts
from schemas.base import digest
from schemas.request import Message
from stores.chat_log import Entry
from stores.chat_memory import CANDIDATES, REACH, TAKEN_OVER, StandingMemory
from stores.chat_order import (
    Remembered,
    identity_digest,
    placed,
    words_digest,
)
from stores.chroma import ChromaDatabase
from stores.word_index import Known
from tests.stores.stores_support import CountingEncoder, remembered, remembering, said, search

TEXT = st.text(min_size=1, max_size=30) | st.sampled_from(["-", "a-b", "\0", "../..", "'", "가"])


@pytest.fixture
def memory(database: ChromaDatabase) -> StandingMemory:
    return remembering(database)


def tell(
    memory: StandingMemory, messages: list[Message], user: str = "u", session: str = "s"
) -> int:
    return memory.remember(user, session, messages)


def words(memory: StandingMemory, user: str = "u", session: str = "s") -> list[str]:
    return [message.content for message in remembered(memory, user, session)]


def recall(memory: StandingMemory, question: str, history: Sequence[Message] = ()) -> list[str]:
    """What the ranking is given for a question."""
    asked = search(question, CountingEncoder(memory._encoder.dimension))
    return [it.content for it in memory.recall("u", "s", asked, history, question).messages]


def test_messages_come_back_whole_in_order_with_their_vectors(memory: StandingMemory) -> None:
    messages = [
        Message(role="user", content="비가 오네.", name="미나", id="m1"),
        Message(role="narrator", content="*The rain stops.*"),
        Message(
            role="character", content="알고 있어. 🙂", name="Nell", id="\0/'\"%",
            timestamp=datetime(2025, 10, 10, tzinfo=timezone(timedelta(hours=9))),
        ),
    ]  # fmt: skip
    messages[0].embedding_id = "sha1:" + "0" * 40
    assert tell(memory, messages[:2]) == 2
    assert tell(memory, messages) == 1
    assert remembered(memory) == messages  # the list's order comes before a timestamp
    found = memory.recall("u", "s", search("비", CountingEncoder()), [], "?")
    assert found.messages == tuple(messages)
    assert found.runs == (1, 1, 1)
    assert found.corpus.messages == 3
    assert memory._encoder.known([m.content for m in messages])[1].all(), "made by nobody again"


def test_an_unknown_chat_is_empty(memory: StandingMemory) -> None:
    assert recall(memory, "who?") == words(memory) == []
    assert memory.remember("u", "s", []) == 0


def test_remembering_twice_is_remembering_once(memory: StandingMemory) -> None:
    with_ids, without = said("a", "b"), said("c", "d", first=None)
    for _ in range(3):
        tell(memory, with_ids + without)
    assert words(memory) == ["a", "b", "c", "d"]
    assert tell(memory, without + with_ids) == 0


def test_an_edited_message_takes_the_old_ones_place(memory: StandingMemory) -> None:
    tell(memory, said("a", "b", "c"))
    assert tell(memory, said("B", first=1)) == 1
    assert words(memory) == ["a", "B", "c"]
    assert tell(memory, said("b", first=1)) == 1  # and back again
    assert words(memory) == ["a", "b", "c"]
    assert tell(memory, [*said("x", first=1), *said("b", first=1)]) == 1
    assert words(memory) == ["a", "b", "c"]


def test_a_message_that_gets_its_id_later_is_the_same_message(memory: StandingMemory) -> None:
    tell(memory, said("hello", "good evening", first=None))
    tell(memory, said("hello", "good evening", "so?"))  # as the backend sends it next time
    assert words(memory) == ["hello", "good evening", "so?"]
    assert [message.id for message in remembered(memory)] == ["m0", "m1", "m2"]
    assert tell(memory, said("so?", first=None)) == 0


def test_new_messages_come_last_though_the_clock_was_set_back(memory: StandingMemory) -> None:
    ahead = datetime.now(UTC) + timedelta(days=400)
    tell(memory, [Message(role="user", content="from the future", timestamp=ahead)])
    tell(memory, said("a", "b", first=None))
    tell(memory, said("c", first=None))
    assert words(memory) == ["from the future", "a", "b", "c"]


def test_an_older_part_of_the_chat_may_come_later(memory: StandingMemory) -> None:
    noon = datetime(2026, 1, 1, 12)  # no zone: UTC
    day = [
        Message(role="user", content=f"{minute}", timestamp=noon + timedelta(minutes=minute))
        for minute in range(6)
    ]
    tell(memory, day[3:])
    tell(memory, day[:3])
    assert words(memory) == list("012345")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 8), st.none() | st.datetimes()), max_size=8)))
def test_a_chat_told_in_one_piece_keeps_the_order_of_the_list(
    calls: list[list[tuple[int, datetime | None]]],
) -> None:
    stored: dict[bytes, Known] = {}
    for call in calls:
        messages = [
            Message(role="user", content=f"text {name}", id=f"m{name}", timestamp=at)
            for name, at in call
        ]
        newest = max((known.at for known in stored.values()), default=0)
        fresh = placed(messages, stored.values(), newest)
        assert all(place.instead_of is None for place in fresh)
        assert [place.at for place in fresh] == sorted({place.at for place in fresh})
        for place in fresh:
            message = messages[place.row]
            identity = identity_digest(message)
            assert identity not in stored
            stored[identity] = Known(
                len(stored), identity, words_digest(message), place.at, len(stored)
            )


def test_users_and_sessions_do_not_see_each_other(memory: StandingMemory) -> None:
    chats = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc", ""),
        ("", "abc"),
        ("bc", "a"),
        ("a", "b-c"),
        ("가", "나"),
    ]
    for user, session in chats:
        tell(memory, said(f"{user}|{session}"), user, session)
    for user, session in chats:
        assert words(memory, user, session) == [f"{user}|{session}"]
    memory.forget(*chats[0])
    assert [len(words(memory, *chat)) for chat in chats] == [0, 1, 1, 1, 1, 1, 1]


@settings(max_examples=300, deadline=None)
@given(st.tuples(TEXT, TEXT), st.tuples(TEXT, TEXT))
def test_names_of_collections_never_collide_and_hold_nothing_of_a_caller(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    memory = remembering(ChromaDatabase(url="http://127.0.0.1:1"))
    names = [memory._name(*chat) for chat in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    for name in names:
        assert set(name) <= set("chat-0123456789abcdef")
        assert 3 <= len(name) <= 512
    assert digest(*one) != digest("".join(one))


def test_ids_of_any_kind_reach_their_own_chat(memory: StandingMemory) -> None:
    hostile = ["x" * 200, "../../etc", "\0", "a\nb", "';--", "%s{0}", "🙂", "عربي", " ", "\ud800"]
    for name in hostile:
        tell(memory, said("mine"), name, name)
        assert words(memory, name, name) == ["mine"]
        assert memory.forget(name, name)


def test_forgetting_a_chat_is_one_call_and_it_is_gone(
    memory: StandingMemory, database: ChromaDatabase, folder: Path
) -> None:
    tell(memory, said("비밀 하나", "비밀 둘"))
    tell(memory, said("other"), session="s2")
    name = memory._name("u", "s")
    assert recall(memory, "비밀")
    assert memory.forget("u", "s") is True
    assert memory._words.corpus(name, ["비밀"]).found == {"비밀": 0}, "before the next recall"
    assert words(memory) == recall(memory, "비밀") == []
    assert database.state(name) is None
    assert memory.forget("u", "s") is False
    assert words(memory, session="s2") == ["other"]
    assert tell(memory, said("new life")) == 1
    assert words(memory) == ["new life"]


def test_forgetting_reaches_other_workers_and_other_embedders(database: ChromaDatabase) -> None:
    small, large = (remembering(database, CountingEncoder(size)) for size in (32, 64))
    worker = remembering(database, CountingEncoder(64))
    tell(small, said("a", "b"))
    tell(large, said("c", first=2))
    assert recall(worker, "a") == words(worker) == ["a", "b", "c"]
    assert large.forget("u", "s") is True
    for one in (small, large, worker, remembering(database, CountingEncoder(16))):
        assert recall(one, "a") == words(one) == []


def test_workers_see_what_the_others_wrote(database: ChromaDatabase) -> None:
    workers = [remembering(database) for _ in range(3)]
    for turn in range(6):
        tell(workers[turn % 3], said(f"question {turn}", f"answer {turn}", first=2 * turn))
        expected = [f"{kind} {past}" for past in range(turn + 1) for kind in ("question", "answer")]
        assert words(workers[0]) == expected
        assert [recall(worker, "answer") for worker in workers] == [expected] * 3


def test_a_worker_killed_before_it_removes_old_words_has_the_new_ones(
    database: ChromaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = remembering(database)
    tell(memory, said("a", "b"))
    monkeypatch.setattr(ChromaDatabase, "delete", lambda *_: None)
    tell(memory, said("A"))
    monkeypatch.undo()
    for worker in (memory, remembering(database)):
        assert recall(worker, "A") == ["A", "b"]


def test_two_that_write_to_one_place_lose_nothing(database: ChromaDatabase) -> None:
    one, other = remembering(database), remembering(database)
    tell(one, said("first", first=None))
    recall(other, "first")  # knows the end as it is now
    tell(one, said("of one", "x" * 1500, first=None))
    name = one._name("u", "s")
    text = "of the other " * 120
    item, cut = Remembered(message=said(text, first=None)[0], at=10**18), parts(text, PART_SIZE)
    vectors = CountingEncoder().encode_passages(cut)
    other._log.append(name, {"kind": "chat"}, [Entry(item, cut, vectors)])
    assert words(one) == ["first", "of one", "x" * 1500, text]
    assert recall(one, "of") == recall(other, "of") == words(one)
    ids = sorted(database.ids(name))
    assert ids == ["0", "1", "2", "2.1", "3", "3.1"], "each has its own later parts and no other's"


def test_a_new_embedder_embeds_the_memory_again_from_its_text(
    database: ChromaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    tell(remembering(database, CountingEncoder(64)), said("비밀 하나", "b"))
    new = remembering(database, CountingEncoder(32))
    assert recall(new, "비밀") == ["비밀 하나", "b"]
    (line,) = caplog.messages
    assert line == (
        "stores: a chat is remembered under another embedder or version; "
        "2 messages are embedded again"
    )


def test_a_first_turn_under_a_new_embedder_embeds_some_and_the_rest_follows(
    database: ChromaDatabase,
) -> None:
    lines = said(*(f"line {row}" for row in range(100)))
    tell(remembering(database, CountingEncoder(64)), lines)
    encoder = CountingEncoder(32)
    new = remembering(database, encoder)
    recall(new, "line 99")
    assert encoder.texts == TAKEN_OVER
    assert tell(new, said("and on", first=100)) == 1
    assert words(new) == [*(line.content for line in lines), "and on"]
    assert encoder.texts == 101


def test_what_the_first_version_wrote_is_taken_over(database: ChromaDatabase, folder: Path) -> None:
    """Rows by what they say, without a text of their own."""
    old, memory = digest(CountingEncoder().fingerprint, "1")[:16], remembering(database)
    database.put("ledger-embedders", old, {"number": 1})
    database.close()
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    name = f"chat-{digest('u', 's')}-{old}"
    chat = client.create_collection(name, embedding_function=None)
    for row, message in enumerate(said("비밀 하나", "b")):
        item = Remembered(message=message, at=row).model_dump_json(exclude={"written", "stamp"})
        chat.add([f"{row}-x"], np.ones((1, 64), np.float32), [{"item": item, "written": row}])
    assert recall(memory, "비밀") == ["비밀 하나", "b"]


def test_workers_with_two_embedders_lose_nothing_between_them(database: ChromaDatabase) -> None:
    """As while a new version is rolled out, or when it is rolled back."""
    for turn in range(4):
        memory = remembering(database, CountingEncoder((32, 64)[turn % 2]))
        tell(memory, said(f"{turn}", first=turn))
        assert words(memory) == [str(past) for past in range(turn + 1)]
    tell(remembering(database, CountingEncoder(32)), said("edited", first=3))
    last = remembering(database, CountingEncoder(64))
    tell(last, [])
    assert words(last) == ["0", "1", "2", "edited"]


def test_the_nearest_and_those_that_share_words_are_recalled_with_their_neighbours(
    memory: StandingMemory,
) -> None:
    lines = [f"filler number {row} about nothing" for row in range(600)]
    lines[100] = "The lighthouse keeper hides a brass telescope."
    tell(memory, said(*lines))
    asked = search("Who hides the telescope?", CountingEncoder())
    found = memory.recall("u", "s", asked, [], "?")
    texts = [message.content for message in found.messages]
    assert lines[98:103] == texts[texts.index(lines[98]) :][:5]
    assert len(texts) <= CANDIDATES * (2 * REACH + 1) < 600
    assert found.corpus.messages == 600
    assert found.corpus.found["telescop"] == 1
    runs = dict(zip(texts, found.runs, strict=True))
    assert len({runs[line] for line in lines[98:103]}) == 1
    rows = [(lines.index(text), run) for text, run in zip(texts, found.runs, strict=True)]
    apart = [(one, other) for one, other in pairwise(rows) if other[0] - one[0] > 1]
    assert apart and all(one[1] != other[1] for one, other in apart), "a gap ends a stretch"


def test_what_was_taken_back_is_not_recalled(memory: StandingMemory) -> None:
    chat = [
        Message(role=role, content=content)
        for role, content in [
            ("user", "a"), ("character", "A"), ("user", "b"), ("character", "B"),
        ]
    ]  # fmt: skip
    tell(memory, chat)
    assert recall(memory, "c") == ["a", "A", "b", "B"]
    assert recall(memory, "b") == ["a", "A"], "the reply to b is being generated anew"
    assert recall(memory, "c", chat[2:]) == ["a", "A"]
    assert recall(memory, "c", [chat[2]]) == ["a", "A"], "the second reply was deleted"
    assert recall(memory, "c", said("new", first=None)) == ["a", "A", "b", "B"]


def test_what_was_taken_back_takes_no_place_of_what_counts(memory: StandingMemory) -> None:
    lines = said(
        "The lighthouse keeper hides a brass telescope.",
        *(f"filler number {row} about nothing" for row in range(5)),
        "Go on.",
        *(f"telescope {row}" for row in range(100)),
    )
    tell(memory, lines)
    found = recall(memory, "telescope", lines[6:7])
    assert lines[0].content in found
    assert not {line.content for line in lines[6:]} & {*found}


def test_a_window_that_begins_with_a_common_line_does_not_hide_the_memory(
    memory: StandingMemory,
) -> None:
    chat = [
        Message(role=role, content=content)
        for row in range(10)
        for role, content in (
            ("user", "네." if row != 5 else "The compass lies under the floorboard."),
            ("character", f"reply {row}"),
        )
    ]
    tell(memory, chat)  # "네." is remembered once, at the chat's beginning
    found = recall(memory, "Where does the compass lie?", chat[-4:])
    assert "The compass lies under the floorboard." in found
    assert "reply 9" not in found


def test_of_lines_that_repeat_the_history_goes_on_from_the_right_one(
    memory: StandingMemory,
) -> None:
    chat = [
        Message(role="user" if row % 2 == 0 else "character", content=content)
        for row, content in enumerate(["네", "A", "네", "B", "네", "C", "네", "D"])
    ]
    for row, line in enumerate(chat):
        line.id = f"m{row}" if row % 3 else None
    tell(memory, chat)
    without = [line.model_copy(update={"id": None}) for line in chat]
    assert recall(memory, "다음", chat[4:]) == ["네", "A", "네", "B"]
    assert recall(memory, "다음", without[4:])[:2] == ["네", "A"]


def test_odd_texts_are_remembered(memory: StandingMemory) -> None:
    texts = ["", " ", "🙂" * 50, "나" * 100_000, "a\x00b", "عربي и 漢字"]
    tell(memory, said(*texts))
    assert words(memory) == texts
