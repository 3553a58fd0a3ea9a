"""Whatever a model server sends: a reply within bounds or an error of one line, and it is hung up
on."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from embedding.backends import text_embeddings_inference
from embedding.rerank import RerankServer
from llm.openai_server import ANSWER, EVENT, OpenAIServerLLM
from llm.streaming import MAX_NEW_TOKENS
from schemas.errors import EmbeddingError, LLMError, StoreError
from stores.chroma_connection import ChromaConnection
from tests.llm.asking import failing, reply
from tests.llm.fake_openai_server import Behaviour, FakeServer, Peer, say

Make = Callable[..., OpenAIServerLLM]


def forever(piece: bytes) -> Behaviour:
    """Sends the same again and again."""
    many = piece * max(1, 60_000 // len(piece))

    async def behave(peer: Peer) -> None:
        await peer.head()
        while True:
            await peer.send(many)

    return behave


def completion(text: object, **more: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": text, **more}]}).encode() + b"\n\n"


TALK = [
    completion("word "),
    completion("한"),
    completion("word " * 500),
    completion("word ", finish_reason=None, logprobs=[[]] * 50),
    b'data: {"choices": [{"delta": {"content": "word"}}]}\r\n\r\n',
    b'data: {"choices": [{"delta": {"content": "word"}}]}\r\r',
    completion("word") + b"data: {}\n\n" * 20,
]
"""That goes on and on."""

NOISE = [
    b"data: {}\n\n",
    b": keep-alive\n",
    b"data: x",
    b"data: {}\n",
    b"\n\n",
    b"data: " + b"[" * 50_000,
    b'data: {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n',
    completion({"text": ["x"]}, finish_reason=7),
    b"event: ping\n\n",
]
"""Of which none is a word."""


@pytest.mark.parametrize("piece", TALK, ids=range(len(TALK)))
@pytest.mark.parametrize("tokens", [None, 1, 20])
async def test_a_reply_has_an_end(
    server: FakeServer, llm_of: Make, piece: bytes, tokens: int | None
) -> None:
    server.will(forever(piece))
    pieces, info = await reply(llm_of(), max_new_tokens=tokens)
    most = 16 * (tokens or MAX_NEW_TOKENS) + 256
    assert info["finish_reason"] == "length"
    assert 0 < len("".join(pieces)) <= most
    assert await server.all_closed()


@pytest.mark.parametrize("piece", NOISE, ids=range(len(NOISE)))
async def test_noise_has_an_end(server: FakeServer, llm_of: Make, piece: bytes) -> None:
    server.will(forever(piece))
    llm = llm_of(max_retries=0, idle_timeout=20.0)
    started = time.process_time()
    said = ""
    try:
        async for text in llm.astream("The prompt:", max_new_tokens=300):
            said += text
    except LLMError as error:
        assert "\n" not in error.message and "127.0.0.1" not in error.message
    assert said == "" and time.process_time() - started < 5
    assert await server.all_closed()


async def test_an_answer_of_one_piece_takes_bounded_memory(
    server: FakeServer, llm_of: Make
) -> None:
    """50 MB in one event, in one line, and as the body of an error."""

    def large(before: bytes, status: int = 200) -> Behaviour:
        async def behave(peer: Peer) -> None:
            await peer.head(status)
            await peer.send(before)
            for _ in range(50):
                await peer.send(b"x" * 1_000_000)
            await peer.send(b'"}]}\n\n')
            await peer.end()

        return behave

    tracemalloc.start()
    try:
        for behaviour, told in (
            (large(b'data: {"choices": [{"text": "'), "more than any reply"),
            (large(b"data: "), "more than any reply"),
            (large(b'{"error": "', 400), "HTTP 400"),
            (large(b'{"error": "', 500), "HTTP 500"),
        ):
            server.will(behaviour)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            error = (await failing(llm_of(max_retries=0)))[1]
            assert told in error.message
            assert tracemalloc.get_traced_memory()[1] - before < 8 * EVENT
            assert await server.all_closed()
    finally:
        tracemalloc.stop()


async def test_what_an_honest_server_sends_is_read(server: FakeServer, llm_of: Make) -> None:
    """All in one event, or in 4,096 of them, with much beside the text."""

    async def one_by_one(peer: Peer) -> None:
        await peer.head()
        for _ in range(4096):
            await peer.send(completion("word ", logprobs="x" * (ANSWER // 16_384)))
        await peer.text("", "stop")
        await peer.event(usage={"prompt_tokens": 5, "completion_tokens": 4096})
        await peer.end()

    for behaviour in (say("word " * 4096), one_by_one):
        server.will(behaviour)
        pieces, info = await reply(llm_of(), max_new_tokens=4096)
        assert "".join(pieces) == "word " * 4096 and info["finish_reason"] == "stop"
    assert info["usage"]["completion_tokens"] == 4096


@pytest.mark.parametrize("count", [10**300, -1, 1e300, "9", None, [], 10**10])
async def test_counts_that_mean_nothing_are_left_out(
    server: FakeServer, llm_of: Make, count: object
) -> None:
    server.will(say("hi", usage={"prompt_tokens": 5, "completion_tokens": count}))
    pieces, info = await reply(llm_of())
    assert pieces == ["hi"] and "usage" not in info


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("status", [200, 400])
async def test_nothing_is_unpacked(
    server: FakeServer, llm_of: Make, encoding: str, status: int
) -> None:
    bomb = (gzip if encoding == "gzip" else zlib).compress(completion("x" * 20_000_000))

    async def behave(peer: Peer) -> None:
        await peer.head(status, content_encoding=encoding)
        await peer.send(bomb)
        await peer.end()

    server.will(behave)
    tracemalloc.start()
    try:
        error = (await failing(llm_of(max_retries=0)))[1]
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert "compresses" in error.message
    assert server.headers[0]["accept-encoding"] == "identity"


def tokens(answer: bytes) -> Behaviour:
    async def behave(peer: Peer) -> None:
        await peer.head(content_type="application/json")
        await peer.send(answer)
        await peer.raw(b"0\r\n\r\n")

    return behave


@pytest.mark.parametrize(
    "answer",
    [
        b'{"tokens": [' + b"1," * 10_000_000 + b"1]}",
        b'{"tokens": ' + b"[" * 100_000,
        b'{"tokens": [1e999, 2]}',
        b'{"tokens": {"0": 1}}',
        b"[" * 5_000_000,
    ],
    ids=range(5),
)
async def test_tokens_that_are_none(server: FakeServer, llm_of: Make, answer: bytes) -> None:
    server.will(tokens(answer))
    with pytest.raises(LLMError):
        await llm_of().tokenize("The prompt:")
    assert await server.all_closed()


@asynccontextmanager
async def pointing_to(target: str, status: int) -> AsyncIterator[str]:
    """The address of a server that points every request to another address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = await reader.readuntil(b"\r\n\r\n")
        assert with_body
        head = f"HTTP/1.1 {status} X\r\nLocation: {target}/v1\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _write(url: str) -> None:
    llm = OpenAIServerLLM(base_url=f"{url}/v1", model="m", api_key="k-1", max_retries=0)
    try:
        await llm.ainvoke("A secret.")
    finally:
        await llm.aclose()


