"""The standing memory: complete, in order, and nobody else's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import StoreError
from schemas.request import Message
from stores.chat_memory import StandingMemory
from stores.chat_order import Remembered, message_identity, placed
from stores.chroma import ChromaDatabase
from stores.rows import Rows, digest, row_id
from tests.stores.stores_support import CountingEncoder, said

TEXT = st.text(min_size=1, max_size=30) | st.sampled_from(["-", "a-b", "\0", "../..", "'", "가"])


@pytest.fixture
def memory(database: ChromaDatabase) -> StandingMemory:
    return StandingMemory(database, CountingEncoder())


def tell(
    memory: StandingMemory, messages: list[Message], user: str = "u", session: str = "s"
) -> int:
    """Remembers messages with their vectors."""
    vectors = CountingEncoder(memory._encoder.dimension).encode_passages(
        [message.content for message in messages]
    )
    return memory.remember(user, session, messages, vectors)


def words(memory: StandingMemory, user: str = "u", session: str = "s") -> list[str]:
    return [message.content for message in memory.load(user, session).messages]


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
    found = memory.load("u", "s")
    assert found.messages == tuple(messages)  # the list's order comes before a timestamp
    expected = CountingEncoder().encode_passages([m.content for m in found.messages])
    assert np.allclose(found.vectors, expected, atol=1e-5)
    assert found.vectors.dtype == np.float32


def test_an_unknown_chat_is_empty(memory: StandingMemory) -> None:
    assert memory.load("u", "s").messages == ()
    assert memory.load("u", "s").vectors.shape == (0, 64)
    assert memory.remember("u", "s", [], np.empty((0, 64), np.float32)) == 0


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
    assert [message.id for message in memory.load("u", "s").messages] == ["m0", "m1", "m2"]
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
    stored: Rows[Remembered] = Rows((), (), (), np.empty((0, 1)))
    for call in calls:
        messages = [
            Message(role="user", content=f"text {name}", id=f"m{name}", timestamp=at)
            for name, at in call
        ]
        before = set(stored.ids)
        fresh, superseded = placed(messages, stored)
        assert superseded == []
        new = [item for _, _, item in fresh]
        assert [item.at for item in new] == sorted({item.at for item in new})
        assert {id for _, id, _ in fresh}.isdisjoint(before)
        stored = Rows(
            ids=stored.ids + tuple(id for _, id, _ in fresh),
            items=stored.items + tuple(new),
            written=stored.written + tuple(range(len(before), len(before) + len(new))),
            vectors=np.zeros((len(before) + len(new), 1)),
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
    shelf = StandingMemory(ChromaDatabase(url="http://127.0.0.1:1"), CountingEncoder())._shelf
    names = [shelf.name(digest(*chat)) for chat in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    for name in names:
        assert set(name) <= set("chat-0123456789abcdef")
        assert 3 <= len(name) <= 512
    assert digest(*one) != digest("".join(one))
    assert (row_id(*one) == row_id(*other)) == (one == other)


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
    name = memory._shelf.name(digest("u", "s"))
    assert memory.forget("u", "s") is True
    assert words(memory) == []
    assert database.state(name) is None
    assert memory.forget("u", "s") is False
    assert words(memory, session="s2") == ["other"]
    assert tell(memory, said("new life")) == 1
    assert words(memory) == ["new life"]


def test_forgetting_reaches_other_workers_and_other_embedders(database: ChromaDatabase) -> None:
    small, large = (StandingMemory(database, CountingEncoder(size)) for size in (32, 64))
    worker = StandingMemory(database, CountingEncoder(64))
    tell(small, said("a", "b"))
    tell(large, said("c", first=2))
    assert words(worker) == ["a", "b", "c"]
    assert large.forget("u", "s", ["m0"]) is True
    assert (words(small), words(large), words(worker)) == (["b"], ["b", "c"], ["b", "c"])
    assert large.forget("u", "s", ["m0"]) is False
    assert large.forget("u", "s") is True
    for one in (small, large, worker, StandingMemory(database, CountingEncoder(16))):
        assert words(one) == []


def test_a_message_without_an_id_is_forgotten_by_its_identity(memory: StandingMemory) -> None:
    messages = said("kept", "swiped away", first=None)
    tell(memory, messages)
    assert memory.forget("u", "s", [message_identity(messages[1])]) is True
    assert words(memory) == ["kept"]


def test_workers_see_what_the_others_wrote(database: ChromaDatabase) -> None:
    workers = [StandingMemory(database, CountingEncoder()) for _ in range(3)]
    for turn in range(6):
        tell(workers[turn % 3], said(f"question {turn}", f"answer {turn}", first=2 * turn))
        expected = [f"{kind} {past}" for past in range(turn + 1) for kind in ("question", "answer")]
        assert [words(worker) for worker in workers] == [expected] * 3


def test_a_chat_that_did_not_change_is_not_read_again(memory: StandingMemory) -> None:
    tell(memory, said("a"))
    assert memory.load("u", "s").vectors is memory.load("u", "s").vectors


def test_two_rows_for_one_message_are_resolved_to_the_later(database: ChromaDatabase) -> None:
    """A worker that was killed between the new words and the removal of the old leaves both."""
    memory = StandingMemory(database, CountingEncoder())
    tell(memory, said("a", "b"))
    key = digest("u", "s")
    rows = memory._shelf.load(key)
    assert rows is not None
    edited = rows.items[0].model_copy(update={"message": said("A")[0]})
    vectors = CountingEncoder().encode_passages(["A"])
    memory._shelf.write(key, [(row_id("m0", "new words"), edited)], vectors, [])
    assert words(memory) == words(StandingMemory(database, CountingEncoder())) == ["A", "b"]


def test_a_new_embedder_embeds_the_memory_again_from_its_text(
    database: ChromaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    tell(StandingMemory(database, CountingEncoder(64)), said("비밀 하나", "b"))
    other = CountingEncoder(32)
    found = StandingMemory(database, other).load("u", "s")
    assert [message.content for message in found.messages] == ["비밀 하나", "b"]
    assert found.vectors.shape == (2, 32)
    assert other.texts == 2
    (line,) = caplog.messages
    assert (
        line == "stores: a chat index is of another embedder or version; 2 texts are embedded again"
    )


def test_workers_with_two_embedders_lose_nothing_between_them(database: ChromaDatabase) -> None:
    """As while a new version is rolled out, or when it is rolled back."""
    for turn in range(4):
        size = (32, 64)[turn % 2]
        memory = StandingMemory(database, CountingEncoder(size))
        tell(memory, said(f"{turn}", first=turn))
        assert words(memory) == [str(past) for past in range(turn + 1)]
        assert memory.load("u", "s").vectors.shape == (turn + 1, size)
    tell(StandingMemory(database, CountingEncoder(32)), said("edited", first=3))
    assert words(StandingMemory(database, CountingEncoder(64))) == ["0", "1", "2", "edited"]


def test_vectors_of_a_wrong_shape_are_refused(memory: StandingMemory) -> None:
    for shape in ((1, 64), (2, 32), (2,)):
        with pytest.raises(StoreError, match=r"shape \(2, 64\) expected"):
            memory.remember("u", "s", said("a", "b"), np.zeros(shape, np.float32))
    assert words(memory) == []


def test_odd_texts_are_remembered(memory: StandingMemory) -> None:
    texts = ["", " ", "🙂" * 50, "나" * 100_000, "a\x00b", "عربي и 漢字"]
    tell(memory, said(*texts))
    assert words(memory) == texts


async def test_the_async_methods_do_the_same(memory: StandingMemory) -> None:
    messages = said("a", "b")
    vectors = CountingEncoder().encode_passages(["a", "b"])
    assert await memory.aremember("u", "s", messages, vectors) == 2
    found = await asyncio.gather(*(memory.aload("u", "s") for _ in range(5)))
    assert all(one.messages == tuple(messages) for one in found)
    assert await memory.aforget("u", "s")
    assert (await memory.aload("u", "s")).messages == ()
