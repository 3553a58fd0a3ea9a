"""Stories: those sent with a request as they are, those built beforehand in Chroma."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from schemas.errors import BadRequest
from schemas.request import StoryEvent
from stores.chroma import ChromaDatabase
from stores.encoder import Encoder
from stores.rows import Rows, digest, row_id
from stores.shelf import Shelf

CACHED_EVENTS = 20_000
"""Events kept in this process: 30 MB of vectors at 384 numbers, 40 stories of the largest size."""

BATCH = 64  # events embedded between two steps of a progress bar


class StoredStory(NamedTuple):
    """A story's events in story order; `name` tells it from other stories."""

    name: str
    events: tuple[StoryEvent, ...]


class Built(NamedTuple):
    """What building a named story did."""

    events: int
    embedded: int
    removed: int


def event_text(event: StoryEvent) -> str:
    """What is embedded of an event."""
    return f"{event.title}\n{event.text}" if event.title else event.text


def inline(events: Sequence[StoryEvent]) -> StoredStory:
    """Events as a caller sent them, by order; of one order as they were sent.

    Nothing is stored: a turn finds the vectors of their words in the cache of vectors. The name is
    a digest of what is ranked, so that stories of two callers never share an index.
    """
    name = digest(*(text for event in events for text in (event.id, event_text(event))))
    return StoredStory(f"inline-{name}", tuple(sorted(events, key=lambda event: event.order)))


class StoryIndex:
    """The stories of this server. All methods block; the async one runs in a thread if it must.

    Args:
        database: where the named stories are.
        encoder: makes their vectors.
    """

    def __init__(self, database: ChromaDatabase, encoder: Encoder) -> None:
        """Touches neither yet."""
        self._database = database
        self._encoder = encoder
        self._named = Shelf(
            database,
            "story",
            encoder,
            model=StoryEvent,
            text=event_text,
            order=lambda event: event.order,
            documents=True,
            cached_rows=CACHED_EVENTS,
        )

    async def aload(self, events: Sequence[StoryEvent], story_id: str | None = None) -> StoredStory:
        """The story of a request: its own events where it sends some, else the named story.

        Raises:
            BadRequest: the named story was never built.
            StoreError, EmbeddingError: the index failed.
        """
        if events or story_id is None:
            return inline(events)
        return await asyncio.to_thread(self.named, story_id)

    def named(self, story_id: str) -> StoredStory:
        """A story that was built beforehand, as it is now.

        Raises:
            BadRequest: it was never built.
            StoreError, EmbeddingError: the index failed.
        """
        return StoredStory(self._named.name(digest(story_id)), self._rows(story_id).items)

    def nearest(self, story_id: str, vector: np.ndarray, k: int) -> list[tuple[StoryEvent, float]]:
        """The k events of a named story nearest in meaning, best first, with scores from 0 to 1.

        For a look into an index: it minds neither the story's clock nor who knows what.

        Args:
            story_id: its name.
            vector: of a question, (dimension,) float32 of unit length.
            k: at most so many.

        Raises:
            BadRequest: it was never built.
            StoreError, EmbeddingError: the index failed.
        """
        rows = self._rows(story_id)
        events = dict(zip(rows.ids, rows.items, strict=True))
        found = self._database.nearest(self._named.name(digest(story_id)), vector, k)
        return [(events[id], score) for id, score in found if id in events]

    def _rows(self, story_id: str) -> Rows[StoryEvent]:
        rows = self._named.load(digest(story_id))
        if rows is None:
            raise BadRequest(
                "no such story is indexed; build it with `python -m scripts.build_index`, "
                "or send its events in `story`",
                field="story_id",
            )
        return rows

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


def _by_row_id(events: Sequence[StoryEvent]) -> dict[str, StoryEvent]:
    return {row_id(event.id, event.model_dump_json()): event for event in events}
