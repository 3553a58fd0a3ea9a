"""Node `embed`: what is looked for in this turn, and its vectors."""

from __future__ import annotations

import numpy as np
from langgraph.runtime import Runtime

from retrieval.query import Turn, make_query
from retrieval.scenes import scenes, speaker_of
from schemas.protocols import Embedder
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


async def node(state: State, runtime: Runtime[Context], *, embedder: Embedder) -> dict[str, object]:
    """Reads `request`; writes `query`: one call of the embedder for all that is asked."""
    request = request_of(state)
    query = query_of(request)
    texts = list(dict.fromkeys([request.message, *query.texts]))
    vectors = await embedder.aencode_queries(texts)
    rows = [texts.index(text) for text in query.texts]
    return {"query": Search(query, views=vectors[rows], message=vectors[0])}
