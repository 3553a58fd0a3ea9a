"""Node `retrieve_chat`: what was said before and bears on the message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from langgraph.runtime import Runtime

from cards.chance import chat_of
from nodes.plan_prompt import planned
from retrieval.cache import IndexCache
from retrieval.chat import ChatIndex, speaker_of
from retrieval.hybrid import CHAT, Knobs, rank
from retrieval.index import Index
from retrieval.recollection import still_said
from retrieval.vectors import part_vectors, unread
from schemas.embedding import embedding_id
from schemas.errors import EmbeddingError, StoreError
from schemas.models import Models
from schemas.protocols import Embedder, Reranker, StandingMemory
from schemas.rag import ChatRAGResult, RAGChunk
from schemas.request import ChatRequest, Message
from schemas.search import Search
from schemas.state import Context, State, request_of

POOL = 4
"""Times as many messages are found as asked for where a cross-encoder chooses among them."""


def retrieve_chat_context(
    search: Search,
    messages: Sequence[Message],
    index: Index,
    vectors: np.ndarray | None,
    *,
    allowed: np.ndarray,
    top_k: int,
    knobs: Knobs,
) -> list[RAGChunk]:
    """The past messages that bear on the search, best first.

    What is not allowed is left out before the ranking, so it takes no one's place.

    Args:
        messages: n messages, oldest first, the passages of `index`.
        vectors: (parts of the index, d), rows of unit length, NaN where not known.
        allowed: (n,) which may be recalled (`ChatIndex.recallable`).
    """
    hits = rank(
        index,
        search.query,
        limit=top_k,
        vectors=vectors,
        query_vectors=search.views,
        allowed=allowed,
        knobs=knobs,
    )
    return [_chunk(messages[hit.row], hit.row, hit.score, list(hit.why)) for hit in hits]


def beside(
    found: Sequence[RAGChunk],
    messages: Sequence[Message],
    scenes: np.ndarray,
    *,
    allowed: np.ndarray,
    reach: int,
) -> list[RAGChunk]:
    """The messages around those that were found, of the same scene, those of better ones first.

    Args:
        found: of the messages.
        messages: n messages, oldest first.
        scenes: (n,) the scene of each.
        allowed: (n,) which may be recalled.
    """
    taken = {chunk.meta["row"] for chunk in found}
    around = []
    for chunk in found:
        at = chunk.meta["row"]
        for row in range(max(0, at - reach), min(len(messages), at + reach + 1)):
            if allowed[row] and row not in taken and scenes[row] == scenes[at]:
                taken.add(row)
                around.append(_chunk(messages[row], row, None, [f"beside {chunk.id}"]))
    return around


async def reranked(
    text: str, found: Sequence[RAGChunk], reranker: Reranker, *, top_k: int
) -> list[RAGChunk]:
    """The best of what was found, in the order and with the scores of a cross-encoder.

    Raises:
        EmbeddingError: it failed.
    """
    scores = await reranker.arank(text, [chunk.text for chunk in found])
    order = sorted(range(len(found)), key=lambda row: (-scores[row], row))[:top_k]
    return [
        found[row].model_copy(
            update={
                "score": float(scores[row]),
                "meta": {**found[row].meta, "why": [*found[row].meta["why"], "reranked"]},
            }
        )
        for row in order
    ]


def _chunk(message: Message, row: int, score: float | None, why: list[str]) -> RAGChunk:
    """A message as retrieval hands it on."""
    meta = {"row": row, "role": message.role, "name": message.name, "why": why}
    name = message.id or embedding_id(message.content)
    return RAGChunk(id=name, source="chat", text=message.content, score=score, meta=meta)


class _Found(NamedTuple):
    """What a turn takes from an index before the next one may have it."""

    chunks: list[RAGChunk]
    unread: list[str]  # parts without a vector
    allowed: np.ndarray  # (n,) which messages may be recalled
    scenes: np.ndarray  # (n,) of the messages


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
    request, context = request_of(state), runtime.context or Context()
    cut = (await planned(state, context, models)).verbatim_from
    config = request.chat_rag_config
    top_k = context.chat_top_k if config.top_k is None else config.top_k
    if not config.enabled or not top_k:
        return {"chat": ChatRAGResult(verbatim_from=cut)}
    older, warning = await _remembered(request, memory)
    past, verbatim = [*older, *request.history[:cut]], request.history[cut:]
    if not past:
        chat = ChatRAGResult(verbatim_from=cut, warning=warning)
        return {"chat": chat, "unread": []}
    knobs = Knobs(
        weights=CHAT,
        recency=context.chat_recency,
        in_scene=context.chat_in_scene,
        threshold=(
            context.chat_score_threshold
            if config.score_threshold is None
            else config.score_threshold
        ),
    )

    def find() -> _Found:
        with indexes.index((request.user_id, chat_of(request)), ChatIndex) as index:
            index.read(past, request)
            search = state["query"]
            if knobs.in_scene:
                search = search.in_scene(index.scene_after(verbatim))
            vectors = part_vectors(index, search.query, embedder)
            may, pool = index.recallable(verbatim), top_k * POOL if reranker else top_k
            found = retrieve_chat_context(
                search, past, index, vectors, allowed=may, top_k=pool, knobs=knobs
            )
            left = [index.parts[row] for row in unread(index)]
            return _Found(found, left, may, index.scenes())

    found, left, may, scenes = await asyncio.to_thread(find)
    if reranker and found:
        try:
            found = await reranked(request.message, found, reranker, top_k=top_k)
        except EmbeddingError as error:
            found, warning = found[:top_k], f"not reranked: {error.message}"
    found += beside(found, past, scenes, allowed=may, reach=context.chat_neighbours)
    for chunk in found:  # the row in the request's history; below 0: remembered
        row = chunk.meta["row"]
        chunk.meta.update(row=row - len(older), name=speaker_of(past[row], request))
    chat = ChatRAGResult(context=found, verbatim_from=cut, warning=warning)
    return {"chat": chat, "unread": left}


async def _remembered(
    request: ChatRequest, memory: StandingMemory | None
) -> tuple[list[Message], str | None]:
    """What the server remembers of this chat from before the request's history, or a warning."""
    if memory is None or not request.user_id or not request.session_id:
        return [], None
    try:
        kept = await memory.aload(request.user_id, request.session_id)
    except StoreError as error:
        return [], f"no standing memory: {error.message}"
    return still_said(kept.messages, request.history, request.message), None
