"""The embedders that the settings can name, each ready for the pipeline."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from embedding.embedder import Embedder
from embedding.onnx import E5, MINILM, Bundled, OnnxEmbeddings
from schemas.errors import EmbeddingError, moved

# Model name (any case) -> (query prefix, passage prefix); the first match wins.
# From the model cards: a model trained with prefixes ranks noticeably worse without them.
PREFIXES: list[tuple[str, tuple[str, str]]] = [
    (r"\be5-.*instruct", ("Instruct: Retrieve what is relevant to this message\nQuery: ", "")),
    (r"\be5\b", ("query: ", "passage: ")),
    (r"\bbge-\w+-en\b", ("Represent this sentence for searching relevant passages: ", "")),
    (r"\barctic-embed.*-v2", ("query: ", "")),
    (r"\bnomic-embed", ("search_query: ", "search_document: ")),
]


SECONDS = 30.0
"""What an embedding server may take to connect, and for each answer."""


def prefixes_for(model: str) -> tuple[str, str]:
    """The (query, passage) prefixes of a model by its name.

    Both are empty for an unknown name, and for bge-m3 and the MiniLM family, which want none.
    """
    for pattern, prefixes in PREFIXES:
        if re.search(pattern, model, re.IGNORECASE):
            return prefixes
    return "", ""


def bundled(model: Bundled) -> Embedder:
    """A committed model: nothing to download, nothing to start.

    A text alone runs on one core, so two calls at a time: a message does not wait for the running
    chat of another turn.
    """
    return Embedder(
        OnnxEmbeddings(model),
        query_prefix=model.query,
        passage_prefix=model.passage,
        workers=2,
    )


def minilm() -> Embedder:
    """The committed all-MiniLM-L6-v2, which knows English."""
    return bundled(MINILM)


def e5() -> Embedder:
    """The committed multilingual-e5-small, which knows Korean, Japanese and Chinese."""
    return bundled(E5)


def huggingface(model: str, *, device: str = "cpu") -> Embedder:
    """A sentence-transformers model in this process; loads (or downloads) it now.

    Args:
        model: a name on the Hugging Face hub, such as "BAAI/bge-m3", or a folder.
        device: "cpu", "cuda" or "cuda:1".
    """
    from langchain_huggingface import HuggingFaceEmbeddings

    try:
        embeddings = HuggingFaceEmbeddings(
            model_name=model,
            model_kwargs={"device": device},
            encode_kwargs={"normalize_embeddings": True},
        )
    except ImportError as error:
        raise EmbeddingError(
            'the huggingface embedder needs its extra: pip install ".[huggingface]"'
        ) from error
    except Exception as error:  # from the hub, the disk, torch or the model's code
        raise EmbeddingError(
            f"cannot load the embedding model {model!r} ({type(error).__name__}); check its name "
            "and the network, or give the folder that holds it"
        ) from error
    query, passage = prefixes_for(model)
    return Embedder(
        embeddings,
        fingerprint=f"huggingface/{model}@main",
        query_prefix=query,
        passage_prefix=passage,
    )


def text_embeddings_inference(url: str, model: str, *, api_key: str | None = None) -> Embedder:
    """A text-embeddings-inference server; asks it nothing until first used.

    Args:
        url: where it answers, such as "http://127.0.0.1:8080".
        model: what it serves; names the vectors and chooses the prefixes.
        api_key: sent as bearer token. No other token is ever sent, `HF_TOKEN` included.
    """
    from langchain_huggingface import HuggingFaceEndpointEmbeddings

    # Texts too long for the model are cut by the server in place of refused.
    embeddings = HuggingFaceEndpointEmbeddings(
        model=model, model_kwargs={"truncate": True, "normalize": True}
    )
    embeddings.client = _ServerClient(url, api_key)  # its constructor refuses a URL
    query, passage = prefixes_for(model)
    return Embedder(
        embeddings,
        fingerprint=f"text-embeddings-inference/{model}",
        query_prefix=query,
        passage_prefix=passage,
        batch=32,  # the most that the server takes in one request, unless told otherwise
        workers=4,
    )


class _ServerClient:
    """The one method of huggingface_hub's client that LangChain calls, by plain HTTP.

    That client would send the operator's Hugging Face token to any address, refuse to talk even to
    a neighbour under `HF_HUB_OFFLINE`, and keep every response until it is closed.
    """

    def __init__(self, url: str, api_key: str | None) -> None:
        import httpx

        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(headers=headers, timeout=SECONDS)
        self._url = url

    def feature_extraction(self, text: list[str], **options: Any) -> np.ndarray:
        """The server's vectors, (n, dimension)."""
        response = self._http.post(self._url, json={"inputs": text, **options})
        if response.is_redirect:  # a text and a key go nowhere else
            raise EmbeddingError(moved("embedding", response.status_code, "IYAGI_EMBEDDER_URL"))
        return np.asarray(response.raise_for_status().json(), dtype=np.float32)
