"""Node `retrieve_story`: what has happened in the story and bears on the message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from langgraph.runtime import Runtime

from cards.events import is_lore
from retrieval.cache import IndexCache
from retrieval.hybrid import STORY, Knobs, rank
from retrieval.index import Index
from retrieval.knowledge import told_and_hidden
from retrieval.story import EVENTS_AT_ONCE, EventIndex, awakened, event_chunk
from retrieval.vectors import part_vectors, unread
from routing.progress import around, find_upcoming
from schemas.errors import StoreError
from schemas.protocols import Embedder, StorySource
from schemas.rag import StoryRAGResult
from schemas.request import Persona, StoryEvent
from schemas.search import Search
from schemas.state import Context, State, context_of, request_of

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
    known, hidden = told_and_hidden(events, persona, position)
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
        for allowed in (known, hidden)
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
    request = request_of(state)
    context = context_of(request, runtime.context)
    told = [event for event in request.story if not is_lore(event)]
    if not request.story_rag_config.enabled or not (told or request.story_id):
        return {"story": StoryRAGResult()}
    try:
        story = await stories.aload(told, request.story_id)
    except StoreError as error:
        return {"story": StoryRAGResult(warning=f"no story: {error.message}")}
    search, events, position = state["query"], story.events, request.story_position
    masks = told_and_hidden(events, request.persona, position)

    def find() -> tuple[StoryRAGResult, list[str]]:
        warning, left, vectors = None, [], None
        with indexes.index(story.name, EventIndex) as index:
            index.read(events)
            if story.stands:
                try:
                    stories.make_known(story, around(events, position))
                    vectors = stories.search(story, index, search, masks, position)
                except StoreError as error:
                    warning = f"the story is searched by words only: {error.message}"
            else:
                vectors = part_vectors(
                    index,
                    search.query,
                    embedder,
                    at_once=EVENTS_AT_ONCE,
                    allowed=masks[0] | masks[1],
                )
                left = [index.parts[row] for row in unread(index)]
            found = retrieve_story_context(
                search,
                events,
                index,
                vectors,
                persona=request.persona,
                position=position,
                top_k=context.story_top_k,
                score_threshold=context.story_score_threshold,
                texts=[request.message, *(line.content for line in request.history[-LINES:])],
            )
        upcoming, unread_too = find_upcoming(
            events, position, request.message, search.message, embedder
        )
        found = found.model_copy(update={"upcoming": upcoming, "warning": warning})
        return found, left + unread_too

    found, left = await asyncio.to_thread(find)
    return {"story": found, "unread_story": left}
