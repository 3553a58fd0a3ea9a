"""Node `retrieve_story`: what has happened in the story and bears on the message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from langgraph.runtime import Runtime

from cards.events import is_lore
from retrieval.cache import IndexCache
from retrieval.hybrid import STORY, Index, Knobs, rank_apart
from retrieval.knowledge import has_happened, may_know, names_of
from retrieval.story import EVENTS_AT_ONCE, EventIndex, awakened, event_chunk
from retrieval.vectors import part_vectors, unread
from routing import parse_directive
from routing.happening import split
from routing.likeness import event_told, likenesses, trust_in
from routing.progress import AHEAD, PAST
from schemas.errors import StoreError
from schemas.protocols import Embedder, StorySource
from schemas.rag import StoryRAGResult, Upcoming
from schemas.request import ChatRequest, Persona, StoryEvent
from schemas.search import Search
from schemas.state import Context, State, request_of

LINES = 2
"""Lines before the message that wake an event's keywords, beside the message."""


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
        events: n events in story order, the passages of `index`.
        vectors: (parts of the index, d), rows of unit length, NaN where not known.
        texts: the message and the lines before it.
    """
    names = names_of(persona)
    happened = [has_happened(event, position) for event in events]
    knows = [may_know(event, names) for event in events]
    known = np.array([a and b for a, b in zip(happened, knows, strict=True)], dtype=bool)
    hidden = np.array([a and not b for a, b in zip(happened, knows, strict=True)], dtype=bool)

    best, kept_back = rank_apart(
        index,
        search.query,
        [known, hidden],
        limit=top_k,
        vectors=vectors,
        query_vectors=search.views,
        knobs=Knobs(weights=STORY, threshold=score_threshold),
    )
    hits = {hit.row: hit for hit in best}
    woken = awakened([event for event, may in zip(events, known, strict=True) if may], texts)
    why: dict[int, list[str]] = {}
    for row in np.flatnonzero(known).tolist():
        if events[row].constant:
            why.setdefault(row, []).append("constant")
    for row in np.flatnonzero(known).tolist():
        if keyword := woken.get(events[row].id):
            why.setdefault(row, []).append(f"keyword {keyword}")
    for row, hit in hits.items():
        why.setdefault(row, []).extend(hit.why)
    return StoryRAGResult(
        context=[
            event_chunk(events[row], hits[row].score if row in hits else None, reasons)
            for row, reasons in why.items()
        ],
        narrator_only=[event_chunk(events[hit.row], hit.score, list(hit.why)) for hit in kept_back],
    )


async def node(
    state: State,
    runtime: Runtime[Context],
    *,
    embedder: Embedder,
    stories: StorySource,
    indexes: IndexCache,
) -> dict[str, object]:
    """Reads `request` and `query`; writes `story` and `unread_story`.

    A store that fails costs the story only.
    """
    request, context = request_of(state), runtime.context or Context()
    config = request.story_rag_config
    told = [event for event in request.story if not is_lore(event)]
    if not config.enabled or not (told or request.story_id):
        return {"story": StoryRAGResult()}
    try:
        story = await stories.aload(told, request.story_id)
    except StoreError as error:
        return {"story": StoryRAGResult(warning=f"no story: {error.message}")}
    search, events, meanings = state["query"], story.events, None
    if _waits(events, request.story_position):
        meanings = await embedder.aencode_passages(_read_for_progress(events))

    def find() -> tuple[StoryRAGResult, list[str]]:
        with indexes.index(story.name, EventIndex) as index:
            index.read(events)
            found = retrieve_story_context(
                search,
                events,
                index,
                part_vectors(index, search.query, embedder, at_once=EVENTS_AT_ONCE),
                persona=request.persona,
                position=request.story_position,
                top_k=context.story_top_k if config.top_k is None else config.top_k,
                score_threshold=(
                    context.story_score_threshold
                    if config.score_threshold is None
                    else config.score_threshold
                ),
                texts=[request.message, *(line.content for line in request.history[-LINES:])],
            )
            if meanings is not None:
                upcoming = _upcoming(request, events, index, meanings, search.message)
                found = found.model_copy(update={"upcoming": upcoming})
            return found, [index.parts[row] for row in unread(index)]

    found, left = await asyncio.to_thread(find)
    return {"story": found, "unread_story": left}


def _waits(events: Sequence[StoryEvent], position: int | None) -> bool:
    """Whether an event is still to come that waits for its trigger."""
    return position is not None and any(e.trigger and e.order > position for e in events)


def _read_for_progress(events: Sequence[StoryEvent]) -> list[str]:
    """What a message is compared with: the triggers, then all events as they are told."""
    return [*(e.trigger for e in events if e.trigger), *map(event_told, events)]


def _upcoming(
    request: ChatRequest,
    events: Sequence[StoryEvent],
    index: EventIndex,
    vectors: np.ndarray,
    message: np.ndarray,
) -> Upcoming:
    """The next event that waits for its trigger, and how near the message is to it.

    Args:
        vectors: those of `_read_for_progress`.
        message: its vector.
    """
    position = request.story_position or 0
    ahead = sorted((e for e in events if e.order > position), key=lambda event: event.order)
    waiting = next(row for row, event in enumerate(ahead) if event.trigger)
    event = ahead[waiting]
    own = [row for row, e in enumerate(events) if e.trigger]
    cosines = vectors @ message
    if (trust := index.trust.get(index.embedder)) is None:
        trust = trust_in(vectors[: len(own)], vectors[len(own) :], own)
        index.trust[index.embedder] = trust
    of_triggers = np.full(len(events), np.nan)
    of_triggers[own] = cosines[: len(own)]
    directive = parse_directive(request.message)
    happens, _ = split(directive.message if directive else request.message)
    line = sorted(own, key=lambda row: events[row].order)
    at = line.index(events.index(event))
    later, past = line[at + 1 : at + 1 + AHEAD], line[max(0, at - PAST) : at]
    rows = [line[at], *later, *past]
    of_both = of_triggers, cosines[len(own) :]
    near, *others = likenesses(happens, events, rows, of_both, trust)
    return Upcoming(
        event=event,
        passing=ahead[:waiting],
        likeness=near,
        later=[(events[row].order, found) for row, found in zip(later, others, strict=False)],
        past=others[len(later) :],
    )
