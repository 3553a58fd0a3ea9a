"""`Embedder` around embedders that behave, misbehave and block; and the fake one."""

import asyncio
import threading

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings

from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from schemas.errors import EmbeddingError


class Given(Embeddings):
    """Returns or raises what it is given, and keeps what it was asked."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, list) else [[3.0, 4.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_vectors_are_float32_and_of_unit_length() -> None:
    embedder = Embedder(Given(), fingerprint="given")
    for vectors in (embedder.encode_passages(["a", "b"]), embedder.encode_queries(["a", "b"])):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


def test_the_dimension_is_asked_for_once() -> None:
    given = Given()
    embedder = Embedder(given, fingerprint="given")
    assert given.asked == []
    assert (embedder.dimension, embedder.dimension) == (2, 2)
    assert given.asked == ["dimension"]
    assert embedder.encode_queries([]).shape == (0, 2)


def test_prefixes_go_before_each_text_and_into_the_fingerprint() -> None:
    given = Given()
    embedder = Embedder(given, fingerprint="e5", query_prefix="query: ", passage_prefix="passage: ")
    embedder.encode_queries(["a", "b"])
    embedder.encode_passages(["c"])
    assert given.asked == ["query: a", "query: b", "passage: c"]
    assert embedder.fingerprint == "e5/passage:"
    assert Embedder(given, fingerprint="e5").fingerprint == "e5"


def test_lone_surrogates_never_reach_the_model() -> None:
    given = Given()
    Embedder(given, fingerprint="given").encode_passages(["moon \ud83c", "🌙"])
    assert given.asked == ["moon ?", "🌙"]


def test_an_embedder_without_a_name_is_refused() -> None:
    with pytest.raises(EmbeddingError, match="pass `fingerprint=`"):
        _ = Embedder(Given()).fingerprint


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([[1.0, float("nan")]], "NaN"),
        ([[1.0, float("inf")]], "NaN"),
        ([[0.0, 0.0]], "zeros"),
        ([[1.0, 2.0], [3.0, 4.0]], "shape"),
        ([1.0, 2.0], "shape"),
        ([], "shape"),
        ([[]], "shape|zeros"),
        ([[[1.0]]], "shape"),
        ([["a"]], "ValueError"),
    ],
)
def test_what_is_no_vector_is_an_error(answer: list[object], words: str) -> None:
    with pytest.raises(EmbeddingError, match=words):
        Embedder(Given(answer), fingerprint="given").encode_passages(["text"])


def test_a_change_of_dimension_is_an_error_where_the_model_declares_one() -> None:
    given = Given([[1.0, 2.0, 3.0]])
    given.dimension = 2  # type: ignore[attr-defined]
    with pytest.raises(EmbeddingError, match=r"\(1, 3\) in place of \(1, 2\)"):
        Embedder(given, fingerprint="given").encode_passages(["text"])


def refused(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://secret.example/?key=k")
    return httpx.HTTPStatusError("key=k", request=request, response=httpx.Response(status))


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (RuntimeError("C:/private/path"), False),
        (ConnectionRefusedError("secret"), True),
        (httpx.ConnectTimeout("secret"), True),
        (refused(503), True),
        (refused(429), True),
        (refused(413), False),
    ],
)
async def test_vendor_exceptions_become_ours(error: Exception, retryable: bool) -> None:
    embedder = Embedder(Given(error), fingerprint="given")
    with pytest.raises(EmbeddingError, match=type(error).__name__) as caught:
        await embedder.aencode_passages(["text"])
    assert caught.value.retryable is retryable
    assert caught.value.__cause__ is error
    assert not any(word in str(caught.value) for word in ("secret", "private", "key=k", "text"))


async def test_async_and_blocking_give_the_same() -> None:
    embedder = Embedder(HashEmbeddings(), batch=3)
    texts = [f"message {number}" for number in range(10)]
    np.testing.assert_array_equal(
        await embedder.aencode_passages(texts), embedder.encode_passages(texts)
    )
    np.testing.assert_array_equal(
        await embedder.begin_queries(texts), embedder.encode_queries(texts)
    )
    assert (await embedder.aencode_passages([])).shape == (0, 256)


async def test_a_query_overtakes_a_long_history_and_the_loop_stays_free() -> None:
    started, go_on = threading.Event(), threading.Event()

    class Slow(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            started.set()
            assert go_on.wait(5)
            return super().embed_documents(texts)

    embedder = Embedder(Slow(), batch=1)
    history = asyncio.create_task(embedder.aencode_passages(["old"] * 3))
    assert await asyncio.to_thread(started.wait, 5)  # the loop is free while a batch is at work
    query = embedder.begin_queries(["now"])
    go_on.set()
    await query
    assert not history.done()
    assert (await history).shape == (3, 256)


@given(st.text(st.characters(exclude_categories=())))
def test_the_fake_gives_any_text_the_same_unit_vector_again(text: str) -> None:
    vector = HashEmbeddings().embed_query(text)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert HashEmbeddings().embed_documents([text]) == [vector]


def test_the_fake_puts_like_spellings_together() -> None:
    near, far = HashEmbeddings().embed_documents(["the silver locket", "walnut bread"])
    query = HashEmbeddings().embed_query("a silver locket!")
    assert np.dot(query, near) > np.dot(query, far) + 0.3
