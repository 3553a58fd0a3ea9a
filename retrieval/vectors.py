"""Vectors of passages, as far as a turn has the time to make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrieval.hybrid import CHAT, gather
from retrieval.index import Index
from schemas.protocols import PassageVectors
from schemas.rag import Query

AT_ONCE = 64
"""Unknown parts that a turn embeds before it ranks, a batch of the embedder: those that the words
already point to, and the newest. The rest ranks by words, and is embedded after the reply. With 7
messages in 100 embedded LoCoMo loses .015 NDCG@10, with 15 in 100 .012 (lab/retrieval.md)."""

TOKENS_AT_ONCE = 2_000
"""About how many tokens they have together: 64 lines of 125 English characters, which take 0.4 s of
processor time. To MiniLM a token has four such characters, and one of another script is a token; to
e5 one of Korean is .6 of a token, which takes 1.7 times as long."""

MOST_TOKENS = 256
"""Of one part: what is beyond, MiniLM does not read, and e5 reads all 600 characters of Korean as
some 360 tokens of its own."""

NEWEST = 0.1
"""Share of them that are the newest, whatever their words."""


def vectors_of(
    texts: Sequence[str], source: PassageVectors, choose: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    """Vectors of texts, as far as a turn has the time to make them. Blocks.

    Args:
        texts: of passages.
        source: knows and makes vectors.
        choose: of the numbers of the texts without a vector, those to be embedded now.

    Returns:
        (texts, d) rows of unit length, NaN where there is none yet, and those texts.

    Raises:
        EmbeddingError: the embedder failed.
    """
    known, found = source.known(texts)
    now = choose(np.flatnonzero(~found))
    fresh = source.encode_passages([texts[row] for row in now])
    vectors = np.full((len(texts), fresh.shape[1]), np.nan, dtype=np.float32)
    if found.any():
        vectors[found] = known[found]
    vectors[now], found[now] = fresh, True
    return vectors, [texts[row] for row in np.flatnonzero(~found).tolist()]


def part_vectors(
    index: Index,
    query: Query,
    source: PassageVectors,
    *,
    dimension: int | None = None,
    at_once: int = AT_ONCE,
    allowed: np.ndarray | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Vectors of an index's parts, as by `vectors_of`. Blocks.

    Those up to the first part without one stay with the index, so the next turn asks the source for
    the parts behind them: 1 ms per 1,000 parts is spared. Parts of passages that are not `allowed`,
    (passages,) bool, are not embedded now. Those that stay and are not of the query's `dimension`
    are of a model that was replaced, and are made anew.

    Raises:
        EmbeddingError: the embedder failed.
    """
    if index.vectors is not None and dimension not in (None, index.vectors.shape[1]):
        index.vectors = None
    kept = 0 if index.vectors is None else len(index.vectors)
    if index.vectors is not None and kept == len(index.parts):
        return index.vectors, []
    newest = round(NEWEST * at_once)

    def choose(missing: np.ndarray) -> np.ndarray:
        rows = kept + missing
        urgent = first_to_embed(index, query, rows, at_once, newest=newest, allowed=allowed)
        tokens = np.array([_tokens(index.parts[row]) for row in urgent])
        return urgent[np.cumsum(tokens) <= TOKENS_AT_ONCE] - kept

    vectors, left = vectors_of(index.parts[kept:], source, choose)
    if index.vectors is not None:
        vectors = np.concatenate([index.vectors, vectors])
    known = int(np.isnan(vectors[:, :1]).all(axis=1).argmax()) if left else len(vectors)
    index.vectors = vectors[:known] if known else None
    return vectors, left


def _tokens(text: str) -> float:
    size = len(text)
    others = (len(text.encode("utf-8", "surrogatepass")) - size) / 2  # of three bytes each
    return min(MOST_TOKENS, (size - others) / 4 + others)


def first_to_embed(
    index: Index,
    query: Query,
    parts: np.ndarray,
    limit: int,
    *,
    newest: int = 0,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Of some parts, those whose vectors matter most to a query, most urgent first.

    Args:
        index: of all parts.
        query: what for.
        parts: (n,) numbers of the parts that are asked about.
        limit: how many of these at most.
        newest: of all parts so many at the end are urgent; then comes the rank in words.
        allowed: as in `rank`: no part of another passage takes a place.
    """
    among = index.lexical.candidates(allowed)
    if limit < 1 or not len(parts) or not len(among.rows):
        return parts[:0]
    total = gather(index, query, among).total(CHAT)[among.owner]
    total[max(0, len(total) - newest) :] = np.inf
    places = np.flatnonzero(np.isin(among.parts, parts))
    urgent = places[np.argsort(-total[places], kind="stable")][:limit]
    chosen: np.ndarray = among.parts[urgent]
    return chosen
