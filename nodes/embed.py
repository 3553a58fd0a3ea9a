"""Node `embed`: what is looked for in this turn, and its vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace

import numpy as np
from langgraph.runtime import Runtime

from retrieval.chat import speaker_of, speakers
from retrieval.query import CHAT_LINES, ChatLine, chat_text, make_query, view_vectors
from schemas.protocols import Embedder
from schemas.request import ChatRequest, Message
from schemas.search import Query, Search
from schemas.state import Context, State, request_of


def embed_text(text: str, *, embedder: Embedder) -> Awaitable[np.ndarray]:
    """The vector of a question, (dimension,) float32 of unit length; the work begins now.

    Raises:
        EmbeddingError: when it is awaited: the embedder failed.
    """
    begun = embedder.begin_queries([text])

    async def vector() -> np.ndarray:
        first: np.ndarray = (await begun)[0]
        return first

    return vector()


def query_of(request: ChatRequest) -> Query:
    """What the message asks for; the lines before it say what it leaves open."""
    return make_query(
        request.message,
        [ChatLine(it.content, speaker_of(it, request)) for it in _lines_before(request.history)],
        speakers=sorted(speakers(request) | {request.persona.name}),
        names=[request.persona.name],
        present=[request.persona.name, request.user_name or "User"],
    )


def running_chat(history: Sequence[Message]) -> str:
    """The text that stands for the chat when the next message comes: to embed beforehand."""
    return chat_text(line.content for line in _lines_before(history))


def _lines_before(history: Sequence[Message]) -> list[Message]:
    return [line for line in history[-CHAT_LINES:] if line.role != "system"]


async def search_of(request: ChatRequest, *, embedder: Embedder) -> Search:
    """What is looked for, with its vectors.

    The running chat was said, so it is embedded as a passage: it is known if it was embedded after
    the last reply (`graph/pipeline.py`), and nothing but the message is computed.

    Raises:
        EmbeddingError: the embedder failed.
    """
    begun = embed_text(request.message, embedder=embedder)  # the query is made meanwhile
    query = query_of(request)
    own, *chat = query.texts
    asked = begun if own == request.message else embed_text(own, embedder=embedder)
    # the same coroutine twice is awaited once
    message, first, before, cosines = await asyncio.gather(
        begun,
        asked,
        embedder.aencode_passages(chat),
        embedder.cosine_scale(" ".join(query.texts)),
    )
    views = view_vectors(query, np.stack([first, *before]))
    return Search(query=replace(query, cosines=cosines), views=views, message=message)


async def node(state: State, runtime: Runtime[Context], *, embedder: Embedder) -> dict[str, object]:
    """Reads `request`; writes `query`."""
    return {"query": await search_of(request_of(state), embedder=embedder)}