async def _count(url: str) -> None:
    llm = OpenAIServerLLM(base_url=f"{url}/v1", model="m", api_key="k-1")
    try:
        await llm.tokenize("A secret.")
    finally:
        await llm.aclose()


async def _embed(url: str) -> None:
    embedder = text_embeddings_inference(url, "bge-m3", api_key="k-1")
    try:
        await embedder.aencode_passages(["A secret."])
    finally:
        cast(Any, embedder._embeddings).client._http.close()


async def _rank(url: str) -> None:
    await RerankServer(url, api_key="k-1").arank("A secret?", ["A secret."])


async def _store(url: str) -> None:
    await asyncio.to_thread(ChromaConnection(url=url).run, lambda client: client.heartbeat())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("ask", "variable"),
    [
        (_write, "IYAGI_LLM_URL"),
        (_count, "IYAGI_LLM_URL"),
        (_embed, "IYAGI_EMBEDDER_URL"),
        (_rank, "IYAGI_RERANKER_URL"),
        (_store, "IYAGI_CHROMA_URL"),
    ],
)
async def test_no_text_and_no_key_follows_a_redirect(
    server: FakeServer,
    ask: Callable[[str], Awaitable[None]],
    variable: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm.openai_server.TOKENIZE_TIMEOUT", 10.0)
    target = server.url.removesuffix("/v1")
    async with pointing_to(target, status) as url:
        with pytest.raises((LLMError, EmbeddingError, StoreError)) as caught:
            await ask(url)
    message: Any = caught.value.message
    assert variable in message and str(status) in message
    assert "127.0.0.1" not in message and "secret" not in message and "k-1" not in message
    assert server.connections == 0
