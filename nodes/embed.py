"""Node `embed`: what is looked for in this turn and its vectors; and the lore it calls for."""

from __future__ import annotations

import asyncio

import numpy as np
from langgraph.runtime import Runtime

from nodes.lore import active_lore, is_lore
from retrieval.query import Turn, make_query
from retrieval.scenes import scenes, speaker_of
from schemas.models import Models
from schemas.protocols import Embedder
from schemas.rag import Lore
from schemas.request import ChatRequest
from schemas.search import Query, Search
from schemas.state import Context, State, request_of

LINES = 6
"""Lines before the message that say what it is about."""


async def embed_text(text: str, *, embedder: Embedder) -> np.ndarray:
    """The vector of a question, (dimension,) float32 of unit length.

    Raises:
        EmbeddingError: the embedder failed.
    """
    vector: np.ndarray = (await embedder.aencode_queries([text]))[0]
    return vector


def query_of(request: ChatRequest) -> Query:
    """What the message asks for; the lines before it say what it leaves open."""
    lines = [line for line in request.history[-LINES:] if line.role != "system"]
    speakers = {speaker_of(line, request) for line in request.history if line.role != "system"}
    return make_query(
        request.message,
        [Turn(line.content, speaker_of(line, request)) for line in lines],
        speakers=sorted(speakers | {request.persona.name}),
        names=[request.persona.name],
        present=[request.persona.name, request.user_name or "User"],
        scene=(scenes(request.history) or [""])[-1],
    )


async def node(
    state: State, runtime: Runtime[Context], *, embedder: Embedder, models: Models
) -> dict[str, object]:
    """Reads `request`; writes `query`, with one call of the embedder for all that is asked, and
    `lore`."""
    request, context = request_of(state), runtime.context or Context()
    query = query_of(request)
    texts = list(dict.fromkeys([request.message, *query.texts]))
    vectors, lore = await asyncio.gather(
        embedder.aencode_queries(texts), _lore(request, context, models)
    )
    rows = [texts.index(text) for text in query.texts]
    search = Search(query=query, views=vectors[rows], message=vectors[0])
    return {"query": search, "lore": lore}


async def _lore(request: ChatRequest, context: Context, models: Models) -> Lore:
    if not any(map(is_lore, request.story)):
        return Lore()
    model = models.choose(request.model.name)
    layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
    return await asyncio.to_thread(active_lore, request, model, layout.max_new_tokens)
