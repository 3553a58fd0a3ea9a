"""Node `embed`: the message becomes a vector."""

from __future__ import annotations

import numpy as np
from langgraph.runtime import Runtime

from schemas.protocols import Embedder
from schemas.state import Context, State, request_of


async def embed_text(text: str, *, embedder: Embedder) -> np.ndarray:
    """The vector of a question, (dimension,) float32 of unit length.

    Raises:
        EmbeddingError: the embedder failed.
    """
    vector: np.ndarray = (await embedder.aencode_queries([text]))[0]
    return vector


async def node(state: State, runtime: Runtime[Context], *, embedder: Embedder) -> dict[str, object]:
    """Reads `request`; writes `query`, the vector of the message."""
    return {"query": await embed_text(request_of(state).message, embedder=embedder)}
