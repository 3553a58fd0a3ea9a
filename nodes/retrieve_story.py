"""Node `retrieve_story`: what has happened in the story and bears on the message."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from retrieval.index import IndexCache
from retrieval.story import retrieve_story_context, search_story
from routing.progress import around, find_upcoming
from schemas.errors import StoreError
from schemas.protocols import Embedder, StorySource
from schemas.rag import StoryRAGResult
from schemas.state import Context, State, context_of, request_of

__all__ = ["node", "retrieve_story_context"]


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
    request, search = request_of(state), state["query"]
    context = context_of(request, runtime.context)
    told = [event for event in request.story if not event.is_lore]
    if not request.story_rag_config.enabled or not (told or request.story_id):
        return {"story": StoryRAGResult()}
    try:
        story = await stories.aload(told, request.story_id)
    except StoreError as error:
        return {"story": StoryRAGResult(warning=f"no story: {error.message}")}

    def find() -> tuple[StoryRAGResult, list[str]]:
        events, position = story.events, request.story_position
        found, left = search_story(
            request,
            story,
            search,
            context,
            awaited=around(events, position),
            stories=stories,
            indexes=indexes,
            source=embedder,
        )
        upcoming, unread = find_upcoming(
            events, position, request.message, search.message, embedder
        )
        return found.model_copy(update={"upcoming": upcoming}), left + unread

    found, left = await (stories.apart(find) if story.stands else asyncio.to_thread(find))
    return {"story": found, "unread_story": left}
