"""What was said before and bears on a search: in the request, and in the server's memory.

Both are ranked by the same measures, each among its own, and joined by their scores, which are
probabilities and so comparable. The history is an index that grows with the chat; what a standing
memory nominates is another one, made for the turn.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from language.script import Script, script_of
from retrieval.hybrid import Knobs, rank
from retrieval.index import Index, IndexCache, Passage
from retrieval.query import CHAT_LINES, LINE_SIZE, chat_text, make_query
from retrieval.text import RULES
from retrieval.vectors import AT_ONCE, part_vectors
from schemas.base import embedding_id
from schemas.protocols import Analyzer, PassageVectors, Reranker
from schemas.rag import Corpus, Query, RAGChunk, Recalled, Search
from schemas.request import ChatRequest, Message, Role
from schemas.state import Context

BREAK = timedelta(hours=4)
"""A pause that ends a scene: longer than a meal, shorter than a night."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, best first; then what stands beside it."""

    best: list[RAGChunk]
    beside: list[RAGChunk]
    unread: list[str]  # parts without a vector


def query_of(request: ChatRequest, analyzer: Analyzer = RULES) -> Query:
    """What the message asks for; the lines before it say what it leaves open."""
    names = _names_of_roles(request)
    said_by = {name or names[role] for role, name in request.voices if role != "system"}
    return make_query(
        request.message,
        _last_lines(request.history),
        speakers=sorted(said_by | {request.persona.name}),
        names=[request.persona.name],
        present=[request.persona.name, request.user_name or "User"],
        analyzer=analyzer,
    )


def script_of_chat(request: ChatRequest) -> Script:
    """The script of the chat: of its lines, and of the card, which holds a chat of few lines."""
    said = [line.content for line in request.history if line.role != "system"]
    persona = request.persona
    return script_of([persona.first_message, persona.description, *said, request.message])


def running_chat(history: Sequence[Message]) -> str:
    """The text that stands for the chat when the next message comes: to embed beforehand."""
    return chat_text(_last_lines(history))


def search_history(
    request: ChatRequest,
    cut: int,
    search: Search,
    context: Context,
    *,
    key: Hashable,
    indexes: IndexCache,
    source: PassageVectors,
) -> Found:
    """What of the history before the verbatim lines bears on the search. Blocks.

    Args:
        request: the turn.
        cut: row of the history from which the prompt holds it verbatim.
        search: what for.
        context: how much is to be found, and how it is ranked.
        key: of the chat, to find its index again.
        indexes: of recent chats.
        source: vectors of passages.

    Raises:
        EmbeddingError: the embedder failed.
    """
    past, verbatim = request.history[:cut], request.history[cut:]
    if not past:
        return Found([], [], [])
    if context.chat_in_scene:
        query = replace(search.query, scene=scenes(request.history)[-1])
        search = search.model_copy(update={"query": query})
    with indexes.index(key) as index:
        index.update(chat_passages(past, request))
        return _found(index, past, [*verbatim, _asked(request)], search, context, source)


def search_memory(
    request: ChatRequest,
    recalled: Recalled,
    search: Search,
    context: Context,
    *,
    indexes: IndexCache,
    source: PassageVectors,
) -> Found:
    """What of a standing memory bears on the search. Blocks. Arguments as in `search_history`.

    Raises:
        EmbeddingError: the embedder failed.
    """
    messages = recalled.messages
    if not messages:
        return Found([], [], [])
    index = indexes.made(chat_passages(messages, request, recalled.runs))
    seen = [*request.history, _asked(request)]
    # What has no vector here has one in the memory: the ranking can do without it.
    found = _found(index, messages, seen, search, context, source, recalled.corpus, at_once=0)
    for chunk in (*found.best, *found.beside):  # below the rows of the history
        chunk.meta["row"] -= len(messages)
    return replace(found, unread=[])


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
        allowed: (n,) which may be recalled (`recallable`).
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
    return [_chunk(index, messages, hit.row, hit.score, list(hit.why)) for hit in hits]


def joined(found: Sequence[Found], top_k: int) -> list[RAGChunk]:
    """The best of several searches, then what stands beside these; no text twice."""
    best = sorted((chunk for one in found for chunk in one.best), key=lambda it: -(it.score or 0))
    texts: dict[str, RAGChunk] = {}
    for chunk in best:
        if len(texts) < top_k:
            texts.setdefault(chunk.text, chunk)
    around = [chunk for one in found for chunk in one.beside]
    for chunk in _beside_those(list(texts.values()), around):
        texts.setdefault(chunk.text, chunk)
    return list(texts.values())


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
    chosen = []
    for row in order:
        meta = {**best[row].meta, "why": [*best[row].meta["why"], "reranked"]}
        chosen.append(best[row].model_copy(update={"score": float(scores[row]), "meta": meta}))
    return chosen + _beside_those(chosen, found)


