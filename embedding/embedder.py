"""Any LangChain `Embeddings` as the pipeline wants it: arrays, checked, off the event loop, and a
passage embedded once, by whichever process met it first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Protocol

import numpy as np
from langchain_core.embeddings import Embeddings

from embedding.scale import SENTENCES, measure
from language.script import language_of
from schemas.base import embedding_id
from schemas.budget import keep_deadline
from schemas.errors import EmbeddingError, IyagiError, traced
from schemas.rag import CosineScale, of_one_length

log = logging.getLogger(__name__)


class VectorCache(Protocol):
    """Vectors by content id."""

    def get(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(n, dimension) rows in the order of `ids`, and which of them are known; those that are
        not are zeros."""

    def put(self, ids: Sequence[str], vectors: np.ndarray, *, on_disk: bool = True) -> None:
        """Keeps the vectors."""

    def begin(self, dimension: int) -> None:
        """Forgets vectors of another length than this."""

    def flush(self) -> None:
        """Waits until the vectors are on disk."""


class Embedder:
    """Text to vectors: (n, dimension) float32 rows of unit length, in the order given.

    Every vendor exception arrives as `EmbeddingError`; a turn that is behind its deadline embeds no
    further batch, and gets a DeadlineExceeded. The async methods run in the embedder's own
    threads, `batch` texts at a time, so a turn's one query waits for no one's long history.

    A server's model may be replaced by one with vectors of another length. Then all vectors are
    made anew; what is just being put together of both is a retryable error.

    Args:
        embeddings: does the work.
        fingerprint: names the model and its version; the default is `embeddings.fingerprint`.
        query_prefix: put before each query (e5: "query: ").
        passage_prefix: put before each passage (e5: "passage: ").
        batch: texts per call of the model or server; 64 keep MiniLM busy for 0.1 s.
        workers: batches at work at one time. One suits a model that uses all cores anyway.
        cache: of passages; without one, each is embedded whenever it is asked for. It may be set
            later, as it is named by the fingerprint.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        fingerprint: str | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
        batch: int = 64,
        workers: int = 1,
        cache: VectorCache | None = None,
    ) -> None:
        self._embeddings = embeddings
        self._fingerprint = fingerprint
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._batch = batch
        self._declared: int | None = getattr(embeddings, "dimension", None)
        self._dimension: int | None = self._declared
        self._given: Mapping[str, CosineScale] | None = getattr(embeddings, "cosine_scales", None)
        self._scales = self._given
        self.cache = cache
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="embedding")

    @property
    def fingerprint(self) -> str:
        """Names the model, its version and the passage prefix: vectors of two never mix."""
        name = self._fingerprint or str(getattr(self._embeddings, "fingerprint", ""))
        if not name:
            raise EmbeddingError(
                f"{type(self._embeddings).__name__} has no fingerprint; pass `fingerprint=`"
            )
        return f"{name}/{self._passage_prefix.strip()}" if self._passage_prefix else name

    @property
    def dimension(self) -> int:
        """Numbers per vector; embeds one word to find out where the model does not say."""
        if self._dimension is None:
            self._encode(["dimension"], self._passages)
        assert self._dimension is not None
        return self._dimension

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of questions. Blocks. Raises EmbeddingError."""
        return self._encode(texts, self._query)

    def begin_queries(self, texts: Sequence[str]) -> asyncio.Future[np.ndarray]:
        """Vectors of questions; the work begins now, and raises EmbeddingError when awaited."""
        return self._in_pool(self.encode_queries, texts)

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What the cache has: (n, dimension) rows, and the mask (n,) of those that are known.

        Blocks on the disk for those that memory lacks.
        """
        if self.cache is None:
            nothing = np.zeros((len(texts), self._dimension or 0), dtype=np.float32)
            return nothing, np.zeros(len(texts), dtype=bool)
        return self.cache.get([embedding_id(text) for text in texts])

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of stored text; only unknown ones are computed, and known from then on. Blocks.
        Raises EmbeddingError."""
        found, known = self.known(texts)
        unknown: list[int] = np.flatnonzero(~known).tolist()
        missing = {text: row for row, text in enumerate(dict.fromkeys(texts[at] for at in unknown))}
        if not missing:
            return found
        fresh = self._encode(list(missing), self._passages)
        if known.any():
            of_one_length(found, fresh)
        self._keep(list(missing), fresh)
        vectors = np.empty((len(texts), fresh.shape[1]), dtype=np.float32)
        if known.any():
            vectors[known] = found[known]
        vectors[unknown] = fresh[[missing[texts[at]] for at in unknown]]
        return vectors

    async def aencode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """`encode_passages` in the embedder's threads, one batch after another: other turns get
        theirs in between."""
        batches = _batches(texts, self._batch) or [[]]
        vectors = [await self._in_pool(self.encode_passages, it) for it in batches]
        of_one_length(*vectors)
        return np.concatenate(vectors)

    def _in_pool(
        self, encode: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]
    ) -> asyncio.Future[np.ndarray]:
        """The work in the embedder's own threads, on the budget of the turn that asks for it."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, copy_context().run, encode, texts)

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Takes vectors that a store has as known: in memory only, as they can be had again."""
        self._keep(texts, vectors, on_disk=False)

    def flush(self) -> None:
        """Waits until the vectors that are known are on disk. Blocks."""
        if self.cache is not None:
            self.cache.flush()

    async def cosine_scale(self, text: str) -> CosineScale:
        """How to read the cosines of a question that is in the language of `text`.

        The first call measures it where the model does not say: it embeds 48 short sentences, whose
        vectors stay in the cache, so that the next process need not. Raises EmbeddingError.
        """
        scales = self._scales
        if scales is None:
            passages = await self.aencode_passages(SENTENCES)
            asked = self._query_prefix != self._passage_prefix
            queries = await self.begin_queries(SENTENCES) if asked else passages
            scales = measure(queries, passages)
            if passages.shape[1] == (self._dimension or passages.shape[1]):
                self._scales = scales
        return scale_for(scales, text)

    def _keep(self, texts: Sequence[str], vectors: np.ndarray, *, on_disk: bool = True) -> None:
        """Makes vectors known, if they have the length of the newest."""
        if self.cache is not None and vectors.shape[1] == (self._dimension or vectors.shape[1]):
            self.cache.put([embedding_id(text) for text in texts], vectors, on_disk=on_disk)

    def _query(self, texts: list[str]) -> list[list[float]]:
        vectors = []
        for text in texts:
            keep_deadline()
            vectors.append(self._embeddings.embed_query(self._query_prefix + text))
        return vectors

    def _passages(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        prefixed = [self._passage_prefix + text for text in texts]
        for start in range(0, len(texts), self._batch):
            keep_deadline()
            vectors += self._embeddings.embed_documents(prefixed[start : start + self._batch])
        return vectors

    def _encode(
        self, texts: Sequence[str], embed: Callable[[list[str]], list[list[float]]]
    ) -> np.ndarray:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            vectors = np.asarray(embed([well_formed(text) for text in texts]), dtype=np.float32)
        except IyagiError:
            raise
        except Exception as error:  # a vendor's exceptions have no common base
            raise _ours(error) from error
        return self._unit(vectors, count=len(texts))

    def _unit(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """The vectors at unit length, or EmbeddingError where they are none."""
        expected = (count, self._declared or vectors.shape[-1])
        if vectors.shape != expected:
            raise EmbeddingError(f"the embedder gave shape {vectors.shape} in place of {expected}")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise EmbeddingError("the embedder gave a vector of NaN, infinity or only zeros")
        self._begin(vectors.shape[1])
        unit: np.ndarray = vectors / lengths
        return unit

    def _begin(self, dimension: int) -> None:
        """Takes the length that the model's vectors have now: what is known of another is not."""
        if dimension != self._dimension:
            self._dimension, self._scales = dimension, self._given
            if self.cache is not None:
                self.cache.begin(dimension)


BATCH_CHARACTERS = 8_000
"""Of a batch that other turns wait for: 64 lines of a chat, which keep MiniLM busy for 0.2 s."""


def _batches(texts: Sequence[str], most: int) -> list[list[str]]:
    """The texts in order, in batches of `most` texts and `BATCH_CHARACTERS` at most."""
    batches: list[list[str]] = []
    room = 0
    for text in texts:
        if not batches or len(batches[-1]) == most or len(text) > room:
            batches.append([])
            room = BATCH_CHARACTERS
        batches[-1].append(text)
        room -= len(text)
    return batches


def well_formed(text: str) -> str:
    """The text with each lone surrogate (half a character) as "?": no tokenizer takes them."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _ours(error: Exception) -> EmbeddingError:
    """A vendor's exception as ours: its kind only, as its words may hold text, keys or paths."""
    import httpx

    response = getattr(error, "response", None)
    status: int | None = getattr(response, "status_code", None)
    passing = isinstance(error, OSError | TimeoutError | httpx.TransportError)
    if status is not None:
        passing = status in (408, 429) or status >= 500
    if not passing:
        log.error("the embedder failed\n%s", traced(error))
    answer = f", status {status}" if status is not None else ""
    cure = "try again" if passing else "see the log for the cause"
    return EmbeddingError(
        f"the embedder failed ({type(error).__name__}{answer}); {cure}", retryable=passing
    )


def scale_for(scales: Mapping[str, CosineScale], text: str) -> CosineScale:
    """The scale of the language that a text is in, by its letters."""
    return scales.get(language_of(text), CosineScale())
