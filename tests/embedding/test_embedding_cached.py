"""The embedder that remembers."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from embedding.cached import CachedEmbedder
from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from schemas.errors import EmbeddingError
from stores.vector_cache import VectorCache


class Slow(HashEmbeddings):
    """Embeds when it is told to go on, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.go_on, self.failures = threading.Event(), failures
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        assert self.go_on.wait(5)
        self.texts += texts
        if self.failures:
            self.failures -= 1
            raise EmbeddingError("the embedder failed", retryable=True)
        return super().embed_documents(texts)


def cached(embeddings: Slow) -> CachedEmbedder:
    return CachedEmbedder(Embedder(embeddings, fingerprint="fake"), VectorCache(None, "fake"))


async def both(slow: Slow, *texts: list[str]) -> list[np.ndarray | BaseException]:
    """Asks for each of `texts` at the same time."""
    embedder = cached(slow)
    asked = [asyncio.create_task(embedder.aencode_passages(it)) for it in texts]
    await asyncio.sleep(0.05)
    slow.go_on.set()
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_what_another_turn_embeds_is_waited_for() -> None:
    slow = Slow()
    first, second = await both(slow, ["배", "harbour"], ["harbour", "storm", "harbour"])
    assert sorted(slow.texts) == ["harbour", "storm", "배"]
    expected = np.array(HashEmbeddings().embed_documents(["배", "harbour", "storm"]))
    np.testing.assert_allclose(np.asarray(first), expected[[0, 1]], atol=1e-6)
    np.testing.assert_allclose(np.asarray(second), expected[[1, 2, 1]], atol=1e-6)


async def test_where_the_other_turn_fails_this_one_embeds_itself() -> None:
    slow = Slow(failures=1)
    first, second = await both(slow, ["harbour"], ["harbour"])
    assert isinstance(first, EmbeddingError)
    assert np.asarray(second).shape == (1, 256)
    assert slow.texts == ["harbour", "harbour"]


async def test_a_turn_that_is_given_up_leaves_the_others_alone() -> None:
    slow = Slow()
    embedder = cached(slow)
    first, second, third = (
        asyncio.create_task(embedder.aencode_passages(["harbour"])) for _ in range(3)
    )
    await asyncio.sleep(0.05)
    second.cancel()
    await asyncio.sleep(0)
    slow.go_on.set()
    assert (await first).shape == (await third).shape == (1, 256)
    with pytest.raises(asyncio.CancelledError):
        await second
