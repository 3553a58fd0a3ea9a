"""Stories: those that are sent need no Chroma; named ones are always as they were built last."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index import Index
from retrieval.story import EVENT_PART_SIZE, event_parts, event_passages, may_know
from schemas.errors import BadRequest, StoreError
from schemas.request import StoryEvent
from stores.chroma import ChromaDatabase
from stores.story_index import Built, StoryIndex, inline
from tests.stores.stores_support import CountingEncoder, search, story
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


FULL = StoryEvent.model_validate(
    {
        "id": "편지", "order": 0, "title": "The letter", "text": "그녀는 편지를 태웠다.",
        "characters": ["미나"], "known_by": ["Nell"], "location": "부두", "time": "dawn",
        "keywords": ["편지", "/let+er/i"], "constant": True, "trigger": "asked",
        "extensions": {"nested": {"empty": {}, "none": None, "list": [1, "둘"]}},
    }
)  # fmt: skip


def test_an_inline_story_is_itself_in_story_order() -> None:
    given = [*reversed(HARBOUR), FULL]
    assert list(inline(given).events) == sorted(given, key=lambda event: event.order)
    assert inline([]).events == ()


def test_events_of_one_order_keep_the_order_they_were_sent_in() -> None:
    events = [StoryEvent.model_validate({"id": name, "order": 1, "text": name}) for name in "zaym"]
    assert [event.id for event in inline(events).events] == list("zaym")


def test_stories_of_two_callers_have_two_names() -> None:
    other = [HARBOUR[0].model_copy(update={"text": "The ferry sinks."}), *HARBOUR[1:]]
    assert inline(HARBOUR).name == inline(list(HARBOUR)).name
    assert len({inline(events).name for events in (HARBOUR, other, HARBOUR[:2], [FULL])}) == 4


def test_a_story_that_is_sent_needs_no_chroma(folder: Path, encoder: CountingEncoder) -> None:
    stories = StoryIndex(ChromaDatabase(path=folder), encoder)
    assert asyncio.run(stories.aload(HARBOUR)).events == tuple(HARBOUR)
    assert asyncio.run(stories.aload([])).events == ()
    assert not folder.exists()
    assert encoder.texts == 0


async def test_events_of_the_request_come_before_a_named_story(stories: StoryIndex) -> None:
    stories.build("harbour", HARBOUR)
    sent = story("Something else.")
    assert (await stories.aload(sent, "harbour")).events == tuple(sent)
    assert (await stories.aload([], "harbour")).events == tuple(HARBOUR)


@pytest.mark.parametrize("events", [[], [FULL]], ids=["none", "every field"])
def test_a_named_story_comes_back_as_far_as_a_turn_reads_it(
    stories: StoryIndex, events: list[StoryEvent]
) -> None:
    stories.build("부두", events)
    read = [event.model_copy(update={"extensions": {}}) for event in events]
    assert stories.named("부두").events == tuple(read)
    assert stories.build("부두", events) == Built(events=len(events), embedded=0, removed=0)


def test_the_nearest_parts_are_those_that_may_be_known_by_the_storys_clock(
    stories: StoryIndex, encoder: CountingEncoder
) -> None:
    secret = FULL.model_copy(update={"order": 1, "visibility": "secret", "trigger": "편지"})
    stories.build("부두", [*HARBOUR, secret])
    built = stories.named("부두")
    assert [event.order for event in built.events] == [0, 1, 1, 2]
    assert built.audiences() == [0, 0, 1, 0]
    [asked] = encoder.encode_passages([HARBOUR[1].text])

    def nearest(position: int | None, audiences: set[int], limit: int = 9) -> list[int]:
        found = stories.nearest(built, asked, position=position, audiences=audiences, limit=limit)
        return [event for event, part in found if part == 0]

    assert nearest(None, {0, 1}, limit=1) == [1]
    assert sorted(nearest(None, {0, 1})) == [0, 1, 2, 3]
    assert sorted(nearest(None, {0})) == [0, 1, 3]
    assert sorted(nearest(1, {0, 1})) == [0, 1, 2]
    assert nearest(0, {1}) == nearest(None, set()) == []


NAMES = st.lists(st.sampled_from(["미나", "Nell", "Tom"]), max_size=2)


@given(
    st.lists(
        st.tuples(st.sampled_from(["public", "witnessed", "secret"]), NAMES, NAMES), max_size=6
    )
)
def test_events_of_one_circle_are_known_to_the_same_people(
    told: list[tuple[str, list[str], list[str]]],
) -> None:
    events = [
        event
        for how, near, who in told
        for event in story("…", visibility=how, characters=near, known_by=who)
    ]
    known = [
        tuple(may_know(event, frozenset([name.casefold()])) for name in ("미나", "Nell", "Tom"))
        for event in events
    ]
    circles = inline(events).audiences()
    assert all(len({known[row] for row, it in enumerate(circles) if it == n}) == 1 for n in circles)


def test_what_may_be_known_is_found_however_many_secrets_are_nearer(
    stories: StoryIndex, encoder: CountingEncoder
) -> None:
    near = [f"누가 편지를 태웠나 {row}" for row in range(80)]
    far = [f"Nobody looks at house {row}." for row in range(10)]  # the neighbours of what is known
    secrets = story(*near, *far, visibility="secret")
    public = StoryEvent(id="p", order=99, text="The lamp goes out over the pier.")
    stories.build("부두", [*secrets, public])
    built = stories.named("부두")
    index = Index(event_passages(built.events), part_size=EVENT_PART_SIZE)
    known, hidden = (np.arange(91) == 90), (np.arange(91) < 90)
    asked = search("누가 편지를 태웠나", encoder)
    vectors = stories.search(built, index, asked, [known, hidden], None)
    assert not np.isnan(vectors[index.first_part(90)]).any()


def test_vectors_of_a_named_story_come_from_the_database(
    database: ChromaDatabase, stories: StoryIndex
) -> None:
    event = FULL.model_copy(update={"text": "그녀는 편지를 태웠다. " * 40})
    stories.build("부두", [*HARBOUR, event])
    elsewhere = CountingEncoder()
    reader = StoryIndex(database, elsewhere)
    built = reader.named("부두")
    reader.make_known(built, [row for row, it in enumerate(built.events) if it.id == event.id])
    assert elsewhere.known([*event_parts(event), event.trigger])[1].all()
    assert not elsewhere.known([HARBOUR[2].text])[1].any()
    assert elsewhere.texts == 0


def test_odd_texts_are_indexed_too(stories: StoryIndex) -> None:
    events = story("", "   ", "🙂🙂🙂", "가" * 100_000, "a\x00b", "العربية und 漢字 и русский")
    stories.build("odd", events)
    assert texts(stories, "odd") == [event.text for event in events]


def test_a_named_story_is_what_was_built_last(
    stories: StoryIndex, encoder: CountingEncoder
) -> None:
    assert stories.build("부두", HARBOUR) == Built(3, 3, 0)
    assert stories.build("부두", HARBOUR) == Built(3, 0, 0)
    edited = [HARBOUR[0], HARBOUR[1].model_copy(update={"text": "미나는 편지를 태운다."})]
    assert stories.build("부두", edited) == Built(2, 1, 2)  # the old words and the third event go
    assert texts(stories, "부두") == [event.text for event in edited]


def test_progress_adds_up_to_what_is_embedded(stories: StoryIndex) -> None:
    steps: list[int] = []
    built = stories.build("long", story(*map(str, range(150))), steps.append)
    assert sum(steps) == built.embedded == 150
    assert len(steps) > 1


def test_an_unknown_story_is_the_callers_fault(stories: StoryIndex) -> None:
    stories.build("harbour", HARBOUR)
    with pytest.raises(BadRequest, match="story_id: no such story is indexed; build it") as raised:
        stories.named("Harbour")
    assert raised.value.field == "story_id"


def test_a_story_rebuilt_elsewhere_is_seen(
    database: ChromaDatabase, encoder: CountingEncoder
) -> None:
    builder, reader = (StoryIndex(database, encoder) for _ in range(2))
    builder.build("harbour", HARBOUR)
    first = reader.named("harbour")
    assert reader.named("harbour") is first  # nothing new, nothing read
    builder.build("harbour", [HARBOUR[0], *story("x", "새로운 사건")[1:]])
    assert texts(reader, "harbour") == [HARBOUR[0].text, "새로운 사건"]


def test_under_another_embedder_a_story_has_its_events_until_it_is_built_again(
    database: ChromaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    StoryIndex(database, CountingEncoder(64)).build("harbour", HARBOUR)
    new = StoryIndex(database, CountingEncoder(32))
    found = new.named("harbour")
    assert found.events == tuple(HARBOUR) and not found.stands
    (said,) = caplog.messages
    assert said.endswith("build it again with scripts.build_index")
    new.build("harbour", HARBOUR[:1])
    assert new.named("harbour").stands
    old = StoryIndex(database, CountingEncoder(64)).named("harbour")
    assert [event.text for event in old.events] == [HARBOUR[0].text], "no stale copy is left"


def test_the_same_embedder_with_another_dimension_is_another(database: ChromaDatabase) -> None:
    StoryIndex(database, CountingEncoder(64, "mine")).build("harbour", HARBOUR)
    stories = StoryIndex(database, CountingEncoder(32, "mine"))
    assert stories.named("harbour").events == tuple(HARBOUR)
    assert stories.build("harbour", HARBOUR) == Built(3, 3, 0)


def test_an_unreadable_index_is_put_aside_and_can_be_built_again(
    folder: Path, encoder: CountingEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(ChromaDatabase(path=folder)) as database:
        StoryIndex(database, encoder).build("harbour", HARBOUR)
    (folder / "chroma.sqlite3").write_bytes(b"garbage" * 10_000)
    with closing(ChromaDatabase(path=folder)) as database:
        stories = StoryIndex(database, encoder)
        with pytest.raises(BadRequest, match="build it"):
            stories.named("harbour")
        stories.build("harbour", HARBOUR)
        assert stories.named("harbour").events == tuple(HARBOUR)
    assert "unreadable and put aside" in caplog.text


async def test_without_chroma_a_named_story_is_the_stores_fault(encoder: CountingEncoder) -> None:
    stories = StoryIndex(ChromaDatabase(url=f"http://127.0.0.1:{free_port()}"), encoder)
    assert (await stories.aload(HARBOUR, "harbour")).events == tuple(HARBOUR)
    with pytest.raises(StoreError, match="cannot be reached"):
        await stories.aload([], "harbour")


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
        [asked] = CountingEncoder().encode_passages(["event 77"])
        built = stories.named("long")
        found = stories.nearest(built, asked, position=None, audiences={0}, limit=1)
        assert found == [(77, 0)]
    with closing(ChromaDatabase(path=folder)) as database:
        assert StoryIndex(database, encoder).named("long").events == tuple(events)
    assert encoder.texts == 1100, "repaired for good"
