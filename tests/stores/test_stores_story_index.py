"""Stories in Chroma: indexed once, never mixed, always as they were built last."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings

from schemas.errors import BadRequest, StoreError
from schemas.request import StoryEvent
from stores.chroma import ChromaDatabase
from stores.story_index import StoryIndex, event_text
from tests.stores.stores_support import CountingEncoder, story
from tests.support import free_port

HARBOUR = story(
    "The ferry leaves at dawn.", "미나가 은빛숲길에서 편지를 찾는다.", "The lamp goes out."
)


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def stories(database: ChromaDatabase, encoder: CountingEncoder) -> StoryIndex:
    return StoryIndex(database, encoder)


def texts(stories: StoryIndex, story_id: str) -> list[str]:
    return [event.text for event in stories.named(story_id).events]


def test_an_inline_story_comes_back_whole_and_in_story_order(stories: StoryIndex) -> None:
    full = StoryEvent.model_validate(
        {
            "id": "편지", "order": 0, "title": "The letter", "text": "그녀는 편지를 태웠다.",
            "characters": ["미나"], "known_by": ["Nell"], "location": "부두", "time": "dawn",
            "keywords": ["편지", "/let+er/i"], "constant": True, "trigger": "asked",
            "extensions": {"nested": {"empty": {}, "none": None, "list": [1, "둘"]}},
        }
    )  # fmt: skip
    given = [*reversed(HARBOUR), full]
    found = stories.inline(given)
    assert list(found.events) == sorted(given, key=lambda event: event.order)
    assert found.vectors.dtype == np.float32
    for event, vector in zip(found.events, found.vectors, strict=True):
        expected = CountingEncoder().encode_passages([event_text(event)])[0]
        assert np.allclose(vector, expected, atol=1e-5)


def test_events_of_one_order_keep_the_order_they_were_sent_in(stories: StoryIndex) -> None:
    events = [StoryEvent.model_validate({"id": name, "order": 1, "text": name}) for name in "zaym"]
    assert [event.id for event in stories.inline(events).events] == list("zaym")


def test_an_inline_story_is_indexed_once(
    database: ChromaDatabase, encoder: CountingEncoder
) -> None:
    first = StoryIndex(database, encoder).inline(HARBOUR)
    again = StoryIndex(database, encoder)  # as after a restart
    assert again.inline(HARBOUR).events == first.events
    assert again.inline(list(HARBOUR)).vectors is again.inline(HARBOUR).vectors
    assert encoder.texts == 3


def test_two_callers_stories_never_meet(stories: StoryIndex) -> None:
    other = [HARBOUR[0].model_copy(update={"text": "The ferry sinks."}), *HARBOUR[1:]]
    for _ in range(2):
        assert stories.inline(HARBOUR).events[0].text == "The ferry leaves at dawn."
        assert stories.inline(other).events[0].text == "The ferry sinks."
    hidden = [event.model_copy(update={"visibility": "secret"}) for event in HARBOUR]
    assert [event.visibility for event in stories.inline(hidden).events] == ["secret"] * 3
    assert [event.visibility for event in stories.inline(HARBOUR).events] == ["public"] * 3


def test_a_story_that_was_half_written_is_completed(
    database: ChromaDatabase, stories: StoryIndex, encoder: CountingEncoder
) -> None:
    found = stories.inline(HARBOUR)
    database.write(found.name, {}, [], remove=[found.ids[1]])
    encoder.texts = 0
    assert StoryIndex(database, encoder).inline(HARBOUR).events == found.events
    assert encoder.texts == 1


def test_no_events_are_an_empty_story(stories: StoryIndex) -> None:
    assert stories.inline([]).events == ()
    assert stories.load([]).vectors.shape[0] == 0
    stories.build("empty", [])
    assert stories.named("empty").events == ()


def test_odd_texts_are_indexed_too(stories: StoryIndex) -> None:
    events = story("", "   ", "🙂🙂🙂", "가" * 100_000, "a\x00b", "العربية und 漢字 и русский")
    assert [event.text for event in stories.inline(events).events] == [e.text for e in events]


def test_a_named_story_is_what_was_built_last(
    stories: StoryIndex, encoder: CountingEncoder
) -> None:
    assert stories.build("부두", HARBOUR) == (3, 3, 0)
    assert stories.build("부두", HARBOUR) == (3, 0, 0)
    edited = [HARBOUR[0], HARBOUR[1].model_copy(update={"text": "미나는 편지를 태운다."})]
    encoder.texts = 0
    assert stories.build("부두", edited) == (2, 1, 2)  # the old words and the third event go
    assert encoder.texts == 1
    assert texts(stories, "부두") == [event.text for event in edited]
    assert stories.load([], "부두").events == tuple(edited)


def test_progress_adds_up_to_what_is_embedded(stories: StoryIndex) -> None:
    steps: list[int] = []
    built = stories.build("long", story(*map(str, range(150))), steps.append)
    assert sum(steps) == built.embedded == 150
    assert len(steps) > 1


def test_an_unknown_story_is_the_callers_fault(stories: StoryIndex) -> None:
    stories.build("harbour", HARBOUR)
    with pytest.raises(BadRequest, match="story_id: no such story is indexed; build it") as raised:
        stories.load([], "Harbour")
    assert raised.value.field == "story_id"


def test_events_of_the_request_come_before_a_named_story(stories: StoryIndex) -> None:
    stories.build("harbour", HARBOUR)
    sent = story("Something else.")
    assert stories.load(sent, "harbour").events == tuple(sent)


def test_a_story_rebuilt_elsewhere_is_seen(
    database: ChromaDatabase, encoder: CountingEncoder
) -> None:
    builder, reader = (StoryIndex(database, encoder) for _ in range(2))
    builder.build("harbour", HARBOUR)
    first = reader.named("harbour")
    assert reader.named("harbour").vectors is first.vectors  # nothing new, nothing read
    builder.build("harbour", [HARBOUR[0], *story("x", "새로운 사건")[1:]])
    assert texts(reader, "harbour") == [HARBOUR[0].text, "새로운 사건"]


def test_the_search_finds_the_nearest_allowed_events(stories: StoryIndex) -> None:
    events = story(*(f"{word} {row}" for row, word in enumerate(["ferry", "lamp", "편지"] * 20)))
    found = stories.inline(events)
    query = CountingEncoder().encode_passages(["lamp 1"])[0]
    exact = np.argsort(-(found.vectors @ query), kind="stable")[:5]
    hits = stories.search(found, query, 5)
    assert [event.id for event, _ in hits][:1] == [found.events[exact[0]].id] == ["e1"]
    assert [score for _, score in hits] == pytest.approx(
        np.clip(found.vectors @ query, 0, 1)[exact].tolist(), abs=1e-4
    )
    allowed = {"e2", "e5", "e8"}
    assert {event.id for event, _ in stories.search(found, query, 5, allowed)} == allowed
    assert stories.search(found, query, 5, set()) == []
    assert stories.search(found, query, 0) == []


def test_a_dropped_story_is_searched_from_memory(
    database: ChromaDatabase, stories: StoryIndex
) -> None:
    found = stories.inline(HARBOUR)
    database.drop(found.name)
    query = CountingEncoder().encode_passages([HARBOUR[2].text])[0]
    assert stories.search(found, query, 1)[0][0] == HARBOUR[2]


def test_inline_stories_are_bounded_and_the_oldest_go(
    database: ChromaDatabase, encoder: CountingEncoder
) -> None:
    stories = StoryIndex(database, encoder, inline_stories=3)
    stories.build("named", HARBOUR)
    names = [stories.inline(story(f"story {number}")).name for number in range(6)]
    assert [database.state(name) is not None for name in names] == [False] * 3 + [True] * 3
    assert texts(stories, "named") == [event.text for event in HARBOUR]
    encoder.texts = 0
    assert StoryIndex(database, encoder).inline(story("story 0")).events[0].text == "story 0"
    assert encoder.texts == 1


def test_a_new_embedder_embeds_a_named_story_again_from_its_text(
    database: ChromaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    StoryIndex(database, CountingEncoder(64)).build("harbour", HARBOUR)
    other = CountingEncoder(32)
    stories = StoryIndex(database, other)
    found = stories.named("harbour")
    assert found.events == tuple(HARBOUR)
    assert found.vectors.shape == (3, 32)
    assert other.texts == 3
    (said,) = caplog.messages
    assert (
        said
        == "stores: a story index is of another embedder or version; 3 texts are embedded again"
    )
    stories.named("harbour")
    assert other.texts == 3
    assert StoryIndex(database, CountingEncoder(64)).named("harbour").vectors.shape == (3, 64)


def test_a_story_built_under_one_embedder_is_not_stale_under_the_other(
    database: ChromaDatabase,
) -> None:
    small, large = (StoryIndex(database, CountingEncoder(size)) for size in (32, 64))
    small.build("harbour", HARBOUR)
    assert len(large.named("harbour").events) == 3
    large.build("harbour", HARBOUR[:1])
    assert texts(small, "harbour") == [HARBOUR[0].text]
    assert texts(StoryIndex(database, CountingEncoder(32)), "harbour") == [HARBOUR[0].text]


def test_the_same_embedder_with_another_dimension_is_said_and_repaired(
    database: ChromaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    StoryIndex(database, CountingEncoder(64, "mine")).build("harbour", HARBOUR)
    stories = StoryIndex(database, CountingEncoder(32, "mine"))
    assert stories.named("harbour").vectors.shape == (3, 32)
    assert stories.named("harbour").events == tuple(HARBOUR)
    (said,) = caplog.messages
    assert said == "stores: a story index has unusable vectors; 3 texts are embedded again"
    assert stories.build("harbour", HARBOUR) == (3, 0, 0)


def test_a_collection_of_another_space_is_said_and_rebuilt(
    database: ChromaDatabase, stories: StoryIndex, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stories.build("harbour", HARBOUR)
    name = stories.named("harbour").name
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    cosine = client.get_collection(name, embedding_function=None)
    rows = cosine.get(include=["metadatas", "embeddings", "documents"])
    client.delete_collection(name)
    l2 = client.create_collection(name, embedding_function=None)  # Chroma's own default
    l2.add(rows["ids"], rows["embeddings"], rows["metadatas"], rows["documents"])

    found = stories.named("harbour")
    assert found.events == tuple(HARBOUR)
    assert "unusable vectors; 3 texts are embedded again" in caplog.text
    state = database.state(name)
    assert state is not None
    assert state.space == "cosine"
    query = CountingEncoder().encode_passages([HARBOUR[1].text])[0]
    ((event, score),) = stories.search(found, query, 1)
    assert event == HARBOUR[1]
    assert score == pytest.approx(1, abs=1e-4)


def test_rows_of_another_version_are_left_out_and_said(
    database: ChromaDatabase, stories: StoryIndex, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stories.build("harbour", HARBOUR)
    name = stories.named("harbour").name
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    collection = client.get_collection(name, embedding_function=None)
    for item in ("{}", "not json"):
        id = collection.get(include=[])["ids"][0]
        collection.update(ids=[id], metadatas=[{"item": item}])
    fresh = StoryIndex(database, CountingEncoder())
    assert len(fresh.named("harbour").events) == 2
    assert "of another version and left out" in caplog.text


def test_an_unreadable_index_costs_the_index_and_not_the_turn(
    folder: Path, encoder: CountingEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(ChromaDatabase(path=folder)) as database:
        StoryIndex(database, encoder).inline(HARBOUR)
    (folder / "chroma.sqlite3").write_bytes(b"garbage" * 10_000)
    with closing(ChromaDatabase(path=folder)) as database:
        assert StoryIndex(database, encoder).inline(HARBOUR).events == tuple(HARBOUR)
        with pytest.raises(BadRequest, match="build it"):
            StoryIndex(database, encoder).named("harbour")
    assert "unreadable and put aside" in caplog.text


def test_without_chroma_an_inline_story_is_kept_in_memory(
    encoder: CountingEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    stories = StoryIndex(ChromaDatabase(url=f"http://127.0.0.1:{free_port()}"), encoder)
    for _ in range(3):
        found = stories.inline(HARBOUR)
        assert found.events == tuple(HARBOUR)
    assert encoder.texts == 3
    query = CountingEncoder().encode_passages([HARBOUR[1].text])[0]
    assert stories.search(found, query, 1)[0][0] == HARBOUR[1]
    first = caplog.messages[0]
    assert first.startswith("stores: a story is kept in memory only: the Chroma server cannot be")
    with pytest.raises(StoreError, match="cannot be reached"):
        stories.named("harbour")


def test_vectors_damaged_on_disk_are_made_again_from_the_text(
    folder: Path, encoder: CountingEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    events = story(*(f"event {row}" for row in range(1100)))  # beyond 1,000, vectors lie in files
    with closing(ChromaDatabase(path=folder)) as database:
        StoryIndex(database, encoder).build("long", events)
    for path in folder.glob("*/*"):
        path.unlink()
    encoder.texts = 0
    with closing(ChromaDatabase(path=folder)) as database:
        stories = StoryIndex(database, encoder)
        assert stories.named("long").events == tuple(events)
        assert encoder.texts == 1100
        assert "1100 texts are embedded again" in caplog.text
    with closing(ChromaDatabase(path=folder)) as database:
        assert StoryIndex(database, encoder).named("long").events == tuple(events)
    assert encoder.texts == 1100  # repaired for good


def test_turns_at_one_time_index_a_story_once_between_them(
    stories: StoryIndex, database: ChromaDatabase
) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: stories.inline(HARBOUR), range(6)))
    assert all(one.events == tuple(HARBOUR) for one in found)
    assert len(database.ids(found[0].name)) == 3


async def test_loading_does_not_hold_up_the_event_loop(database: ChromaDatabase) -> None:
    class Slow(CountingEncoder):
        def encode_passages(self, texts: object) -> np.ndarray:
            time.sleep(0.3)
            return super().encode_passages(texts)  # type: ignore[arg-type]

    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heartbeat = asyncio.create_task(heart())
    found = await StoryIndex(database, Slow()).aload(HARBOUR)
    heartbeat.cancel()
    assert found.events == tuple(HARBOUR)
    assert beats >= 10
