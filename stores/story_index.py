"""Stories in Chroma: those sent with a request, indexed once, and those built beforehand."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter

from schemas.errors import BadRequest, StoreError
from schemas.request import StoryEvent
from stores.chroma import ChromaDatabase
from stores.encoder import Encoder
from stores.ledger import Ledger
from stores.rows import Rows, digest, row_id
from stores.shelf import Shelf

log = logging.getLogger(__name__)

CACHED_EVENTS = 20_000
"""Events kept in this process: 30 MB of vectors at 384 numbers, 40 stories of the largest size."""

INLINE_STORIES = 256
"""Stories of requests kept in Chroma. Far more than are told at one time; an older one is only
embedded again when it comes back."""

BATCH = 64  # events embedded between two steps of a progress bar

_EVENTS = TypeAdapter(list[StoryEvent])


@dataclass(frozen=True, slots=True)
class StoredStory:
    """A story's events in story order, and their vectors: row by row (n, dimension) float32."""

    name: str
    ids: tuple[str, ...]  # of the rows in Chroma
    events: tuple[StoryEvent, ...]
    vectors: np.ndarray


class Built(NamedTuple):
    """What building a named story did."""

    events: int
    embedded: int
    removed: int


def event_text(event: StoryEvent) -> str:
    """What is embedded of an event."""
    return f"{event.title}\n{event.text}" if event.title else event.text


