"""Story events as passages, and which of them their keywords wake up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from retrieval.index import Index, Passage
from retrieval.text import mentioned_in, parts
from schemas.rag import RAGChunk
from schemas.request import StoryEvent

EVENTS_AT_ONCE = 32
"""Unknown parts that a turn embeds before it ranks, as `retrieval.vectors.AT_ONCE`. Words find more
in a story: with 15 parts in 100 embedded FairytaleQA loses .002 MRR (lab/retrieval.md)."""
EVENT_PART_SIZE = 120  # characters, about a sentence: questions ask for a detail of an event


class EventIndex(Index):
    """The events of a story as passages."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__(part_size=EVENT_PART_SIZE)

    def read(self, events: Iterable[StoryEvent]) -> None:
        """Make the index hold exactly these events, in the order of the story."""
        self.update(event_passages(events))


def event_passages(events: Iterable[StoryEvent]) -> list[Passage]:
    """Events, in the order of the story, as passages of one scene: each follows the one before."""
    return [Passage(event.id, event_text(event)) for event in events]


def event_text(event: StoryEvent) -> str:
    """All that an event is found by: title, text, time, place and plain keywords."""
    keywords = ", ".join(keyword for keyword in event.keywords if not keyword.startswith("/"))
    fields = (event.title, event.text, event.time, event.location, keywords)
    return "\n\n".join(field for field in fields if field)


def event_parts(event: StoryEvent) -> list[str]:
    """The texts that are embedded of an event, at least one: retrieval ranks them, the story's
    progress compares a message with them, and an index keeps them."""
    return parts(event_text(event), EVENT_PART_SIZE)


def texts_to_embed(events: Iterable[StoryEvent]) -> list[str]:
    """All texts of a story that a turn compares with vectors: of each event its trigger, if it has
    one, and its parts."""
    return [text for event in events for text in (event.trigger, *event_parts(event)) if text]


def awakened(events: Iterable[StoryEvent], texts: Sequence[str]) -> dict[str, str]:
    """Id to the first keyword, of each event with a keyword that one of the texts mentions."""
    mentioned = mentioned_in(texts)
    first = ((event.id, next(filter(mentioned, event.keywords), None)) for event in events)
    return {id: keyword for id, keyword in first if keyword is not None}


def event_chunk(event: StoryEvent, score: float | None, why: list[str]) -> RAGChunk:
    """An event as retrieval hands it on."""
    text = f"{event.title}: {event.text}" if event.title else event.text
    meta = {"order": event.order, "time": event.time, "location": event.location, "why": why}
    return RAGChunk(id=event.id, source="story", text=text, score=score, meta=meta)
