"""Cross-encoders that read the question and a passage together: slower and keener than vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from schemas.errors import EmbeddingError, moved

MAX_CHARACTERS = 2_000
"""Of a text that is sent: beyond the 512 tokens that cross-encoders read."""


class CrossEncoderReranker:
    """A sentence-transformers cross-encoder in this process (extra `huggingface`); loaded lazily.

    Args:
        model: a name on the Hugging Face hub, such as "BAAI/bge-reranker-v2-m3", or a folder.
        device: "cpu", "cuda" or "cuda:1".
    """

    def __init__(self, model: str, *, device: str = "cpu") -> None:
        self._name, self._device, self._lock = model, device, Lock()

    @cached_property
    def _model(self) -> Any:
        try:
            from sentence_transformers import CrossEncoder
        except ImportError as error:
            raise EmbeddingError(
                'the huggingface reranker needs its extra: pip install ".[huggingface]"'
            ) from error
        return CrossEncoder(self._name, device=self._device)

    async def arank(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """How well each text answers, (n,) from 0 to 1. Raises EmbeddingError."""
        return await asyncio.to_thread(self._rank, query, texts)

    def _rank(self, query: str, texts: Sequence[str]) -> np.ndarray:
        pairs = [(query[:MAX_CHARACTERS], text[:MAX_CHARACTERS]) for text in texts]
        try:
            with self._lock:
                scores = self._model.predict(pairs, show_progress_bar=False)
        except EmbeddingError:
            raise
        except Exception as error:  # the hub's, torch's or the model's own
            raise EmbeddingError(f"the reranker failed ({type(error).__name__})") from error
        return _checked(scores, len(texts))


class RerankServer:
    """A text-embeddings-inference server's `/rerank`.

    Args:
        url: where the server answers, such as "http://127.0.0.1:8080".
        api_key: sent as bearer token, if any.
        timeout: seconds for an answer; after it the order stays as it was.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 5.0) -> None:
        self._url, self._timeout = url.rstrip("/") + "/rerank", timeout
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}

    async def arank(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """How well each text answers, (n,) from 0 to 1. Raises EmbeddingError."""
        import httpx

        body = {
            "query": query[:MAX_CHARACTERS],
            "texts": [text[:MAX_CHARACTERS] for text in texts],
            "truncate": True,
        }
        scores = np.full(len(texts), np.nan, dtype=np.float32)
        try:
            async with httpx.AsyncClient(headers=self._headers, timeout=self._timeout) as client:
                response = await client.post(self._url, json=body)
            if response.is_redirect:  # a text and a key go nowhere else
                raise EmbeddingError(moved("rerank", response.status_code, "IYAGI_RERANKER_URL"))
            for item in response.raise_for_status().json():
                scores[item["index"]] = item["score"]
        except (httpx.HTTPError, ValueError, TypeError, KeyError, IndexError) as error:
            raise EmbeddingError(
                f"the rerank server failed ({type(error).__name__})", retryable=True
            ) from error
        return _checked(scores, len(texts))


def _checked(scores: Any, count: int) -> np.ndarray:
    """The scores as (n,) float32, or EmbeddingError where they are none."""
    found = np.asarray(scores, dtype=np.float32)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise EmbeddingError("the reranker gave no score for some texts")
    return np.clip(found, 0, 1)
