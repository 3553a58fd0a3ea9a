"""What the store tests run in processes of their own. Imports little, so that these start fast."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from schemas.base import embedding_id
from schemas.request import Message
from stores.chroma import ChromaDatabase
from stores.story_index import StoryIndex
from stores.vector_cache import VectorCache
from tests.stores.stores_support import CountingEncoder, remembered, remembering, search, story


def ids(*names: object) -> list[str]:
    return [embedding_id(str(name)) for name in names]


def unit(count: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    length: np.ndarray = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit_long: np.ndarray = vectors / length
    return unit_long


def fill(path: Path, names: Sequence[str], vectors: np.ndarray, fingerprint: str = "m") -> None:
    """Writes as another process would."""
    with closing(VectorCache(path, fingerprint)) as cache:
        cache.put(names, vectors)


def on_disk(path: Path, names: Sequence[str], fingerprint: str = "m") -> np.ndarray:
    """Which of the names another process finds."""
    with closing(VectorCache(path, fingerprint)) as cache:
        return cache.get(names)[1]


def write_vectors(path: Path, worker: int, count: int) -> int:
    """Writes rows of its own and rows that all write; gives how many of its own are on disk."""
    with closing(VectorCache(path, "m")) as cache:
        for row in range(count):
            cache.put(ids(f"{worker}-{row}", f"all-{row}"), unit(2, seed=row))
    return int(on_disk(path, ids(*(f"{worker}-{row}" for row in range(count)))).sum())


class Worker:
    """What a worker process does when it is told to: remember, recall, build and read stories."""

    def __init__(self, url: str) -> None:
        self.encoder = CountingEncoder(32)
        database = ChromaDatabase(url=url, timeout=60)
        self.memory = remembering(database, self.encoder)
        self.stories = StoryIndex(database, self.encoder)

    def tell(self, user: str, session: str, texts: Sequence[str]) -> int:
        messages = [Message(role="user", content=text, id=text) for text in texts]
        return self.memory.remember(user, session, messages)

    def words(self, user: str, session: str) -> list[str]:
        return [message.content for message in remembered(self.memory, user, session)]

    def recall(self, user: str, session: str, question: str) -> list[str]:
        """What the ranking is given."""
        looked_for = search(question, self.encoder)
        recalled = self.memory.recall(user, session, looked_for, [], question)
        return [message.content for message in recalled.messages]

    def forget(self, user: str, session: str) -> bool:
        return self.memory.forget(user, session)

    def build(self, story_id: str, texts: Sequence[str]) -> tuple[int, int, int]:
        built = self.stories.build(story_id, story(*texts))
        return built.events, built.embedded, built.removed

    def events(self, story_id: str) -> list[str]:
        return [event.text for event in self.stories.named(story_id).events]


def serve(connection: Connection, url: str) -> None:
    """Answers (method, arguments) with the method's result until it is killed."""
    worker = Worker(url)
    connection.send("ready")
    while True:
        method, arguments = connection.recv()
        connection.send(getattr(worker, method)(*arguments))


def write_without_end(connection: Connection, url: str, batch: int) -> None:
    """Remembers batch after batch in one chat and tells the number of each that is written."""
    worker = Worker(url)
    number = 0
    while True:
        worker.tell("u", "killed", [f"{number}-{row}" for row in range(batch)])
        connection.send(number)
        number += 1
