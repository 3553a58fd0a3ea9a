"""What the store tests share: encoders without a model, events and messages, a real server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np

from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from retrieval.query import make_query, view_vectors
from schemas.rag import Search
from schemas.request import Message, StoryEvent
from stores.chat_memory import StandingMemory
from stores.chroma import ChromaDatabase
from stores.word_index import WordIndex
from tests.support import free_port


class CountingEncoder:
    """The trigram embedder, which counts the texts that it is asked for."""

    def __init__(self, dimension: int = 64, fingerprint: str | None = None) -> None:
        self._embedder = Embedder(HashEmbeddings(dimension))
        self.fingerprint = fingerprint or self._embedder.fingerprint
        self.dimension = dimension
        self.texts = 0
        self.learned: dict[str, np.ndarray] = {}

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        return self._embedder.encode_passages(texts)

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self.learned.get(text, np.zeros(self.dimension)) for text in texts]
        known = np.array([text in self.learned for text in texts], dtype=bool)
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimension), known

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        self.learned |= dict(zip(texts, vectors, strict=True))


def remembering(database: ChromaDatabase, encoder: CountingEncoder | None = None) -> StandingMemory:
    """A standing memory as one worker has it, with an index of words of its own."""
    return StandingMemory(database, encoder or CountingEncoder(), WordIndex(None))


def remembered(memory: StandingMemory, user: str = "u", session: str = "s") -> list[Message]:
    """All that stands of a chat, in its order."""
    return [item.message for item in memory._log.all(memory._name(user, session))]


def search(text: str, encoder: CountingEncoder) -> Search:
    """What a turn looks for that asks this."""
    query = make_query(text, [], speakers=[], names=["Mara"], present=["Mara", "User"])
    views = view_vectors(query, encoder.encode_passages(query.texts))
    return Search(query=query, views=views, message=views[0])


def story(*texts: str, **fields: object) -> list[StoryEvent]:
    """Events e0, e1, ... in this order."""
    return [
        StoryEvent.model_validate({"id": f"e{row}", "order": row, "text": text, **fields})
        for row, text in enumerate(texts)
    ]


def said(*texts: str, first: int | None = 0, role: str = "user") -> list[Message]:
    """Messages with the ids m0, m1, ..., or without ids where `first` is None."""
    return [
        Message.model_validate(
            {"role": role, "content": text, "id": None if first is None else f"m{first + row}"}
        )
        for row, text in enumerate(texts)
    ]


class ChromaServer:
    """`chroma run` on loopback, as an operator starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-c", "from chromadb.cli.cli import app; app()",
            "run", "--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{self.url}/api/v2/heartbeat", timeout=1).raise_for_status()
                return
            except httpx.HTTPError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
