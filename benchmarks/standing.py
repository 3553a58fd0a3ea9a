"""What a standing memory costs that no worker could hold, and whether it finds as much.

    python -m benchmarks.standing FILE.chat.jsonl [--messages 200000] [--small 1000]
        [--check 20000] [--questions 200] [--json]

A Chroma server is started on this machine and filled with chats: the lines of the file, and then
lines of words drawn from it at random, up to the length that is asked for. Workers, each a
process of its own, recall from one of the chats: what the server and the words nominate, read and
ranked, without the embedding of the question. In a third chat the questions of the file are asked
once of the ranking of all messages and once of that of the candidates.

Vectors of the file's lines are the model's; those of the others are sums of three of them, as
200,000 texts would take the model ten minutes.

    recall_ms_p50, _p95   of a turn at `messages`; small_ms_p50 at `small`
    first_turn_ms         of a worker that has never met the chat
    worker_mb, small_mb   resident memory of a worker after its turns; growth_mb is the difference
    all_recall@10         of the ranking of all messages; searched_recall@10 of the candidates'
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.corpus import context_lines, read_lines
from benchmarks.metrics import mean, measures, percentile
from embedding.onnx import OnnxEmbeddings
from retrieval.chat import chat_passages, recallable, retrieve_chat_context, search_memory
from retrieval.hybrid import Knobs
from retrieval.index import Index, IndexCache
from retrieval.query import make_query, view_vectors
from retrieval.vectors import part_vectors
from schemas.base import embedding_id
from schemas.rag import Search
from schemas.request import ChatRequest, Message, Persona
from schemas.state import Context
from stores.chat_memory import StandingMemory
from stores.chroma import ChromaDatabase
from stores.vector_cache import VectorCache
from stores.word_index import WordIndex

USER = "benchmark"
BATCH = 5_000
TURNS = 60
CONTEXT = Context(chat_top_k=10)


class Texts:
    """The messages of a long chat, the questions, and an encoder that knows their vectors."""

    fingerprint, dimension = "benchmark", 384

    def __init__(self, path: Path, questions: int) -> None:
        chats = list(read_lines(path))
        model = OnnxEmbeddings()
        self.lines = [(chat["id"], it) for chat in chats for it in chat["messages"]]
        texts = list(dict.fromkeys(it["text"] for _, it in self.lines))
        self._vectors = dict(zip(texts, model.encode(texts), strict=True))
        asked = [(chat, it) for chat in chats for it in chat["queries"]]
        step = max(1, len(asked) // questions)
        self.questions = [self._question(chat, it, model) for chat, it in asked[::step]]

    def messages(self, length: int) -> Iterator[tuple[Message, np.ndarray]]:
        """The lines of the file, then lines of random words, with their vectors."""
        for chat, it in islice(self.lines, length):
            message = Message(role="user", name=it["speaker"], content=it["text"],
                              id=f"{chat}/{it['id']}")  # fmt: skip
            yield message, self._vectors[it["text"]]
        random, vectors = Random(0), [*self._vectors.values()]
        words = [word for text in self._vectors for word in text.split()]
        for row in range(max(0, length - len(self.lines))):
            text = " ".join(random.choices(words, k=random.randint(6, 18)))
            vector = np.sum(random.choices(vectors, k=3), axis=0)
            message = Message(role="user", name="Nobody", content=text, id=str(row))
            yield message, vector / np.linalg.norm(vector)

    def _question(
        self, chat: dict[str, Any], it: dict[str, Any], model: OnnxEmbeddings
    ) -> tuple[Search, set[str]]:
        speakers = list(dict.fromkeys(line["speaker"] for line in chat["messages"]))
        query = make_query(it["text"], context_lines(it), speakers=speakers)
        vectors = model.encode(query.texts)
        search = Search(query=query, views=view_vectors(query, vectors), message=vectors[0])
        return search, {f"{chat['id']}/{id}" for id in it["relevant"]}


class Known:
    """An encoder for what was written with its vectors; it makes none."""

    fingerprint, dimension = Texts.fingerprint, Texts.dimension

    def __init__(self, vectors: dict[str, np.ndarray] | None = None) -> None:
        self._given = {} if vectors is None else vectors
        self._cache = VectorCache(None, self.fingerprint, dimension=self.dimension)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors as given, some vector where there is none."""
        vectors, known = self.known(texts)
        for row in np.flatnonzero(~known).tolist():
            vectors[row] = self._given.get(texts[row], np.eye(1, self.dimension)[0])
        return vectors

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What was learned."""
        return self._cache.get([embedding_id(text) for text in texts])

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """As the product's encoder."""
        self._cache.put([embedding_id(text) for text in texts], vectors)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """`chroma run` on loopback; its address."""
    import socket

    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-c", "from chromadb.cli.cli import app; app()",
        "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{url}/api/v2/heartbeat", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def memory_at(url: str, folder: Path, encoder: Known) -> StandingMemory:
    """The standing memory as a worker has it."""
    database = ChromaDatabase(url=url, timeout=120)
    return StandingMemory(database, encoder, WordIndex(folder / "words.sqlite"))


