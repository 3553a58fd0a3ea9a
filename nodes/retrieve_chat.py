"""Node `retrieve_chat`: what was said before and bears on the message."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langgraph.runtime import Runtime

from prompts.plan import dialogue, plan
from schemas.embedding import embedding_id
from schemas.errors import StoreError
from schemas.models import Model, Models
from schemas.protocols import Embedder, StandingMemory
from schemas.rag import ChatRAGResult, PromptBuildInput, RAGChunk
from schemas.request import ChatRequest, Message
from schemas.state import Context, State, request_of


def retrieve_chat_context(
    query: np.ndarray,
    messages: Sequence[Message],
    vectors: np.ndarray,
    *,
    verbatim: Sequence[Message] = (),
    top_k: int,
    score_threshold: float = 0.0,
) -> list[RAGChunk]:
    """The past messages nearest to the query, best first.

    What stands verbatim in the prompt is left out before the ranking, so it takes no one's place.

    Args:
        query: (d,) of unit length.
        messages: n messages, oldest first, in the order of the rows of `vectors`.
        vectors: (n, d), rows of unit length.
        verbatim: what the prompt holds already.
    """
    seen = {message.content for message in verbatim}
    scores = np.clip(vectors @ query, 0, 1) if len(messages) else np.empty(0)
    rows = sorted(range(len(messages)), key=lambda row: (-scores[row], -row))
    chosen: list[RAGChunk] = []
    for row in rows:
        if len(chosen) == top_k or scores[row] < score_threshold:
            break
        message = messages[row]
        if message.role == "system" or not message.content.strip() or message.content in seen:
            continue
        seen.add(message.content)
        chosen.append(_chunk(message, row, float(scores[row])))
    return chosen


def _chunk(message: Message, row: int, score: float) -> RAGChunk:
    """A message as retrieval hands it on."""
    meta = {"row": row, "role": message.role, "name": message.name, "why": ["dense"]}
    name = message.id or embedding_id(message.content)
    return RAGChunk(id=name, source="chat", text=message.content, score=score, meta=meta)


def verbatim_from(request: ChatRequest, context: Context, model: Model) -> int:
    """Row of the first message that the prompt will hold verbatim.

    Raises:
        BadRequest: card and message do not fit the model's context.
    """
    given = PromptBuildInput(
        persona=request.persona,
        history=dialogue(request),
        user_message=request.message,
        user_name=request.user_name,
        layout=model.layout_for(request.gen.max_new_tokens, context.max_new_tokens),
    )
    return plan(given, model.count).verbatim_from


async def node(
    state: State,
    runtime: Runtime[Context],
    *,
    embedder: Embedder,
    memory: StandingMemory | None,
    models: Models,
) -> dict[str, object]:
    """Reads `request` and `query`; writes `chat`."""
    request, context = request_of(state), runtime.context or Context()
    cut = verbatim_from(request, context, models.choose(request.model.name))
    config = request.chat_rag_config
    if not config.enabled:
        return {"chat": ChatRAGResult(verbatim_from=cut)}
    past, warning = await _past(request, cut, memory)
    found = retrieve_chat_context(
        state["query"],
        past,
        await embedder.aencode_passages([message.content for message in past]),
        verbatim=request.history[cut:],
        top_k=context.chat_top_k if config.top_k is None else config.top_k,
        score_threshold=(
            context.chat_score_threshold
            if config.score_threshold is None
            else config.score_threshold
        ),
    )
    return {"chat": ChatRAGResult(context=found, verbatim_from=cut, warning=warning)}


async def _past(
    request: ChatRequest, cut: int, memory: StandingMemory | None
) -> tuple[list[Message], str | None]:
    """The chat before the verbatim part, with what the server remembers of it beside; and what
    went wrong: a memory that fails costs itself only."""
    past = request.history[:cut]
    if memory is None or not request.user_id or not request.session_id:
        return past, None
    sent = {(message.role, message.content) for message in request.history}
    try:
        remembered = await memory.aload(request.user_id, request.session_id)
    except StoreError as error:
        return past, f"no standing memory: {error.message}"
    return [m for m in remembered.messages if (m.role, m.content) not in sent] + past, None
