"""Node `retrieve_story`: what has happened in the story and bears on the message."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from nodes.embed import search_of
from retrieval.index import IndexCache
from retrieval.story import retrieve_story_context, script_of_story, search_story
from routing.progress import around, find_upcoming
from schemas.errors import StoreError
from schemas.rag import StoryRAGResult
from schemas.readers import Readers
from schemas.state import Context, State, context_of, request_of

__all__ = ["node", "retrieve_story_context"]


async def node(
    state: State,
    runtime: Runtime[Context],
    *,
    readers: Readers,
    indexes: IndexCache,
) -> dict[str, object]:
    """Reads `request`, `script` and `query`; writes `story`, `story_script`, `unread_story`.

    A story that the reader of the chat cannot read has its own. A store that fails costs the story
    only.
    """
    request, search, script = request_of(state), state["query"], state["script"]
    context = context_of(request, runtime.context)
    told = [event for event in request.story if not event.is_lore]
    if not request.story_rag_config.enabled or not (told or request.story_id):
        return {"story": StoryRAGResult()}
    try:
        story = await readers[script].stories.aload(told, request.story_id)
        if script == "latin" and script_of_story(story.events) != script:
            script, chat = "cjk", readers[script]  # that reads English, too
            if readers[script] is not chat:
                story = await readers[script].stories.aload(told, request.story_id)
                search = await search_of(
                    request, embedder=readers[script].embedder, analyzer=indexes.analyzer
                )
    except StoreError as error:
        return {"story": StoryRAGResult(warning=f"no story: {error.message}")}

    embedder, stories, _ = readers[script]

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
            events,
            position,
            request.message,
            search.message,
            embedder,
            trust=search.query.cosines.trust,
        )
        return found.model_copy(update={"upcoming": upcoming}), left + unread

    found, left = await (stories.apart(find) if story.stands else asyncio.to_thread(find))
    return {"story": found, "story_script": script, "unread_story": left}
