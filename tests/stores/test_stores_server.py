"""Standing indexes on a real Chroma server, written and read by four worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import StoreError
from stores import breaker
from stores.chroma import ChromaDatabase
from tests.stores.stores_support import (
    ChromaServer,
    CountingEncoder,
    remembered,
    remembering,
    said,
    search,
)
from tests.stores.stores_workers import serve, write_without_end

SPAWN = get_context("spawn")
WORKERS = 4
REST = 0.1
"""Seconds for which a server that failed is not asked."""


@pytest.fixture(autouse=True)
def _short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "REST_SECONDS", REST)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    running = ChromaServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.kill()


def start(
    stack: ExitStack, target: Callable[..., None], *arguments: object
) -> tuple[Any, Connection]:
    """A process that is killed in the end, and the pipe to it."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    stack.callback(process.join)
    stack.callback(process.kill)
    stack.callback(ours.close)
    return process, ours


class Team:
    """Four workers, each its own process with its own cache."""

    def __init__(self, stack: ExitStack, url: str) -> None:
        self.pipes = [start(stack, serve, url)[1] for _ in range(WORKERS)]
        for pipe in self.pipes:
            assert pipe.recv() == "ready"

    def ask(self, worker: int, method: str, *arguments: object) -> Any:
        """What one worker answers."""
        self.pipes[worker].send((method, arguments))
        return self.pipes[worker].recv()

    def all(self, method: str, *arguments: object) -> list[Any]:
        """What all of them answer, asked at the same time."""
        return self.each(method, *[arguments] * WORKERS)

    def each(self, method: str, *arguments: tuple[object, ...]) -> list[Any]:
        """What they answer, asked at the same time, each with arguments of its own."""
        for pipe, own in zip(self.pipes, arguments, strict=True):
            pipe.send((method, own))
        return [pipe.recv() for pipe in self.pipes]


@pytest.fixture(scope="module")
def team(server: ChromaServer) -> Iterator[Team]:
    with ExitStack() as stack:
        yield Team(stack, server.url)


def test_a_chat_that_moves_between_workers_is_whole_everywhere(team: Team) -> None:
    expected: list[str] = []
    for turn in range(8):
        worker = turn % WORKERS
        new = [f"질문 {turn}", f"answer {turn}"]
        assert team.ask(worker, "tell", "u", "moving", [*expected[-4:], *new]) == 2
        expected += new
        assert team.all("words", "u", "moving") == [expected] * WORKERS
    for found in team.all("recall", "u", "moving", "answer 3"):
        assert "answer 3" in found


def test_four_workers_write_one_chat_at_once_and_see_all_of_it(team: Team) -> None:
    every: list[str] = []
    for turn in range(5):
        batches = [[f"w{worker} t{turn} m{row}" for row in range(3)] for worker in range(WORKERS)]
        counts = team.each("tell", *(("u", "shared", batch) for batch in batches))
        assert counts == [3] * WORKERS
        every += [text for batch in batches for text in batch]
        seen = team.all("words", "u", "shared")
        assert seen == [seen[0]] * WORKERS  # in one order for all
        assert sorted(seen[0]) == sorted(every)
    for worker in range(WORKERS):
        own = [text for text in seen[0] if text.startswith(f"w{worker} ")]
        assert own == [f"w{worker} t{turn} m{row}" for turn in range(5) for row in range(3)]
    for found in team.all("recall", "u", "shared", "w2 t3 m1"):
        assert "w2 t3 m1" in found


def test_four_workers_build_and_read_stories(team: Team) -> None:
    stories = [
        (f"story {worker}", [f"w{worker} e{row}" for row in range(5)]) for worker in range(4)
    ]
    assert team.each("build", *stories) == [(5, 5, 0)] * WORKERS
    for name, texts in stories:
        assert team.all("events", name) == [texts] * WORKERS
    edited = ["w0 e0", "새로운 사건"]
    assert team.ask(1, "build", "story 0", edited) == (2, 1, 4)
    assert team.all("events", "story 0") == [edited] * WORKERS


def test_a_story_that_all_build_at_once_is_one_story(team: Team) -> None:
    texts = [f"사건 {row}" for row in range(30)]
    team.all("build", "together", texts)
    assert team.all("events", "together") == [texts] * WORKERS


