"""Node `retrieve_chat`: what was said before and bears on the message."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from cards.macros import chat_of
from nodes.plan_prompt import planned
from retrieval.chat import joined, reranked, retrieve_chat_context, search_history, search_memory
from retrieval.index import IndexCache
from schemas.errors import EmbeddingError, StoreError
from schemas.models import Models
from schemas.protocols import Reranker, StandingMemory
from schemas.rag import NOTHING_RECALLED, ChatRAGResult, RAGChunk, Recalled, Search
from schemas.readers import Readers
from schemas.request import ChatRequest
from schemas.state import Context, State, context_of, request_of

__all__ = ["node", "retrieve_chat_context"]

POOL = 4
"""Times as many messages are found as asked for where a cross-encoder chooses among them."""


async def node(
    state: State,
    runtime: Runtime[Context],
    *,
    readers: Readers,
    reranker: Reranker | None,
    indexes: IndexCache,
    models: Models,
) -> dict[str, object]:
    """Reads `request`, `script`, `query` and `plan`; writes `chat`, `unread` and `recalled_from`.

    A memory that fails costs itself only.
    """
    request, search, script = request_of(state), state["query"], state["script"]
    embedder, _, memory = readers[script]
    context = context_of(request, runtime.context)
    cut = (await planned(state, context, models)).verbatim_from
    top_k = context.chat_top_k
    if not request.chat_rag_config.enabled or not top_k:
        return {"chat": ChatRAGResult(verbatim_from=cut)}
    recalled, warning = await _remembered(request, search, memory)
    if reranker:
        context = context.model_copy(update={"chat_top_k": POOL * top_k})

    def find() -> tuple[list[RAGChunk], list[str]]:
        key = (request.user_id, request.session_id or chat_of(request), script)
        said = search_history(
            request, cut, search, context, key=key, indexes=indexes, source=embedder
        )
        remembered = search_memory(
            request, recalled, search, context, indexes=indexes, source=embedder
        )
        found = joined([said, remembered], context.chat_top_k)
        return found, [*said.unread, *remembered.unread]

    found, unread = await asyncio.to_thread(find)
    if reranker and found:
        try:
            found = await reranked(request.message, found, reranker, top_k=top_k)
        except EmbeddingError as error:
            warning = f"not reranked: {error.message}"
            found = [chunk for chunk in found if chunk.score is not None][:top_k]
    return {
        "chat": ChatRAGResult(context=found, verbatim_from=cut, warning=warning),
        "unread": unread,
        "recalled_from": recalled.source,
    }


async def _remembered(
    request: ChatRequest, search: Search, memory: StandingMemory | None
) -> tuple[Recalled, str | None]:
    """What the server may remember of this chat from before the request's history, or a warning."""
    user, session = request.user_id, request.session_id
    if memory is None or not user or not session:
        return NOTHING_RECALLED, None
    try:
        recalled = await memory.apart(
            lambda: memory.recall(user, session, search, request.history, request.message)
        )
    except StoreError as error:
        return NOTHING_RECALLED, f"no standing memory: {error.message}"
    return recalled, None
