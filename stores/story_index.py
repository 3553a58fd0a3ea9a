"""Stories: those sent with a request as they are, those built beforehand in Chroma.

A named story is a collection of its own, whose name says what it holds, so that a reader never sees
half of a rebuilt one. Event 12 of the story, in its order, has the rows

    "12"      its first part as text and vector, the whole event as metadata
    "12.1"    its second part
    "12.t"    its trigger
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from sys import getsizeof
from typing import TypeVar

import numpy as np

from retrieval.index import Index
from retrieval.lexical import KERNEL
from retrieval.story import event_parts, event_text
from retrieval.vectors import first_to_embed
from schemas.base import digest
from schemas.errors import BadRequest, StoreError
from schemas.kept import Kept
from schemas.protocols import PassageEncoder
from schemas.rag import Search
from schemas.request import StoryEvent
from stores.database import Row, VectorDatabase, Where
from stores.threads import StoreThreads

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEMA = "2"
"""Version of the rows; stories of another have to be built again."""

NAMES = "ledger-stories"
"""The collection that says which collection is a story now."""

CACHED_BYTES = 100_000_000
"""Of named stories kept in this process, without vectors: 30,000 events of 1,000 characters."""

BYTES_OF_EVENT = 2_000  # the object, its lists and short texts

BATCH = 64  # events embedded between two steps of a progress bar

TRIGGER = "t"

NEAREST = 64
"""Parts that each vector, and the words, nominate."""

REACH = max(KERNEL)
"""Neighbours of each whose vectors are looked at: as far as the ranking's windows reach."""


@dataclass(frozen=True, slots=True)
class StoredStory:
    """A story's events in story order."""

    name: str  # tells it from other stories
    events: tuple[StoryEvent, ...]
    stands: bool = False  # whether its vectors are in Chroma, in a collection of this name

    def audiences(self) -> list[int]:
        """Of each event, the number of the circle of those who may know of it."""
        numbers: dict[tuple[object, ...], int] = {}
        return [numbers.setdefault(_audience(event), len(numbers)) for event in self.events]


@dataclass(frozen=True, slots=True)
class Built:
    """What building a named story did."""

    events: int
    embedded: int
    removed: int


def inline(events: Sequence[StoryEvent], embedder: str = "") -> StoredStory:
    """Events as a caller sent them, by order; of one order as they were sent.

    Nothing is stored: a turn finds the vectors of their words in the cache of vectors. The name is
    a digest of what is ranked, and of the embedder's name, so that neither stories of two callers
    nor vectors of two embedders ever share an index.
    """
    name = digest(embedder, *(text for event in events for text in (event.id, event_text(event))))
    return StoredStory(f"inline-{name}", _in_order(events))


