"""A store that hangs, is slow, changes or is told to forget costs only what needs it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import PrivateAttr

import graph.pipeline
from embedding.fake import HashEmbeddings
from graph.pipeline import Pipeline
from graph.settings import ROOT
from language.script import Script
from llm.scripted import ScriptedLLM
from schemas.base import embedding_id
from schemas.errors import EmbeddingError, StoreError
from schemas.request import Message
from stores import breaker, chroma_connection, sqlite_file
from stores.chat_memory import StandingMemory
from stores.chroma import ChromaDatabase
from stores.database import Row
from stores.vector_cache import VectorCache
from tests.stores.stores_support import CountingEncoder, remembered, remembering, said, search
from tests.support import MakePipeline, ask

CHAT = {"user_id": "mina", "session_id": "s1"}


class Hanging:
    """A server that takes every connection and answers none, or heartbeats only, until `end`."""

    def __init__(self, answers: str) -> None:
        self._answers = answers.encode()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._held: list[socket.socket] = []
        self._ended = False
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
                asked = connection.recv(65_536)
            except OSError:
                return
            if self._ended:
                connection.close()
            elif self._answers and self._answers in asked.partition(b"\r\n")[0]:
                head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
                connection.sendall(head)
                connection.close()
            else:
                self._held.append(connection)

    def end(self) -> None:
        """Hangs up on all, and takes no more."""
        if not self._ended:
            self._ended = True
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        for connection in self._held:
            connection.close()


@pytest.fixture(params=["", "heartbeat"], ids=["deaf", "heartbeat only"])
def hanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """A server that hangs, to a client that waits as long as the test does."""
    monkeypatch.setattr(chroma_connection, "HEARTBEAT_SECONDS", 60.0)
    server = Hanging(request.param)
    yield server
    server.end()


async def told(pipeline: Pipeline, message: str = "Hello?", **fields: Any) -> list[str]:
    """The warnings of a turn."""
    answer = await pipeline.chat(ask(message, **fields))
    assert answer["response_contents"]
    warnings: list[str] = answer["meta"].get("warnings") or []
    return warnings


async def test_a_server_that_hangs_costs_only_the_turns_that_need_it(
    make_pipeline: MakePipeline, hanging: Hanging
) -> None:
    pipeline = make_pipeline(standing_memory=True, chroma_url=hanging.url)
    waiting = [
        asyncio.create_task(told(pipeline, user_id="mina", session_id=f"s{chat}"))
        for chat in range(12)
    ]
    await asyncio.gather(*(told(pipeline) for _ in range(12)))  # more than places and threads
    assert not any(turn.done() for turn in waiting)
    hanging.end()
    for warnings in await asyncio.gather(*waiting):
        assert warnings and all(line.startswith("no standing memory") for line in warnings)
    (warning,) = await told(pipeline, **CHAT)
    assert "rests; it is tried again in 5 s" in warning
    await pipeline.drain()


def test_one_call_tries_a_store_that_rested_and_the_others_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    guard = breaker.CircuitBreaker("the store")

    def ask_it(error: Exception | None = None) -> bool:
        with guard as is_probe:
            if error:
                raise error
        return is_probe

    for other in (StoreError("no such collection"), ValueError("ours")):
        with pytest.raises(type(other)):
            ask_it(other)
    assert ask_it() is False, "what is answered does not open it"
    for _ in range(2):
        with pytest.raises(StoreError, match="timeout"):
            ask_it(StoreError("timeout", retryable=True))
        with pytest.raises(StoreError, match=r"did not answer and rests.* in 5 s"):
            ask_it()
        now[0] += breaker.REST_SECONDS
    with guard as is_probe:
        assert is_probe
        with pytest.raises(StoreError, match="just now") as refused:
            ask_it()
        assert refused.value.retryable
    assert ask_it() is False


async def test_turns_wait_for_no_cache_that_is_being_written(
    make_pipeline: MakePipeline, tmp_path: Path
) -> None:
    pipeline, slow = make_pipeline(), threading.Event()
    cache = pipeline.services.readers["latin"].embedder.cache  # type: ignore[attr-defined]
    cache._file.write_later(lambda db: slow.wait(60), 0)  # a disk that takes its time to commit
    for number in range(3):
        past = [{"role": "user", "content": f"The ferry number {number} leaves {it}."}
                for it in range(20)]  # fmt: skip
        await told(pipeline, "When does it leave?", history=past)
    slow.set()
    await pipeline.drain()
    with closing(
        VectorCache(
            tmp_path / "vectors.sqlite", pipeline.services.readers["latin"].embedder.fingerprint
        )
    ) as file:
        words = embedding_id("The ferry number 2 leaves 19.")
        assert file.get([words])[1].all(), "what waited is on disk"


def test_what_waits_for_the_disk_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "WAITING_BYTES", 10_000)
    slow, names = threading.Event(), [str(number) for number in range(100)]
    with closing(VectorCache(tmp_path / "vectors.sqlite", "m")) as cache:
        assert cache._file is not None
        cache._file.write_later(lambda db: slow.wait(60), 0)
        for name in names:
            cache.put([name], np.eye(1, 64, dtype=np.float32))
        assert cache._file._waiting <= 10_000
        assert cache.get(names)[1].all()
        slow.set()
        cache.flush()
        assert cache._file._waiting == 0
    with closing(VectorCache(tmp_path / "vectors.sqlite", "m")) as other:
        assert 30 < other.get(names)[1].sum() < 50


async def test_what_waits_to_be_remembered_is_bounded(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(graph.pipeline, "WAITING", 1_000)
    pipeline, slow = make_pipeline(standing_memory=True), threading.Event()
    memory = pipeline.services.readers["latin"].memory
    assert isinstance(memory, StandingMemory)
    monkeypatch.setattr(memory, "remember", lambda *chat, **how: slow.wait(60))
    for number in range(6):
        await told(pipeline, "long " * 50, user_id="mina", session_id=f"s{number}")
        await asyncio.sleep(0)
        assert pipeline._waiting <= 1_000
    slow.set()
    await pipeline.drain()
    assert pipeline._waiting == 0
    assert "not remembered: too many wait to be" in caplog.text


def test_few_indexes_of_many_chats_stay_open() -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are counted on Linux")
    row = Row("0", {"x": 1}, np.eye(1, 8, dtype=np.float32)[0], "a")

    def opened() -> int:
        links = (
            os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")
        )
        return sum(link.startswith(folder) and ".sqlite" not in link for link in links)

    quick = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # here no disk is waited for
    with (
        tempfile.TemporaryDirectory(dir=quick) as folder,
        closing(ChromaDatabase(path=Path(folder) / "chroma")) as database,
    ):
        for chat in range(80):
            database.add(f"chat-{chat}", {"kind": "chat"}, [row])
            assert database.nearest(f"chat-{chat}", row.vector, 1)
        assert opened() <= 4 * chroma_connection.OPEN_INDEXES < 4 * 80
        assert database.nearest("chat-0", row.vector, 1)[0][0] == "0"


class EmbeddingServer:
    """As text-embeddings-inference answers, with a model that can be replaced."""

    def __init__(self) -> None:
        outer = self
        self.model = HashEmbeddings(96)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                body = json.dumps(outer.model.embed_documents(asked["inputs"])).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


async def test_an_embedder_whose_vectors_change_their_length_starts_new_ones(
    make_pipeline: MakePipeline,
) -> None:
    pytest.importorskip("langchain_huggingface")
    past = [{"role": "user", "content": f"The lamp number {it} is blue."} for it in range(30)]
    event = {"id": "e", "order": 0, "text": "The lighthouse burned down."}

    async def lost(pipeline: Pipeline, number: int) -> int:
        """Whether the turn failed, as one may that is answered while the model is replaced."""
        try:
            answer = await pipeline.chat(
                ask(f"Which lamp is blue, {number}?", **CHAT, history=past, story=[event])
            )
        except EmbeddingError as error:
            assert error.retryable
            return 1
        assert answer["retrieved"] and not answer["meta"].get("warnings")
        await pipeline.drain()
        return 0

    with closing(EmbeddingServer()) as server:
        how = {"embedder": "tei", "embedder_url": server.url, "embedder_model": "m"}
        pipeline = make_pipeline(standing_memory=True, **how)
        assert sum([await lost(pipeline, turn) for turn in range(2)]) == 0
        for width in (64, 128):
            server.model = HashEmbeddings(width)
            assert sum([await lost(pipeline, turn) for turn in range(3)]) <= 1
            assert pipeline.services.readers["latin"].embedder.dimension == width
        server.model = HashEmbeddings(80)
        other = make_pipeline(standing_memory=True, **how)  # which finds the old ones on disk
        assert sum([await lost(other, turn) for turn in range(3)]) <= 1
        memory = other.services.readers["latin"].memory
        assert isinstance(memory, StandingMemory)
        assert "The lamp number 7 is blue." in {
            it.content for it in remembered(memory, *CHAT.values())
        }


class Slow(ScriptedLLM):
    """A model that says when it is asked, and answers when it may."""

    _asked: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    _may: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    async def _write(self, *args: Any) -> AsyncGenerator[str, None]:
        self._asked.set()
        await self._may.wait()
        async for piece in super()._write(*args):
            yield piece


@pytest.mark.parametrize("by", ["the same worker", "another worker"])
async def test_a_turn_in_flight_does_not_bring_a_forgotten_chat_back(
    make_pipeline: MakePipeline, by: str
) -> None:
    slow, past = (
        Slow(),
        [{"role": "user", "content": f"My locker code is 471{it}."} for it in range(9)],
    )
    pipeline = make_pipeline(slow, standing_memory=True)
    before = make_pipeline(standing_memory=True)
    other = pipeline if by == "the same worker" else before
    await told(before, "My code is 4711.", **CHAT)
    await before.drain()
    turn = asyncio.create_task(told(pipeline, "What was it?", **CHAT, history=past))
    await slow._asked.wait()
    assert await other.forget(CHAT) is True
    slow._may.set()
    await turn
    await pipeline.drain()
    memory = pipeline.services.readers["latin"].memory
    assert isinstance(memory, StandingMemory)
    assert remembered(memory, *CHAT.values()) == []
    if by == "the same worker":
        assert pipeline.services.indexes._indexes.bytes == 0
    await told(pipeline, "A new beginning.", **CHAT)
    await pipeline.drain()
    assert remembered(memory, *CHAT.values())[0].content == "A new beginning."
    assert await other.forget(CHAT) is True


@pytest.mark.parametrize(
    ("script", "line"), [("latin", "My locker code is 471{}."), ("cjk", "사물함 번호는 471{}이야.")]
)
async def test_a_turn_that_searches_a_forgotten_chat_keeps_no_index_of_it(
    make_pipeline: MakePipeline, script: Script, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(standing_memory=True, llm_context=2048)
    asked, may = asyncio.Event(), asyncio.Event()
    embedder: Any = pipeline.services.readers[script].embedder
    scale = embedder.cosine_scale

    async def slow(text: str) -> Any:
        asked.set()
        await may.wait()
        return await scale(text)

    monkeypatch.setattr(embedder, "cosine_scale", slow)
    history = [{"role": "user", "content": 9 * line.format(number)} for number in range(40)]
    turn = asyncio.create_task(told(pipeline, line.format("?"), **CHAT, history=history))
    await asked.wait()
    await pipeline.forget(CHAT)
    may.set()
    await turn
    assert pipeline.services.indexes._indexes.bytes == 0


async def test_forgetting_waits_for_what_is_being_written_and_for_no_other_chat(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, slow = make_pipeline(standing_memory=True), threading.Event()
    memory = pipeline.services.readers["latin"].memory
    assert isinstance(memory, StandingMemory)
    remember, begun = memory.remember, threading.Event()

    def slowly(user: str, *rest: Any, **how: Any) -> int:
        begun.set()
        assert slow.wait(60)
        return remember(user, *rest, **how)

    monkeypatch.setattr(memory, "remember", slowly)
    await told(pipeline, "My code is 4711.", **CHAT)
    await asyncio.to_thread(begun.wait, 60)
    assert await pipeline.forget({"user_id": "juno", "session_id": "s1"}) is False
    forgetting = asyncio.create_task(pipeline.forget(CHAT))
    await asyncio.sleep(0.05)
    assert not forgetting.done()
    slow.set()
    assert await forgetting is True
    assert remembered(memory, *CHAT.values()) == []


async def test_a_chat_keeps_its_order_though_the_clock_goes_back(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = itertools.count()

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(UTC) - timedelta(days=next(days))

    real = time.time_ns
    monkeypatch.setattr(graph.pipeline, "datetime", Backwards)
    monkeypatch.setattr(time, "time_ns", lambda: real() - next(days) * 86_400 * 10**9)
    replies = [f"Reply {turn}." for turn in range(5)]
    pipeline = make_pipeline(ScriptedLLM(replies=replies), standing_memory=True)
    for turn in range(5):
        await told(pipeline, f"Question {turn}?", **CHAT)
        await pipeline.drain()
    memory = pipeline.services.readers["latin"].memory
    assert isinstance(memory, StandingMemory)
    words = [it.content for it in remembered(memory, *CHAT.values())]
    assert words == [text for turn in range(5) for text in (f"Question {turn}?", replies[turn])]


def test_of_an_edited_message_the_last_words_count_though_the_clock_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days, real = itertools.count(), time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - next(days) * 86_400 * 10**9)
    encoder = CountingEncoder()
    with closing(ChromaDatabase(path=tmp_path / "chroma")) as database:
        workers = [remembering(database, encoder) for _ in range(2)]
        for worker, words in zip(workers * 2, ("red", "green", "blue", "grey"), strict=True):
            line = Message(role="user", content=f"The lamp is {words}.", id="m0")
            assert worker.remember("u", "s", [line, *said("And so it is.", first=1)])
        for worker in [*workers, remembering(database, encoder)]:
            found = worker.recall("u", "s", search("The lamp is grey.", encoder), [], "?")
            assert [it.content for it in found.messages] == ["The lamp is grey.", "And so it is."]


def test_threads_that_begin_at_once_all_get_chroma(tmp_path: Path) -> None:
    """In a new process, where nobody has imported it."""
    code = (
        "import sys, threading, time; from pathlib import Path\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from stores.chroma import ChromaDatabase\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if 'chroma' in name:\n"
        "            importing.add(threading.get_ident())\n"
        "            time.sleep(0.005)  # so that the threads meet\n"
        "importing = set()\n"
        "sys.meta_path.insert(0, Slow())\n"
        "barrier = threading.Barrier(8)\n"
        "databases = [ChromaDatabase(path=Path(sys.argv[1]) / str(n)) for n in range(8)]\n"
        "def ask(number):\n"
        "    barrier.wait()\n"
        "    number % 2 and databases[number].delete('none', ['id'])\n"
        "    return databases[number].drop('none')\n"
        "with ThreadPoolExecutor(8) as pool: print([*pool.map(ask, range(8))], len(importing))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip() == f"{[False] * 8} 1", ended.stderr + ended.stdout
