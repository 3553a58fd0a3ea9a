"""Any LangChain `Embeddings` as the pipeline wants it: arrays, checked, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from langchain_core.embeddings import Embeddings

from schemas.errors import EmbeddingError
from schemas.search import CosineScale


class Embedder:
    """Text to vectors: (n, dimension) float32 rows of unit length, in the order given.

    Every vendor exception arrives as `EmbeddingError`. The async methods run in the embedder's own
    threads, `batch` texts at a time, so a turn's one query waits for no one's long history.

    Args:
        embeddings: does the work.
        fingerprint: names the model and its version; the default is `embeddings.fingerprint`.
        query_prefix: put before each query (e5: "query: ").
        passage_prefix: put before each passage (e5: "passage: ").
        batch: texts per call of the model or server; 64 keep MiniLM busy for 0.1 s.
        workers: batches at work at one time. One suits a model that uses all cores anyway.
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
    ) -> None:
        self._embeddings = embeddings
        self._fingerprint = fingerprint
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._batch = batch
        self._dimension: int | None = getattr(embeddings, "dimension", None)
        self.cosine_scales: Mapping[str, CosineScale] | None = getattr(
            embeddings, "cosine_scales", None
        )
        """By language, where the model comes with them (`embedding.scale` measures others)."""
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
            self.encode_passages(["dimension"])
        assert self._dimension is not None
        return self._dimension

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of questions. Blocks. Raises EmbeddingError."""
        return self._encode(texts, self._query)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of stored text. Blocks. Raises EmbeddingError."""
        return self._encode(texts, self._passages)

    def begin_queries(self, texts: Sequence[str]) -> asyncio.Future[np.ndarray]:
        """Vectors of questions; the work begins now, and raises EmbeddingError when awaited."""
        return asyncio.get_running_loop().run_in_executor(self._pool, self.encode_queries, texts)

    async def aencode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of stored text. Raises EmbeddingError."""
        loop, size = asyncio.get_running_loop(), self._batch
        batches = [texts[start : start + size] for start in range(0, max(1, len(texts)), size)]
        return np.concatenate(  # one after another: other turns get theirs in between
            [await loop.run_in_executor(self._pool, self.encode_passages, it) for it in batches]
        )

    def _query(self, texts: list[str]) -> list[list[float]]:
        return [self._embeddings.embed_query(self._query_prefix + text) for text in texts]

    def _passages(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        prefixed = [self._passage_prefix + text for text in texts]
        for start in range(0, len(texts), self._batch):
            vectors += self._embeddings.embed_documents(prefixed[start : start + self._batch])
        return vectors

    def _encode(
        self, texts: Sequence[str], embed: Callable[[list[str]], list[list[float]]]
    ) -> np.ndarray:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            vectors = np.asarray(embed([well_formed(text) for text in texts]), dtype=np.float32)
        except EmbeddingError:
            raise
        except Exception as error:  # a vendor's exceptions have no common base
            raise _ours(error) from error
        return self._unit(vectors, count=len(texts))

    def _unit(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """The vectors at unit length, or EmbeddingError where they are none."""
        expected = (count, self._dimension or vectors.shape[-1])
        if vectors.shape != expected:
            raise EmbeddingError(f"the embedder gave shape {vectors.shape} in place of {expected}")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise EmbeddingError("the embedder gave a vector of NaN, infinity or only zeros")
        self._dimension = vectors.shape[1]
        unit: np.ndarray = vectors / lengths
        return unit


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
    answer = f", status {status}" if status is not None else ""
    cure = "try again" if passing else "see the log for the cause"
    return EmbeddingError(
        f"the embedder failed ({type(error).__name__}{answer}); {cure}", retryable=passing
    )