class StoryIndex:
    """The stories of this server. All methods block; the async ones run in threads of its own.

    Args:
        database: where the named stories are.
        encoder: makes their vectors.
    """

    def __init__(self, database: VectorDatabase, encoder: PassageEncoder) -> None:
        """Touches neither yet."""
        self._database = database
        self._encoder = encoder
        self._threads = StoreThreads("stories")
        self._cached: Kept[str, StoredStory] = Kept(CACHED_BYTES)
        self._foreign: set[str] = set()  # names of stories of another embedder that were told of

    async def aload(self, events: Sequence[StoryEvent], story_id: str | None = None) -> StoredStory:
        """The story of a request: its own events where it sends some, else the named story.

        Raises:
            BadRequest: the named story was never built.
            StoreError: the index failed.
        """
        if events or story_id is None:
            return inline(events, self._encoder.fingerprint)
        return await self.apart(lambda: self.named(story_id))

    async def apart(self, work: Callable[[], T], *, writes: bool = False) -> T:
        """The result of work that asks this index, done in its own threads."""
        return await self._threads.run(work, writes=writes)

    def named(self, story_id: str) -> StoredStory:
        """A story that was built beforehand, as it is now.

        One that was built under another embedder has its events and no vectors.

        Raises:
            BadRequest: it was never built.
            StoreError: the index failed.
        """
        key = digest(story_id)
        collection = self._collection(key)
        if collection is not None:
            return self._read(collection)
        for id in self._database.ids(NAMES):
            if id.startswith(f"{key}-") and (other := self._pointer(id)):
                if other not in self._foreign:
                    self._foreign.add(other)
                    log.warning(
                        "stores: a story was built under another embedder or version, so its "
                        "vectors are made turn by turn; if all its chats are of one script, build "
                        "it again with scripts.build_index"
                    )
                return StoredStory(f"inline-{self._generation}-{other}", self._read(other).events)
        raise BadRequest(
            "no such story is indexed; build it with `python -m scripts.build_index`, "
            "or send its events in `story`",
            field="story_id",
        )

    def search(
        self,
        story: StoredStory,
        index: Index,
        search: Search,
        masks: Sequence[np.ndarray],
        position: int | None,
    ) -> np.ndarray:
        """The vectors with which a standing story is ranked: of the parts that Chroma finds near
        the search under each mask, of those that its words point to, and of their neighbours.

        Args:
            story: that stands.
            index: of its events.
            search: what for.
            masks: (events,) bool each: what may be found, with no circle in two of them.
            position: the story's clock: Chroma is asked for no event of a higher order.

        Returns:
            (parts of the index, d) rows of unit length, NaN where not looked at.

        Raises:
            StoreError: the index failed.
        """
        audiences, allowed = np.array(story.audiences()), np.logical_or.reduce([*masks])
        every = np.arange(len(index.parts))
        by_words = first_to_embed(index, search.query, every, NEAREST, allowed=allowed)
        found = set(by_words.tolist())
        for mask in masks:
            circles = set(audiences[mask].tolist())
            for vector in search.views:
                found |= {
                    index.first_part(event) + part
                    for event, part in self.nearest(
                        story, vector, position=position, audiences=circles, limit=NEAREST
                    )
                }
        near = {part + step for part in found for step in range(-REACH, REACH + 1)}
        parts = sorted(part for part in near if 0 <= part < len(index.parts))
        return self._vectors_of(story, index, parts)

    def nearest(
        self,
        story: StoredStory,
        vector: np.ndarray,
        *,
        position: int | None,
        audiences: Collection[int],
        limit: int,
    ) -> list[tuple[int, int]]:
        """The parts of a standing story nearest to a vector, best first, as (event, part) numbers.

        Args:
            story: that stands.
            vector: (dimension,) float32 of unit length.
            position: the story's clock: no event of a higher order is looked at.
            audiences: numbers of the circles (`StoredStory.audiences`) whose events may be found.
            limit: how many at most.

        Raises:
            StoreError: the index failed.
        """
        if not audiences:
            return []
        known: Where = {"audience": {"$in": sorted(audiences)}}
        where = known if position is None else {"$and": [known, {"order": {"$lte": position}}]}
        found = self._database.nearest(story.name, vector, limit, where)
        places = (id.partition(".") for id, _ in found)
        return [(int(event), int(part or 0)) for event, _, part in places]

    def make_known(self, story: StoredStory, events: Iterable[int]) -> None:
        """Takes the vectors of some events of a standing story, and of their triggers, from Chroma,
        as far as the encoder does not know them.

        Raises:
            StoreError: the index failed.
        """
        self._learn(story, [pair for row in events for pair in _texts(row, story.events[row])])

    def _vectors_of(self, story: StoredStory, index: Index, parts: Sequence[int]) -> np.ndarray:
        """(parts of the index, d) the vectors of some parts, NaN for the others."""
        owners, texts = index.owners(), [index.parts[part] for part in parts]
        events = owners[parts].tolist() if parts else []
        ids = [
            _id(event, part - index.first_part(event))
            for part, event in zip(parts, events, strict=True)
        ]
        self._learn(story, list(zip(ids, texts, strict=True)))
        rows, known = self._encoder.known(texts)
        shape = (len(index.parts), self._encoder.dimension)
        vectors = np.full(shape, np.nan, dtype=np.float32)
        if known.any():
            vectors[np.array(parts)[known]] = rows[known]
        return vectors

    def _learn(self, story: StoredStory, texts: Sequence[tuple[str, str]]) -> None:
        """Makes vectors known of row ids and their texts."""
        _, known = self._encoder.known([text for _, text in texts])
        missing = [id for (id, _), is_known in zip(texts, known, strict=True) if not is_known]
        if found := self._database.vectors(story.name, missing):
            self._encoder.learn(list(found), np.stack(list(found.values())))

    def build(
        self,
        story_id: str,
        events: Sequence[StoryEvent],
        progress: Callable[[int], object] = lambda embedded: None,
    ) -> Built:
        """Makes the named story say what `events` say; what the encoder knows is not embedded.

        Args:
            story_id: its name.
            events: all of them, each with an id of its own.
            progress: called with the number of events that are done since the last call.

        Raises:
            StoreError, EmbeddingError: the index failed; the story is what it was before.
        """
        key, events = digest(story_id), _in_order(events)
        before = self._collection(key)
        old = set(self._items(before)) if before else set()
        new = {event.model_dump_json() for event in events}
        name = f"story-{key}-{self._generation}-{digest(*(it.model_dump_json() for it in events))}"
        if name != before:
            self._write(name, StoredStory(name, events), progress)
            self._database.put(NAMES, f"{key}-{self._generation}", {"collection": name})
            self._drop_others(key, name)
        return Built(len(events), len(new - old), len(old - new))

    @property
    def _generation(self) -> str:
        return digest(self._encoder.fingerprint, str(self._encoder.dimension), SCHEMA)[:16]

    def _collection(self, key: str) -> str | None:
        return self._pointer(f"{key}-{self._generation}")

    def _pointer(self, id: str) -> str | None:
        rows = self._database.fetch(NAMES, [id])
        return str(rows[0].metadata["collection"]) if rows else None

    def _read(self, name: str) -> StoredStory:
        """The story in a collection, without the `extensions` that no turn reads; kept, as it never
        changes."""
        if story := self._cached.get(name):
            return story
        events, size = [], 0
        for item in self._items(name):
            event = StoryEvent.model_validate_json(item)
            events.append(event.model_copy(update={"extensions": {}}))
            names = (*event.characters, *event.known_by, *event.keywords)
            texts = (event.text, event.title, event.trigger, event.location, event.time, *names)
            size += BYTES_OF_EVENT + sum(map(getsizeof, texts))
        story = StoredStory(name, tuple(events), stands=True)
        self._cached.put(name, story, size)
        return story

    def _items(self, name: str) -> list[str]:
        """The events in a collection as JSON, in story order."""
        state = self._database.state(name)
        if state is None:
            raise StoreError("the story is being built anew; try again", retryable=True)
        count = int(state.label["events"])
        ids = [str(row) for row in range(count)]
        try:
            self._database.vectors(name, ids[:1])
        except StoreError as error:  # its vectors may be damaged
            own = f"-{self._generation}-" in name
            if error.retryable or not own:
                raise
            if not self._database.repair(name, self._encoder.encode_passages):
                raise
        rows = self._database.fetch(name, ids)
        found = {int(str(row.id)): str(row.metadata["item"]) for row in rows}
        if len(found) < count:
            raise StoreError("the story's index is incomplete; build it again")
        return [found[row] for row in range(count)]

    def _write(self, name: str, story: StoredStory, progress: Callable[[int], object]) -> None:
        label: dict[str, str | int] = {
            "kind": "story",
            "embedder": self._encoder.fingerprint,
            "schema": SCHEMA,
            "events": len(story.events),
        }
        rows = iter(enumerate(zip(story.events, story.audiences(), strict=True)))
        self._database.add(name, label, [])
        while batch := list(islice(rows, BATCH)):
            texts = [(row, event, audience, *it) for row, (event, audience) in batch
                     for it in _texts(row, event)]  # fmt: skip
            vectors = self._encoder.encode_passages([text for *_, text in texts])
            self._database.add(name, label, [
                Row(id, _metadata(id, event, audience), vector, text)
                for (_, event, audience, id, text), vector in zip(texts, vectors, strict=True)
            ])  # fmt: skip
            progress(len(batch))

    def _drop_others(self, key: str, name: str) -> None:
        """Deletes what the story was before, under every embedder."""
        for id in self._database.ids(NAMES):
            if id.startswith(f"{key}-") and (other := self._pointer(id)) and other != name:
                self._database.delete(NAMES, [id])
                self._database.drop(other)


def _in_order(events: Sequence[StoryEvent]) -> tuple[StoryEvent, ...]:
    return tuple(sorted(events, key=lambda event: event.order))


def _audience(event: StoryEvent) -> tuple[object, ...]:
    """What decides who may know of an event (`retrieval.story.may_know`)."""
    if event.visibility == "public":
        return ("public",)
    present = event.characters if event.visibility == "witnessed" else []
    return (event.visibility, *sorted({*present, *event.known_by}))


def _texts(row: int, event: StoryEvent) -> list[tuple[str, str]]:
    """Row ids and texts of an event."""
    cut = enumerate(event_parts(event))
    found = [(_id(row, part), text) for part, text in cut]
    return found + ([(f"{row}.{TRIGGER}", event.trigger)] if event.trigger else [])


def _id(row: int, part: int) -> str:
    return f"{row}.{part}" if part else str(row)


def _metadata(id: str, event: StoryEvent, audience: int) -> dict[str, str | int | bool]:
    """A trigger has neither order nor audience, so no search finds it."""
    _, _, part = id.partition(".")
    if part == TRIGGER:
        return {"trigger": True}
    place: dict[str, str | int | bool] = {"order": event.order, "audience": audience}
    return place if part else {**place, "item": event.model_dump_json()}
