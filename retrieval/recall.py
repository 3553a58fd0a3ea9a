"""Which past messages bear on a search: those of the request, and those that the server remembers.

Both are ranked by the same measures, each among its own, and joined by their scores, which are
probabilities and so comparable. The history is an index that grows with the chat; what a standing
memory nominates is another one, made for the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.cache import IndexCache
from retrieval.chat import ChatIndex, speaker_of
from retrieval.hybrid import Knobs, rank
from retrieval.index import Index
from retrieval.vectors import PassageVectors, part_vectors, unread
from schemas.base import embedding_id
from schemas.rag import RAGChunk
from schemas.request import ChatRequest, Message
from schemas.search import Corpus, Recalled, Search


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is to be found, and how it is ranked."""

    top_k: int
    neighbours: int  # messages on each side that a find brings along
    knobs: Knobs


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, best first; then what stands beside it."""

    best: list[RAGChunk]
    beside: list[RAGChunk]
    unread: list[str]  # parts without a vector


def search_history(
    request: ChatRequest,
    cut: int,
    search: Search,
    wanted: Wanted,
    *,
    key: tuple[str | None, str],
    indexes: IndexCache,
    source: PassageVectors,
) -> Found:
    """What of the history before the verbatim lines bears on the search. Blocks.

    Args:
        request: the turn.
        cut: row of the history from which the prompt holds it verbatim.
        search: what for.
        wanted: how much.
        key: of the chat, to find its index again.
        indexes: of recent chats.
        source: vectors of passages.

    Raises:
        EmbeddingError: the embedder failed.
    """
    past, verbatim = request.history[:cut], request.history[cut:]
    if not past:
        return Found([], [], [])
    with indexes.index(key, ChatIndex) as index:
        index.read(past, request)
        if wanted.knobs.in_scene:
            search = search.in_scene(index.scene_after(verbatim))
        vectors = part_vectors(index, search.query, source)
        allowed = index.recallable(verbatim)
        best, beside = _found(index, past, search, vectors, allowed, wanted)
        left = [index.parts[row] for row in unread(index)]
    return Found(_named(best, past, request), _named(beside, past, request), left)


def search_memory(
    request: ChatRequest,
    recalled: Recalled,
    search: Search,
    wanted: Wanted,
    *,
    source: PassageVectors,
) -> Found:
    """What of a standing memory bears on the search. Blocks. Arguments as in `search_history`.

    Raises:
        EmbeddingError: the embedder failed.
    """
    messages = recalled.messages
    if not messages:
        return Found([], [], [])
    index = ChatIndex()
    index.read(messages, request, runs=recalled.runs)
    vectors = part_vectors(index, search.query, source)
    allowed = index.recallable(request.history)
    best, beside = _found(index, messages, search, vectors, allowed, wanted, recalled.corpus)
    for chunk in (*best, *beside):  # below the rows of the history
        chunk.meta["row"] -= len(messages)
    left = [index.parts[row] for row in unread(index)]
    return Found(_named(best, messages, request), _named(beside, messages, request), left)


def retrieve_chat_context(
    search: Search,
    messages: Sequence[Message],
    index: Index,
    vectors: np.ndarray | None,
    *,
    allowed: np.ndarray,
    top_k: int,
    knobs: Knobs,
    corpus: Corpus | None = None,
) -> list[RAGChunk]:
    """The past messages that bear on the search, best first.

    What is not allowed is left out before the ranking, so it takes no one's place.

    Args:
        search: what for.
        messages: n messages, oldest first, the passages of `index`.
        index: of them.
        vectors: (parts of the index, d), rows of unit length, NaN where not known.
        allowed: (n,) which may be recalled (`ChatIndex.recallable`).
        top_k: how many at most.
        knobs: how.
        corpus: of all messages, where these are candidates.
    """
    hits = rank(
        index,
        search.query,
        limit=top_k,
        vectors=vectors,
        query_vectors=search.views,
        allowed=allowed,
        knobs=knobs,
        corpus=corpus,
    )
    return [_chunk(messages[hit.row], hit.row, hit.score, list(hit.why)) for hit in hits]


def joined(found: Sequence[Found], top_k: int) -> list[RAGChunk]:
    """The best of several searches, then what stands beside these; no text twice."""
    best = sorted((chunk for one in found for chunk in one.best), key=lambda it: -(it.score or 0))
    texts: dict[str, RAGChunk] = {}
    for chunk in best:
        if len(texts) < top_k:
            texts.setdefault(chunk.text, chunk)
    chosen = {f"beside {chunk.id}" for chunk in texts.values()}
    for chunk in (chunk for one in found for chunk in one.beside):
        if chosen.intersection(chunk.meta["why"]):
            texts.setdefault(chunk.text, chunk)
    return list(texts.values())


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
        reach: how many on each side.
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


def _found(
    index: ChatIndex,
    messages: Sequence[Message],
    search: Search,
    vectors: np.ndarray | None,
    allowed: np.ndarray,
    wanted: Wanted,
    corpus: Corpus | None = None,
) -> tuple[list[RAGChunk], list[RAGChunk]]:
    best = retrieve_chat_context(
        search, messages, index, vectors,
        allowed=allowed, top_k=wanted.top_k, knobs=wanted.knobs, corpus=corpus,
    )  # fmt: skip
    around = beside(best, messages, index.scenes(), allowed=allowed, reach=wanted.neighbours)
    return best, around


def _chunk(message: Message, row: int, score: float | None, why: list[str]) -> RAGChunk:
    """A message as retrieval hands it on."""
    meta = {"row": row, "role": message.role, "name": message.name, "why": why}
    name = message.id or embedding_id(message.content)
    return RAGChunk(id=name, source="chat", text=message.content, score=score, meta=meta)


def _named(
    chunks: list[RAGChunk], messages: Sequence[Message], request: ChatRequest
) -> list[RAGChunk]:
    """The same with the names of whoever said it."""
    for chunk in chunks:
        chunk.meta["name"] = speaker_of(messages[chunk.meta["row"]], request)
    return chunks