def test_a_chat_forgotten_by_one_worker_is_gone_for_all(team: Team) -> None:
    team.ask(0, "tell", "u", "forgotten", ["비밀"])
    assert team.all("words", "u", "forgotten") == [["비밀"]] * WORKERS
    assert team.ask(3, "forget", "u", "forgotten") is True
    assert team.all("words", "u", "forgotten") == [[]] * WORKERS
    team.ask(1, "tell", "u", "forgotten", ["new"])
    assert team.all("words", "u", "forgotten") == [["new"]] * WORKERS


@pytest.mark.parametrize(("batch", "delay"), [(2, 0.0), (1500, 0.1), (1500, 0.3)])
def test_a_worker_killed_while_it_writes_loses_nothing_acknowledged(
    server: ChromaServer, batch: int, delay: float
) -> None:
    with ExitStack() as stack:
        process, pipe = start(stack, write_without_end, server.url, batch)
        acknowledged = [pipe.recv() for _ in range(2)]
        time.sleep(delay)  # into the next write
        process.kill()
        process.join()
        while pipe.poll():
            try:
                acknowledged.append(pipe.recv())
            except EOFError:
                break
    with closing(ChromaDatabase(url=server.url, timeout=60)) as database:
        encoder = CountingEncoder(32)
        memory = remembering(database, encoder)
        texts = [message.content for message in remembered(memory, "u", "killed")]
        promised = [f"{number}-{row}" for number in acknowledged for row in range(batch)]
        assert texts[: len(promised)] == promised
        assert len(set(texts)) == len(texts)
        more = said("still works", first=None)
        assert memory.remember("u", "killed", more) == 1
        assert remembered(memory, "u", "killed")[-1] == more[0]
        found = memory.recall("u", "killed", search("still works", encoder), [], "?")
        assert more[0] in found.messages
        assert memory.forget("u", "killed")


def test_a_server_that_hangs_costs_the_timeout(tmp_path: Path) -> None:
    server = ChromaServer(tmp_path)
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        database = stack.enter_context(closing(ChromaDatabase(url=server.url, timeout=1)))
        assert database.state("chat-1") is None
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        os.waitpid(server.process.pid, os.WUNTRACED)  # until it has stopped
        started = time.monotonic()
        with pytest.raises(StoreError, match="cannot be reached"):
            database.state("chat-1")
        assert time.monotonic() - started < 5
        server.process.send_signal(signal.SIGCONT)
        time.sleep(REST)
        assert database.state("chat-1") is None


def test_a_server_that_was_killed_comes_back_with_all_that_it_acknowledged(tmp_path: Path) -> None:
    server = ChromaServer(tmp_path)
    encoder = CountingEncoder(32)
    messages = said("첫 번째", "second")
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        database = stack.enter_context(closing(ChromaDatabase(url=server.url, timeout=5)))
        memory, asked = remembering(database, encoder), search("첫 번째", encoder)
        memory.remember("u", "s", messages)
        server.kill()
        with pytest.raises(StoreError, match="cannot be reached") as raised:
            memory.recall("u", "s", asked, [], "?")
        assert raised.value.retryable
        server.start()
        time.sleep(REST)
        for worker in (memory, remembering(database, encoder)):
            assert worker.recall("u", "s", asked, [], "?").messages == tuple(messages)


@pytest.mark.slow  # a dozen seconds: a thousand collections
def test_a_thousand_chats_are_a_thousand_chats(database: ChromaDatabase) -> None:
    encoder = CountingEncoder(16)
    chats = [(f"user {number // 25}", f"session {number % 25}") for number in range(1000)]
    memory = remembering(database, encoder)
    for chat in chats:
        memory.remember(*chat, said(f"the secret of {chat}", first=None))
    for chat in chats[::10]:
        assert memory.forget(*chat)
    reader, asked = remembering(database, encoder), search("the secret", encoder)
    for number, chat in enumerate(chats):
        found = reader.recall(*chat, asked, [], "?")
        texts = [message.content for message in found.messages]
        assert texts == ([] if number % 10 == 0 else [f"the secret of {chat}"])
