"""What has happened in a story and bears on a search: events as passages, the clock, who knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from language.normal import nfc
from language.script import Script, script_of
from retrieval.hybrid import STORY, Knobs, rank
from retrieval.index import Index, IndexCache, Passage
from retrieval.text import mentioned_in, parts
from retrieval.vectors import part_vectors
from schemas.budget import current, spending
from schemas.errors import StoreError
from schemas.protocols import PassageVectors, Story, StorySource
from schemas.rag import RAGChunk, Search, StoryRAGResult
from schemas.request import ChatRequest, Persona, StoryEvent
from schemas.state import Context

EVENTS_AT_ONCE = 32
"""Unknown parts that a turn embeds before it ranks, as `retrieval.vectors.AT_ONCE`. Words find more
in a story: with 15 parts in 100 embedded FairytaleQA loses .002 MRR (lab/retrieval.md)."""
EVENT_PART_SIZE = 120  # characters, about a sentence: questions ask for a detail of an event
WAKING_LINES = 2
"""Lines before the message that wake an event's keywords, beside the message."""


def search_story(
    request: ChatRequest,
    story: Story,
    search: Search,
    context: Context,
    *,
    awaited: Iterable[int],
    stories: StorySource,
    indexes: IndexCache,
    source: PassageVectors,
) -> tuple[StoryRAGResult, list[str]]:
    """What of a story bears on the search, and the parts without a vector. Blocks.

    A store that fails costs the vectors only; keywords that take too long are not looked for.

    Args:
        request: the turn.
        story: its story.
        search: what for.
        context: how much is to be found.
        awaited: rows of the events that the story's progress compares with the message.
        stories: search a story that stands on the server.
        indexes: of recent stories.
        source: vectors of passages.

    Raises:
        EmbeddingError: the embedder failed.
    """
    events, persona, position = story.events, request.persona, request.story_position
    vectors, left, warnings, budget = None, list[str](), list[str](), current()
    known = budget.warnings()
    with indexes.index(story.name, EVENT_PART_SIZE) as index:
        index.update(event_passages(events))
        told, hidden = told_and_hidden(events, persona, position)
        if story.stands:
            try:
                stories.make_known(story, awaited)
                vectors = stories.search(story, index, search, (told, hidden), position)
            except StoreError as error:
                warnings.append(f"the story is searched by words only: {error.message}")
        else:
            vectors, left = part_vectors(
                index, search.query, source,
                dimension=search.views.shape[1], at_once=EVENTS_AT_ONCE, allowed=told | hidden,
            )  # fmt: skip
        with spending(budget):
            found = retrieve_story_context(
                search,
                events,
                index,
                vectors,
                persona=persona,
                position=position,
                top_k=context.story_top_k,
                score_threshold=context.story_score_threshold,
                texts=[request.message, *(it.content for it in request.history[-WAKING_LINES:])],
            )
    warnings += (warning for warning in budget.warnings() if warning not in known)
    return found.model_copy(update={"warning": "; ".join(warnings) or None}), left


def retrieve_story_context(
    search: Search,
    events: Sequence[StoryEvent],
    index: Index,
    vectors: np.ndarray | None,
    *,
    persona: Persona,
    position: int | None,
    top_k: int,
    score_threshold: float = 0.0,
    texts: Sequence[str] = (),
) -> StoryRAGResult:
    """The events that bear on the search, among those that have happened.

    What the character may know and what only the narrator may see are ranked apart, each with the
    rest masked before the ranking. Constant events come first and are always there; then those
    that a keyword in `texts` wakes; then what ranks best.

    Args:
        search: what for.
        events: n events in story order, the passages of `index`.
        index: of them.
        vectors: (parts of the index, d), rows of unit length, NaN where not known.
        persona: the character.
        position: the story's clock; without one all has happened.
        top_k: how many of each kind are ranked in.
        score_threshold: least score of these.
        texts: the message and the lines before it.
    """
    told, hidden = told_and_hidden(events, persona, position)
    best, kept_back = (
        rank(
            index,
            search.query,
            limit=top_k,
            vectors=vectors,
            query_vectors=search.views,
            allowed=allowed,
            knobs=Knobs(weights=STORY, threshold=score_threshold),
        )
        for allowed in (told, hidden)
    )
    rows = np.flatnonzero(told).tolist()
    woken = awakened([events[row] for row in rows], texts)
    scores = {hit.row: hit.score for hit in best}
    why: dict[int, list[str]] = {row: ["constant"] for row in rows if events[row].constant}
    for row in rows:
        if keyword := woken.get(events[row].id):
            why.setdefault(row, []).append(f"keyword {keyword}")
    for hit in best:
        why.setdefault(hit.row, []).extend(hit.why)
    return StoryRAGResult(
        context=[
            event_chunk(events[row], scores.get(row), reasons) for row, reasons in why.items()
        ],
        narrator_only=[event_chunk(events[hit.row], hit.score, list(hit.why)) for hit in kept_back],
    )


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


def script_of_story(events: Sequence[StoryEvent]) -> Script:
    """The script that its events are told in."""
    return script_of([event.text for event in events])


def texts_to_embed(events: Iterable[StoryEvent]) -> list[str]:
    """All texts of a story that a turn compares with vectors: of each event its trigger, if it has
    one, and its parts."""
    return [text for event in events for text in (event.trigger, *event_parts(event)) if text]


def awakened(events: Iterable[StoryEvent], texts: Sequence[str]) -> dict[str, str]:
    """Id to the first keyword, of each event with a keyword that one of the texts mentions.

    Events behind the end of the turn's time for keywords stay asleep.
    """
    mentioned, budget, woken = mentioned_in(texts), current(), dict[str, str]()
    with budget.keywords:
        for event in events:
            if budget.keywords.is_empty():
                break
            keyword = next(filter(mentioned, event.keywords), None)
            if keyword is not None:
                woken[event.id] = keyword
    return woken


def event_chunk(event: StoryEvent, score: float | None, why: list[str]) -> RAGChunk:
    """An event as retrieval hands it on."""
    text = f"{event.title}: {event.text}" if event.title else event.text
    meta = {"order": event.order, "time": event.time, "location": event.location, "why": why}
    return RAGChunk(id=event.id, source="story", text=text, score=score, meta=meta)


def told_and_hidden(
    events: Sequence[StoryEvent], persona: Persona, position: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of n events, (n,) bool each: those that have happened and the character may know of, and
    those that have happened and only the narrator may see. Without a clock, all has happened."""
    names = names_of(persona)
    happened = np.array([position is None or it.order <= position for it in events], dtype=bool)
    knows = np.array([may_know(event, names) for event in events], dtype=bool)
    return happened & knows, happened & ~knows


def may_know(event: StoryEvent, names: frozenset[str]) -> bool:
    """Whether the bearer of these names (see `names_of`) knows of the event.

    Public events are known to all, witnessed ones to who was present or is named in
    `known_by`, secret ones only to who is named in `known_by`.
    """
    if event.visibility == "public" or not names.isdisjoint(map(_folded, event.known_by)):
        return True
    return event.visibility == "witnessed" and not names.isdisjoint(map(_folded, event.characters))


def names_of(persona: Persona) -> frozenset[str]:
    """The names that an event may call the character by."""
    return frozenset(map(_folded, (persona.name, *persona.aliases)))


def _folded(name: str) -> str:
    return nfc(name).strip().casefold()