def chat_passages(
    messages: Sequence[Message], request: ChatRequest, runs: Sequence[int] = ()
) -> list[Passage]:
    """Messages, oldest first, as passages: who said them, and in which scene.

    Args:
        messages: of the chat.
        request: names who speaks.
        runs: of messages between which others are left out, the stretch that each is in; a stretch
            is a scene or several.
    """
    names, numbers = _names_of_roles(request), scenes(messages)
    if runs:
        numbers = [f"{run}.{scene}" for run, scene in zip(runs, numbers, strict=True)]
    return [
        Passage(line.id or "", line.content, line.name or names[line.role], scene)
        for line, scene in zip(messages, numbers, strict=True)
    ]


def scenes(messages: Iterable[Message]) -> list[str]:
    """The number of each message's scene, oldest first; messages without a time belong to the one
    before."""
    number, numbers = 0, []
    last: datetime | None = None
    for time in (message.timestamp for message in messages):
        if time:  # backends mix times with and without a zone; one without is taken for UTC
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
            number += last is not None and abs(time - last) > BREAK
            last = time
        numbers.append(str(number))
    return numbers


def recallable(messages: Sequence[Message], seen: Iterable[Message]) -> np.ndarray:
    """(messages,) bool: what was said in the scene, in words that were not `seen` already."""
    contents = {message.content for message in seen}
    told = [
        line.role != "system" and line.content not in contents and bool(line.content.strip())
        for line in messages
    ]
    return np.array(told, dtype=bool)


def beside(
    index: Index,
    found: Sequence[RAGChunk],
    messages: Sequence[Message],
    *,
    allowed: np.ndarray,
    reach: int,
) -> list[RAGChunk]:
    """The messages around those that were found, of the same scene, those of better ones first.

    Args:
        index: of the messages.
        found: of the messages.
        messages: n messages, oldest first.
        allowed: (n,) which may be recalled.
        reach: how many on each side.
    """
    taken = {chunk.meta["row"] for chunk in found}
    around = []
    for chunk in found:
        at = chunk.meta["row"]
        scene = index.passages[at].scene
        for row in range(max(0, at - reach), min(len(messages), at + reach + 1)):
            if allowed[row] and row not in taken and index.passages[row].scene == scene:
                taken.add(row)
                around.append(_chunk(index, messages, row, None, [f"beside {chunk.id}"]))
    return around


def _asked(request: ChatRequest) -> Message:
    """The message of the turn, which is no memory of itself."""
    return Message(role="user", content=request.message)


def _found(
    index: Index,
    messages: Sequence[Message],
    seen: Sequence[Message],
    search: Search,
    context: Context,
    source: PassageVectors,
    corpus: Corpus | None = None,
    *,
    at_once: int = AT_ONCE,
) -> Found:
    dimension = search.views.shape[1]
    vectors, unread = part_vectors(
        index, search.query, source, dimension=dimension, at_once=at_once
    )
    allowed = recallable(messages, seen)
    knobs = Knobs(
        recency=context.chat_recency,
        in_scene=context.chat_in_scene,
        threshold=context.chat_score_threshold,
    )
    best = retrieve_chat_context(
        search, messages, index, vectors,
        allowed=allowed, top_k=context.chat_top_k, knobs=knobs, corpus=corpus,
    )  # fmt: skip
    around = beside(index, best, messages, allowed=allowed, reach=context.chat_neighbours)
    return Found(best, around, unread)


def _chunk(
    index: Index, messages: Sequence[Message], row: int, score: float | None, why: list[str]
) -> RAGChunk:
    message, speaker = messages[row], index.passages[row].speaker
    meta = {"row": row, "role": message.role, "name": speaker, "why": why}
    name = message.id or embedding_id(message.content)
    return RAGChunk(id=name, source="chat", text=message.content, score=score, meta=meta)


def _beside_those(chosen: Sequence[RAGChunk], around: Sequence[RAGChunk]) -> list[RAGChunk]:
    """Of some messages those that stand beside the chosen."""
    names = {f"beside {chunk.id}" for chunk in chosen}
    return [chunk for chunk in around if names.intersection(chunk.meta["why"])]


def _names_of_roles(request: ChatRequest) -> dict[Role, str]:
    """Who says a line of each role that came without a name."""
    user = request.user_name or "User"
    return {
        "user": user,
        "character": request.persona.name,
        "narrator": "Narrator",
        "system": "System",
    }


def _last_lines(history: Sequence[Message]) -> list[str]:
    lines = (line for line in history[-CHAT_LINES:] if line.role != "system")
    return [line.content[-LINE_SIZE:] for line in lines]
