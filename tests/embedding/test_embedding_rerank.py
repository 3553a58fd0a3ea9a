"""Rerankers: one in this process (extra), one on a server (here on the loopback)."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding.rerank import CrossEncoderReranker, RerankServer
from schemas.errors import EmbeddingError


class Server(ThreadingHTTPServer):
    """Scores a text by its share of the query's words; or answers what it is told."""

    told: Any = None
    asked: list[dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append({"path": self.path, **body, **dict(self.headers)})
        words = body["query"].split()
        scored = [
            {"index": n, "score": sum(word in text for word in words) / len(words)}
            for n, text in enumerate(body["texts"])
        ]
        status, answer = self.server.told or (200, sorted(scored, key=lambda s: -s["score"]))
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.asked = []
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/"


async def test_scores_come_in_the_order_of_the_texts(server: Server) -> None:
    scores = await RerankServer(address(server), api_key="k").arank(
        "고양이 이름", ["비가 온다", "고양이 이름은 보리", "고양이"]
    )
    assert scores.tolist() == [0, 1, 0.5]
    [asked] = server.asked
    assert asked["path"] == "/rerank" and asked["authorization"] == "Bearer k"


@pytest.mark.parametrize(
    "told",
    [
        (500, {"error": "secret"}),
        (200, b"not json"),
        (200, [{"index": 0, "score": 1.0}]),
        (200, [{"index": 9, "score": 1.0}]),
        (200, {"index": 0}),
    ],
)
async def test_a_server_that_fails_is_one_error_of_ours(server: Server, told: Any) -> None:
    server.told = told
    with pytest.raises(EmbeddingError) as failure:
        await RerankServer(address(server)).arank("a", ["b", "c"])
    assert "secret" not in failure.value.message and "127.0.0.1" not in failure.value.message


async def test_without_the_extra_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EmbeddingError, match=r'pip install ".\[huggingface\]"'):
        await CrossEncoderReranker("any/model").arank("a", ["b"])


@pytest.mark.huggingface
async def test_a_cross_encoder_in_this_process(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    vocabulary = tmp_path / "vocab.txt"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "rain", "name"]
    vocabulary.write_text("\n".join(words), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(tmp_path)
    scores = await CrossEncoderReranker(str(tmp_path)).arank("cat name", ["cat", "rain", "cat"])
    assert scores.shape == (3,) and np.all((scores > 0) & (scores < 1))
    assert scores[0] == pytest.approx(scores[2], abs=1e-5)
