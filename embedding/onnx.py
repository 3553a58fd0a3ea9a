"""The two committed models in int8, run by onnxruntime: the default embedders.

MiniLM knows English. It does not fail on other languages but hardly understands them: Hangul is
taken apart into jamo, and a Korean text is near every other Korean text (`minilm/README.md`). e5
knows Korean, Japanese and Chinese; in English it finds a little less, and takes twice as long.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from embedding.embedder import well_formed
from schemas.errors import EmbeddingError
from schemas.rag import CosineScale

HERE = Path(__file__).parent
DIMENSION = 384
MAX_CHARACTERS = 8192  # far above 512 tokens of any prose; spares the tokenizer a whole novel
BATCH = 8  # texts per run: more only adds padding, as some 300 tokens fill the matrices


@dataclass(frozen=True, slots=True)
class Bundled:
    """A committed model: `model.onnx` and `tokenizer.json` in a folder."""

    name: str
    folder: Path
    digest: str
    """How the SHA-256 of `model.onnx` begins: to read all of it would cost each start 40 ms."""
    max_tokens: int  # the length it was trained on; quality falls beyond, and the graph ends there
    batch_tokens: int
    """Tokens per run, padding included, unless one text has more: eight long texts at once would
    take 100 MB that onnxruntime's arena keeps, and a tenth more time."""
    scales: Mapping[str, CosineScale]  # as `embedding.scale` measures them, which costs 0.1 s
    query: str = ""  # put before each question
    passage: str = ""  # put before each passage


MINILM = Bundled(
    "all-MiniLM-L6-v2",
    HERE / "minilm",
    digest="deb3cf1515e7",
    max_tokens=256,
    batch_tokens=512,
    scales={
        "en": CosineScale(0.0, 1.0),
        "ko": CosineScale(0.671, 0.062, 0.987),
        "ja": CosineScale(0.513, 0.196, 0.94),
    },
)
"""Knows English."""

E5 = Bundled(
    "multilingual-e5-small",
    HERE / "e5",
    digest="331da0296f95",
    max_tokens=512,
    batch_tokens=256,  # it is as fast with 512, and keeps 20 MB more
    scales={
        "en": CosineScale(0.0, 1.0, 0.497),
        "ko": CosineScale(0.108, 0.866, 0.711),
        "ja": CosineScale(0.121, 1.0, 0.803),
    },
    query="query: ",
    passage="passage: ",
)
"""Knows Korean, Japanese, Chinese, and the English that is quoted in them."""


class OnnxEmbeddings(Embeddings):
    """LangChain's `Embeddings` over a committed model; made for free, loaded on first use.

    A text's vector depends neither on the texts embedded with it nor on the kind of processor, but
    for rounding: activations are quantised per token. Threads may share one object.

    Args:
        model: which one.
    """

    dimension = DIMENSION

    def __init__(self, model: Bundled = MINILM) -> None:
        self.model = model
        self.cosine_scales = model.scales
        # Names the model and its file: the key of its vectors in caches and indexes.
        self.fingerprint = f"{model.name}/int8/{model.digest}"
        # Batches at work at one time, each on one core: two, as the machine's count says nothing
        # about a container's share of it. One query runs on one: splitting 1.2 ms of work saves
        # little on an idle machine and costs on a busy one.
        self._pool = ThreadPoolExecutor(min(2, os.cpu_count() or 1), "onnx")
        self._lock = Lock()
        self._loaded: tuple[Any, Any] | None = None  # tokenizer, session

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector of 384 numbers and unit length per text."""
        vectors: list[list[float]] = self.encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The same as for a document: this model makes no difference."""
        return self.embed_documents([text])[0]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, 384) float32, rows of unit length in the order of the texts."""
        tokenizer, session = self._load()
        ids = [tokenizer.encode(well_formed(text[:MAX_CHARACTERS])).ids for text in texts]
        batches = _batches([len(text_ids) for text_ids in ids], self.model.batch_tokens)
        vectors = np.empty((len(ids), DIMENSION), dtype=np.float32)

        def embed(rows: list[int]) -> None:
            (vectors[rows],) = session.run(None, _padded([ids[row] for row in rows]))

        apply = self._pool.map if len(batches) > 1 else map
        list(apply(embed, batches))
        return vectors

    def _load(self) -> tuple[Any, Any]:
        """The tokenizer and the session, made once by whichever thread comes first."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._tokenizer(), self._session()
                with suppress(AttributeError):  # of glibc alone
                    ctypes.CDLL(None).malloc_trim(0)  # 15 MB that loading has taken and freed
            return self._loaded

    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._path("tokenizer.json")))
        tokenizer.no_padding()  # the published file pads and cuts to 128
        tokenizer.enable_truncation(self.model.max_tokens)
        return tokenizer

    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # no pool of its own: it would wait by spinning
        path = str(self._path("model.onnx"))  # of its bytes, the session would keep a copy
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _path(self, name: str) -> Path:
        path = self.model.folder / name
        if not os.access(path, os.R_OK):
            raise EmbeddingError(
                f"embedding/{self.model.folder.name}/{name} cannot be read; restore it from the "
                "repository or run lab/export_embedder.py"
            )
        return path


def _batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Rows to be run together, longest texts first, so that equals share a batch."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batches = []
    while order:
        size = max(1, min(BATCH, tokens // lengths[order[0]]))
        batches.append(order[:size])
        order = order[size:]
    return batches


def _padded(ids: list[list[int]]) -> dict[str, np.ndarray]:
    """The model's inputs, (n, longest) int64; padding is token 0, masked out."""
    tokens = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
    mask = np.zeros_like(tokens)
    for row, text_ids in enumerate(ids):
        tokens[row, : len(text_ids)] = text_ids
        mask[row, : len(text_ids)] = 1
    return {"input_ids": tokens, "attention_mask": mask}
