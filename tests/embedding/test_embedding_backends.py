"""The embedders that need something else: an extra, or a server (here one on the loopback)."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding import huggingface, minilm, text_embeddings_inference
from embedding.backends import prefixes_for
from embedding.fake import HashEmbeddings
from schemas.errors import EmbeddingError


@pytest.mark.parametrize(
    ("model", "query", "passage"),
    [
        ("intfloat/multilingual-e5-large", "query: ", "passage: "),
        ("/models/E5-small-v2", "query: ", "passage: "),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "query: ", ""),
        ("BAAI/bge-m3", "", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "", ""),
        ("someone/fe5tive", "", ""),
    ],
)
def test_prefixes_follow_the_name(model: str, query: str, passage: str) -> None:
    assert prefixes_for(model) == (query, passage)


def test_instruction_models_get_their_instruction_for_queries_only() -> None:
    for model in ("intfloat/multilingual-e5-large-instruct", "BAAI/bge-large-en-v1.5"):
        query, passage = prefixes_for(model)
        assert len(query) > 20
        assert passage == ""


def test_minilm_is_the_committed_model() -> None:
    embedder = minilm()
    assert embedder.fingerprint.startswith("all-MiniLM-L6-v2/int8/")
    assert embedder.dimension == embedder.encode_queries(["hello"]).shape[1] == 384


def test_a_missing_extra_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EmbeddingError, match=r'pip install "\.\[huggingface\]"'):
        huggingface("BAAI/bge-m3")


@pytest.mark.huggingface
def test_a_sentence_transformers_model_works(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    folder = tiny_model(tmp_path / "e5-tiny")
    embedder = huggingface(str(folder))
    vectors = embedder.encode_passages(["the locket", "locket the", "moon \ud83c"])
    assert vectors.shape == (3, embedder.dimension) == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    query = embedder.encode_queries(["the locket"])[0]
    assert np.dot(query, vectors[0]) < 1 - 1e-5, "it has a prefix of its own"
    assert embedder.fingerprint.endswith("e5-tiny@main/passage:")


@pytest.mark.huggingface
def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EmbeddingError, match="cannot load the embedding model"):
        huggingface(str(tmp_path))


def tiny_model(folder: Path) -> Path:
    """A BERT of one layer with random weights, which knows a few words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "locket", "query", "passage", ":"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


class Server(ThreadingHTTPServer):
    """Answers as text-embeddings-inference does, 32 texts a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.requests: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        self.server.tokens.append(self.headers["authorization"])
        status = self.server.status if len(body["inputs"]) <= 32 else 413
        vectors = HashEmbeddings(64).embed_documents(body["inputs"])
        answer = json.dumps(vectors if status == 200 else {"error": "no"}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


async def test_a_server_embeds_in_requests_it_accepts(server: Server) -> None:
    embedder = text_embeddings_inference(server.url, "intfloat/multilingual-e5-small")
    texts = [f"message {number}" for number in range(70)]
    vectors = await embedder.aencode_passages(texts)
    expected = HashEmbeddings(64).embed_documents([f"passage: {text}" for text in texts])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert [len(request["inputs"]) for request in server.requests] == [32, 32, 6]
    assert all(request["truncate"] and request["normalize"] for request in server.requests)
    np.testing.assert_allclose(embedder.encode_passages(texts), expected, atol=1e-6)
    assert embedder.dimension == 64
    await embedder.begin_queries(["who?"])
    assert server.requests[-1]["inputs"] == ["query: who?"]


def test_only_the_given_key_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_for_this_server")
    monkeypatch.setenv("HUGGINGFACEHUB_API_TOKEN", "hf_nor_this")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # about the hub, not about this server
    text_embeddings_inference(server.url, "m").encode_queries(["a"])
    text_embeddings_inference(server.url, "m", api_key="mine").encode_queries(["a"])
    assert server.tokens == [None, "Bearer mine"]


@pytest.mark.parametrize(("status", "retryable"), [(503, True), (429, True), (401, False)])
def test_a_refusal_is_one_line(server: Server, status: int, retryable: bool) -> None:
    server.status = status
    with pytest.raises(EmbeddingError, match=f"status {status}") as caught:
        text_embeddings_inference(server.url, "m").encode_queries(["a"])
    assert caught.value.retryable is retryable


def test_a_server_that_is_down_is_worth_another_try() -> None:
    with pytest.raises(EmbeddingError, match="try again") as caught:
        text_embeddings_inference("http://127.0.0.1:9", "m").encode_queries(["a"])
    assert caught.value.retryable
