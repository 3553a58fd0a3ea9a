"""Node `embed`: what is looked for in this turn, and its vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

import numpy as np
from langgraph.runtime import Runtime

from retrieval.chat import query_of, script_of_chat
from retrieval.query import view_vectors
from retrieval.text import RULES
from schemas.base import done
from schemas.protocols import Analyzer, Embedder
from schemas.rag import Search, of_one_length
from schemas.readers import Readers
from schemas.request import ChatRequest
from schemas.state import Context, State, request_of


def embed_text(text: str, *, embedder: Embedder) -> Awaitable[np.ndarray]:
    """The vector of a question, (1, dimension) float32 of unit length; the work begins now.

    Raises:
        EmbeddingError: when it is awaited: the embedder failed.
    """
    return embedder.begin_queries([text])


async def search_of(
    request: ChatRequest, *, embedder: Embedder, analyzer: Analyzer = RULES
) -> Search:
    """What is looked for, with its vectors.

    The running chat was said, so it is embedded as a passage: it is known if it was embedded after
    the last reply (`graph/pipeline.py`), and nothing but the message is computed.

    Raises:
        EmbeddingError: the embedder failed.
    """
    begun = embed_text(request.message, embedder=embedder)  # the query is made meanwhile
    query = await done(partial(query_of, request, analyzer), aside=request.is_large)
    own, *chat = query.texts
    asked = begun if own == request.message else embed_text(own, embedder=embedder)
    # the same future twice is awaited once
    message, first, before, cosines = await asyncio.gather(
        begun,
        asked,
        embedder.aencode_passages(chat),
        embedder.cosine_scale(" ".join(query.texts)),
    )
    of_one_length(message, first, before)
    views = view_vectors(query, np.stack([*first, *before]))
    return Search(query=replace(query, cosines=cosines), views=views, message=message[0])


async def node(
    state: State, runtime: Runtime[Context], *, readers: Readers, analyzer: Analyzer
) -> dict[str, object]:
    """Reads `request`; writes `script` and `query`."""
    request = request_of(state)
    script = script_of_chat(request)
    search = await search_of(request, embedder=readers[script].embedder, analyzer=analyzer)
    return {"script": script, "query": search}