class StoryIndex:
    """Story events by meaning. All methods block; the async ones run them in a thread.

    Args:
        database: where the stories are.
        encoder: makes the vectors.
        inline_stories: stories of requests kept in the database, least recently used first out.
    """

    def __init__(
        self, database: ChromaDatabase, encoder: Encoder, *, inline_stories: int = INLINE_STORIES
    ) -> None:
        """Touches neither yet."""
        self._database = database
        self._encoder = encoder
        self._inline_stories = inline_stories
        self._inline = self._shelf("inline")
        self._named = self._shelf("story")
        self._used = Ledger(database, "inline")

    def load(self, events: Sequence[StoryEvent], story_id: str | None = None) -> StoredStory:
        """The story of a request: its own events where it sends some, else the named story.

        Raises:
            BadRequest: the named story was never built.
            StoreError, EmbeddingError: the index failed.
        """
        if events or story_id is None:
            return self.inline(events)
        return self.named(story_id)

    async def aload(self, events: Sequence[StoryEvent], story_id: str | None = None) -> StoredStory:
        """`load`, in a thread."""
        return await asyncio.to_thread(self.load, events, story_id)

    def inline(self, events: Sequence[StoryEvent]) -> StoredStory:
        """Events as a caller sent them: indexed when first seen, afterwards found by content.

        The key is a digest of all that they say, so no caller can alter the story of another one.
        Where Chroma fails, that is logged, and this process keeps the story in memory.

        Raises:
            EmbeddingError: the events could not be embedded.
        """
        key = digest(_EVENTS.dump_json(list(events)).decode())
        rows = self._inline.cached(key)
        if rows is None or len(rows.ids) != len(events):
            wanted = _by_row_id(events)
            try:
                rows = self._indexed(key, wanted)
            except StoreError as error:
                log.warning("stores: a story is kept in memory only: %s", error.message)
                vectors = self._vectors(list(wanted.values()))
                rows = self._inline.keep(key, list(wanted.items()), vectors)
        return _story(self._inline.name(key), rows)

    def named(self, story_id: str) -> StoredStory:
        """A story that was built beforehand, as it is now.

        Raises:
            BadRequest: it was never built.
            StoreError, EmbeddingError: the index failed.
        """
        key = digest(story_id)
        rows = self._named.load(key)
        if rows is None:
            raise BadRequest(
                "no such story is indexed; build it with `python -m scripts.build_index`, "
                "or send its events in `story`",
                field="story_id",
            )
        return _story(self._named.name(key), rows)

    def build(
        self,
        story_id: str,
        events: Sequence[StoryEvent],
        progress: Callable[[int], object] = lambda embedded: None,
    ) -> Built:
        """Makes the named story say what `events` say: embeds new ones, removes vanished ones.

        Args:
            story_id: its name.
            events: all of them, each with an id of its own.
            progress: called with the number of events embedded since the last call.

        Raises:
            StoreError, EmbeddingError: the index failed; what was written is kept.
        """
        key = digest(story_id)
        stored = self._named.load(key)
        known = set(stored.ids) if stored else set()
        wanted = _by_row_id(events)
        fresh = [(id, event) for id, event in wanted.items() if id not in known]
        gone = [id for id in known if id not in wanted]
        if fresh or gone or stored is None:
            vectors = self._vectors([event for _, event in fresh], progress)
            self._named.drop(key, keep_own=True)  # under another embedder it is out of date now
            self._named.write(key, fresh, vectors, gone)
        return Built(len(wanted), len(fresh), len(gone))

    def search(
        self,
        story: StoredStory,
        query: np.ndarray,
        k: int,
        allowed: Collection[str] | None = None,
    ) -> list[tuple[StoryEvent, float]]:
        """The k events nearest to the query, best first, by Chroma's approximate search.

        Where Chroma cannot search (any more), by the exact product over the loaded vectors.

        Args:
            story: as it was loaded.
            query: (dimension,) float32 of unit length.
            k: at most so many.
            allowed: event ids; others are left out before the search. Unset: all.

        Returns:
            Events with their scores: cosine similarity, cut to 0 to 1.
        """
        row = {
            id: row
            for row, (id, event) in enumerate(zip(story.ids, story.events, strict=True))
            if allowed is None or event.id in allowed
        }
        try:
            found = self._database.nearest(story.name, query, k, list(row))
        except StoreError as error:
            log.warning("stores: a story is searched without Chroma: %s", error.message)
            found = []
        if not found:
            scores = np.clip(story.vectors[list(row.values())] @ query, 0, 1)
            ranked = sorted(zip(row, scores.tolist(), strict=True), key=lambda hit: -hit[1])
            found = ranked[:k]
        return [(story.events[row[id]], score) for id, score in found]

    def _shelf(self, kind: str) -> Shelf[StoryEvent]:
        return Shelf(
            self._database,
            kind,
            self._encoder,
            model=StoryEvent,
            text=event_text,
            order=lambda event: event.order,
            documents=True,
            cached_rows=CACHED_EVENTS,
        )

    def _indexed(self, key: str, wanted: Mapping[str, StoryEvent]) -> Rows[StoryEvent]:
        """The story from Chroma; what it lacks, or all of it, is embedded and written first."""
        self._used.put(self._inline.name(key), time.time_ns())
        rows = self._inline.load(key)
        if rows is None or len(rows.ids) < len(wanted):
            known = set(rows.ids) if rows else set()
            fresh = [(id, event) for id, event in wanted.items() if id not in known]
            vectors = self._vectors([event for _, event in fresh])
            self._inline.write(key, fresh, vectors, [])
            self._prune()
            rows = self._inline.load(key)
        if rows is None:
            raise StoreError("it vanished while it was indexed")
        return rows

    def _vectors(
        self,
        events: Sequence[StoryEvent],
        progress: Callable[[int], object] = lambda embedded: None,
    ) -> np.ndarray:
        texts = [event_text(event) for event in events]
        parts = [np.empty((0, self._encoder.dimension), dtype=np.float32)]
        for start in range(0, len(texts), BATCH):
            parts.append(self._encoder.encode_passages(texts[start : start + BATCH]))
            progress(len(parts[-1]))
        return np.concatenate(parts)

    def _prune(self) -> None:
        """Drops the stories of requests that were used longest ago."""
        used = self._used.numbers()
        oldest = sorted(used, key=lambda name: used[name])[
            : max(0, len(used) - self._inline_stories)
        ]
        for name in oldest:
            self._database.drop(name)
        self._used.remove(oldest)


def _by_row_id(events: Sequence[StoryEvent]) -> dict[str, StoryEvent]:
    return {row_id(event.id, event.model_dump_json()): event for event in events}


def _story(name: str, rows: Rows[StoryEvent]) -> StoredStory:
    return StoredStory(name, rows.ids, rows.items, rows.vectors)