def fill(url: str, folder: Path, texts: Texts, length: int) -> None:
    """Writes a chat of this length."""
    vectors: dict[str, np.ndarray] = {}
    memory = memory_at(url, folder, Known(vectors))
    lines = texts.messages(length)
    while batch := list(islice(lines, BATCH)):
        vectors.clear()
        vectors.update((message.content, vector) for message, vector in batch)
        memory.remember(USER, str(length), [message for message, _ in batch])
        print(".", end="", file=sys.stderr, flush=True)


def request() -> ChatRequest:
    """A turn of nobody in particular."""
    return ChatRequest(message="?", persona=Persona(name="Mara"), user_id=USER, session_id="1")


def turn(memory: StandingMemory, length: int, search: Search, encoder: Known) -> list[str]:
    """The ids of the messages that a turn finds, best first."""
    recalled = memory.recall(USER, str(length), search, [], "?")
    found = search_memory(
        request(), recalled, search, CONTEXT, indexes=IndexCache(), source=encoder
    )
    return [chunk.id for chunk in found.best]


def work(url: str, folder: str, length: int, searches: list[Search]) -> dict[str, float]:
    """What one worker measures: times of turns, and its memory after them."""
    encoder = Known()
    memory = memory_at(url, Path(folder), encoder)
    times = []
    for search in searches:
        started = time.perf_counter()
        turn(memory, length, search, encoder)
        times.append(1000 * (time.perf_counter() - started))
        if len(times) == 1:
            while memory.unread(USER, str(length)):
                memory.remember(USER, str(length), [])  # as after each reply
    resident = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return {
        "first": times[0],
        "p50": percentile(times[1:], 0.5),
        "p95": percentile(times[1:], 0.95),
        "mb": int(resident) * 4096 / 1e6,
    }


def check(url: str, folder: Path, texts: Texts, length: int) -> dict[str, float]:
    """Recall of the ranking of all messages, and of that of the candidates."""
    lines = list(texts.messages(length))
    messages = [message for message, _ in lines]
    encoder = Known({message.content: vector for message, vector in lines})
    index = Index(chat_passages(messages, request(), runs=[0] * len(messages)))
    encoder.learn([it.content for it in messages], np.stack([vector for _, vector in lines]))
    memory, rows = memory_at(url, folder, encoder), []
    for search, gold in texts.questions:
        vectors, _ = part_vectors(index, search.query, encoder, at_once=10**6)
        found = retrieve_chat_context(
            search, messages, index, vectors,
            allowed=recallable(messages, []), top_k=10, knobs=Knobs(),
        )  # fmt: skip
        full = measures([chunk.id for chunk in found], gold)["recall@10"]
        ranked = measures(turn(memory, length, search, encoder), gold)["recall@10"]
        rows.append({"all_recall@10": full, "searched_recall@10": ranked})
    return {"check_messages": length, "questions": len(rows), **mean(rows)}


def main() -> None:
    """Measures and prints."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser("python -m benchmarks.standing", description=lines[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--small", type=int, default=1_000)
    parser.add_argument("--check", type=int, default=20_000, help="0: leave it out")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    texts = Texts(given.file, given.questions)
    searches = [search for search, _ in texts.questions[:TURNS]]
    with tempfile.TemporaryDirectory() as place, server(Path(place) / "chroma") as url:
        folder = Path(place)
        for length in {given.small, given.messages, given.check} - {0}:
            fill(url, folder, texts, length)
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            small, large = (
                pool.apply(work, (url, str(folder / f"worker-{length}"), length, searches))
                for length in (given.small, given.messages)
            )
        result: dict[str, float] = {
            "messages": given.messages,
            "recall_ms_p50": large["p50"],
            "recall_ms_p95": large["p95"],
            "first_turn_ms": large["first"],
            "small": given.small,
            "small_ms_p50": small["p50"],
            "worker_mb": large["mb"],
            "small_mb": small["mb"],
            "growth_mb": large["mb"] - small["mb"],
        }
        if given.check:
            result |= check(url, folder, texts, given.check)
    print(file=sys.stderr)
    rounded = {name: round(value, 3) for name, value in result.items()}
    if given.json:
        print(json.dumps(rounded, indent=2))
    else:
        for name, value in rounded.items():
            print(f"{name:>20}  {value:g}")


if __name__ == "__main__":
    main()
