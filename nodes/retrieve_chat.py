"""Node `retrieve_chat`: what was said before and bears on the message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from langgraph.runtime import Runtime

from cards.macros import chat_of
from nodes.plan_prompt import planned
from retrieval.cache import IndexCache
from retrieval.hybrid import CHAT, Knobs
from retrieval.recall import Wanted, joined, retrieve_chat_context, search_history, search_memory
from schemas.errors import EmbeddingError, StoreError
from schemas.models import Models
from schemas.protocols import Embedder, Reranker, StandingMemory
from schemas.rag import ChatRAGResult, RAGChunk
from schemas.request import ChatRequest
from schemas.search import NOTHING_RECALLED, Recalled, Search
from schemas.state import Context, State, context_of, request_of

__all__ = ["node", "reranked", "retrieve_chat_context"]

POOL = 4
"""Times as many messages are found as asked for where a cross-encoder chooses among them."""


async def node(
    state: State,
    runtime: Runtime[Context],
    *,
    embedder: Embedder,
    memory: StandingMemory | None,
    reranker: Reranker | None,
    indexes: IndexCache,
    models: Models,
) -> dict[str, object]:
    """Reads `request`, `query` and `plan`; writes `chat` and `unread`.

    A memory that fails costs itself only.
    """
    request = request_of(state)
    context = context_of(request, runtime.context)
    cut = (await planned(state, context, models)).verbatim_from
    top_k, wanted = context.chat_top_k, _wanted(context, reranked=reranker is not None)
    if not request.chat_rag_config.enabled or not top_k:
        return {"chat": ChatRAGResult(verbatim_from=cut)}
    search = state["query"]
    recalled, warning = await _remembered(request, search, memory)

    def find() -> tuple[list[RAGChunk], list[str]]:
        key = (request.user_id, request.session_id or chat_of(request))
        said = search_history(
            request, cut, search, wanted, key=key, indexes=indexes, source=embedder
        )
        remembered = search_memory(request, recalled, search, wanted, source=embedder)
        found = [said, remembered]
        return joined(found, wanted.top_k), [text for one in found for text in one.unread]

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
    }


async def reranked(
    text: str, found: Sequence[RAGChunk], reranker: Reranker, *, top_k: int
) -> list[RAGChunk]:
    """The best of what was found, in the order and with the scores of a cross-encoder, and what
    stands beside them.

    Raises:
        EmbeddingError: it failed.
    """
    best = [chunk for chunk in found if chunk.score is not None]
    scores = await reranker.arank(text, [chunk.text for chunk in best])
    order = sorted(range(len(best)), key=lambda row: (-scores[row], row))[:top_k]
    chosen = [
        best[row].model_copy(
            update={
                "score": float(scores[row]),
                "meta": {**best[row].meta, "why": [*best[row].meta["why"], "reranked"]},
            }
        )
        for row in order
    ]
    names = {f"beside {chunk.id}" for chunk in chosen}
    return chosen + [chunk for chunk in found if names.intersection(chunk.meta["why"])]


def _wanted(context: Context, *, reranked: bool) -> Wanted:
    """How much is to be found, and how it is ranked."""
    knobs = Knobs(
        weights=CHAT,
        recency=context.chat_recency,
        in_scene=context.chat_in_scene,
        threshold=context.chat_score_threshold,
    )
    pool = context.chat_top_k * POOL if reranked else context.chat_top_k
    return Wanted(pool, context.chat_neighbours, knobs)


async def _remembered(
    request: ChatRequest, search: Search, memory: StandingMemory | None
) -> tuple[Recalled, str | None]:
    """What the server may remember of this chat from before the request's history, or a warning."""
    if memory is None or not request.user_id or not request.session_id:
        return NOTHING_RECALLED, None
    try:
        recalled = await asyncio.to_thread(
            memory.recall,
            request.user_id,
            request.session_id,
            search,
            request.history,
            request.message,
        )
    except StoreError as error:
        return NOTHING_RECALLED, f"no standing memory: {error.message}"
    return recalled, None
