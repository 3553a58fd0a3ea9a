"""Node `retrieve_story`: what has happened in the story and bears on the message."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langgraph.runtime import Runtime

from retrieval.knowledge import has_happened, may_know, names_of
from schemas.errors import StoreError
from schemas.protocols import StorySource
from schemas.rag import RAGChunk, StoryRAGResult
from schemas.request import Persona, StoryEvent
from schemas.state import Context, State, request_of


def retrieve_story_context(
    query: np.ndarray,
    events: Sequence[StoryEvent],
    vectors: np.ndarray,
    *,
    persona: Persona,
    position: int | None,
    top_k: int,
    score_threshold: float = 0.0,
) -> StoryRAGResult:
    """The events nearest to the query among those that have happened.

    What the character may know and what only the narrator may see are ranked apart, so that
    neither takes the other's place; constant events come first and are always there.

    Args:
        query: (d,) of unit length.
        events: n events, in the order of the rows of `vectors`.
        vectors: (n, d), rows of unit length.
    """
    names = names_of(persona)
    scores = np.clip(vectors @ query, 0, 1)
    rows = [row for row, event in enumerate(events) if has_happened(event, position)]
    known = [row for row in rows if may_know(events[row], names)]
    hidden = [row for row in rows if not may_know(events[row], names)]
    constants = [row for row in known if events[row].constant]

    def best(candidates: list[int]) -> list[int]:
        near = [row for row in candidates if scores[row] >= score_threshold]
        return sorted(near, key=lambda row: (-scores[row], events[row].order))[:top_k]

    chosen = constants + [row for row in best(known) if row not in constants]
    return StoryRAGResult(
        context=[_chunk(events[row], float(scores[row])) for row in chosen],
        narrator_only=[_chunk(events[row], float(scores[row])) for row in best(hidden)],
    )


def _chunk(event: StoryEvent, score: float) -> RAGChunk:
    """An event as retrieval hands it on."""
    text = f"{event.title}: {event.text}" if event.title else event.text
    why = ["constant"] if event.constant else ["dense"]
    meta = {"order": event.order, "time": event.time, "location": event.location, "why": why}
    return RAGChunk(id=event.id, source="story", text=text, score=score, meta=meta)


async def node(
    state: State, runtime: Runtime[Context], *, stories: StorySource
) -> dict[str, object]:
    """Reads `request` and `query`; writes `story`. A store that fails costs the story only."""
    request, context = request_of(state), runtime.context or Context()
    config = request.story_rag_config
    if not config.enabled or not (request.story or request.story_id):
        return {"story": StoryRAGResult()}
    try:
        story = await stories.aload(request.story, request.story_id)
    except StoreError as error:
        return {"story": StoryRAGResult(warning=f"no story: {error.message}")}
    found = retrieve_story_context(
        state["query"],
        story.events,
        story.vectors,
        persona=request.persona,
        position=request.story_position,
        top_k=context.story_top_k if config.top_k is None else config.top_k,
        score_threshold=(
            context.story_score_threshold
            if config.score_threshold is None
            else config.score_threshold
        ),
    )
    return {"story": found}
