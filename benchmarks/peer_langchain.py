"""The usual build of the same turn, for comparison: retrieval by LangChain and Chroma.

Written as LangChain's documentation shows it: the chat becomes a collection by `from_texts` in each
request, as the worker keeps nothing between two; retrievers and a prompt template are joined to a
chain; the history is trimmed by a token counter. It is built with care: the story's collection is
made once, every chat has a collection of its own, and that is deleted after the turn.

    python -m benchmarks.peer_langchain [--model NAME_OR_FOLDER]      one turn on the mock request
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseLLM
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    get_buffer_string,
    trim_messages,
)
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnablePassthrough

from embedding.onnx import MINILM, OnnxEmbeddings
from llm.scripted import ScriptedLLM

MOCK = Path(__file__).resolve().parent.parent / "data" / "mock" / "sample_request.json"
HISTORY_TOKENS = 6_000
"""Of the history in the prompt, for a model with a context of 8,192."""

PROMPT = PromptTemplate.from_template(
    """You are {name}. {description} {personality}
{scenario}

{history}
{user}: {message}

[{name} remembers:
{memories}

What has happened:
{events}]

{name}:"""
)


class Peer:
    """One process of it.

    Args:
        embeddings: any of LangChain's; by default the same that Iyagi bundles.
        llm: by default the same that Iyagi has without a model.
    """

    def __init__(self, embeddings: Embeddings | None = None, llm: BaseLLM | None = None) -> None:
        self.embeddings = _Timed(embeddings or OnnxEmbeddings())
        self.llm = llm or ScriptedLLM()
        self._client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        self._stories: dict[tuple[str, ...], Chroma] = {}

    async def turn(self, request: dict[str, Any]) -> str:
        """The reply to a ChatRequest as JSON data."""
        lines, persona = request["history"], request["persona"]
        chat = await self._collection(
            [line["content"] for line in lines],
            [{"row": row, "role": line["role"]} for row, line in enumerate(lines)],
        )
        story = await self._story(request["story"])
        memories = chat.as_retriever(search_kwargs={"k": 8})
        events = story.as_retriever(
            search_kwargs={"k": 5, "filter": {"order": {"$lte": request["story_position"]}}}
        )
        user = request.get("user_name") or "User"
        prompt = PROMPT.partial(
            name=persona["name"],
            description=persona.get("description", ""),
            personality=persona.get("personality", ""),
            scenario=persona.get("scenario", ""),
            user=user,
            history=get_buffer_string(
                _trimmed(lines), human_prefix=user, ai_prefix=persona["name"]
            ),
        )
        chain = (
            {
                "memories": memories | _listed,
                "events": events | _listed,
                "message": RunnablePassthrough(),
            }
            | prompt
            | self.llm.bind(stop=[f"\n{user}:"])
            | StrOutputParser()
        )
        try:
            return await chain.ainvoke(request["message"])
        finally:
            await asyncio.to_thread(chat.delete_collection)

    async def _story(self, events: list[dict[str, Any]]) -> Chroma:
        key = tuple(event["id"] for event in events)
        if key not in self._stories:
            self._stories[key] = await self._collection(
                [event["text"] for event in events], [{"order": e["order"]} for e in events]
            )
        return self._stories[key]

    async def _collection(self, texts: list[str], metadatas: list[dict[str, Any]]) -> Chroma:
        return await Chroma.afrom_texts(
            texts,
            self.embeddings,
            metadatas=metadatas,
            client=self._client,
            collection_name=f"peer-{uuid.uuid4().hex}",
            collection_metadata={"hnsw:space": "cosine"},
        )


class _Timed(Embeddings):
    """Embeddings that add up the seconds they took."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self.seconds = 0.0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of stored text."""
        started = time.perf_counter()
        vectors = self._embeddings.embed_documents(texts)
        self.seconds += time.perf_counter() - started
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        started = time.perf_counter()
        vector = self._embeddings.embed_query(text)
        self.seconds += time.perf_counter() - started
        return vector


def _trimmed(lines: list[dict[str, Any]]) -> list[BaseMessage]:
    messages = [
        HumanMessage(line["content"]) if line["role"] == "user" else AIMessage(line["content"])
        for line in lines
    ]
    trimmed: list[BaseMessage] = trim_messages(
        messages,
        max_tokens=HISTORY_TOKENS,
        token_counter=count_tokens_approximately,
        strategy="last",
        start_on="human",
    )
    return trimmed


def _listed(documents: list[Document]) -> str:
    return "\n".join(f"- {document.page_content}" for document in documents)


def sentence_transformers(model: str) -> Embeddings:
    """A sentence-transformers model on the processor (extra `huggingface`)."""
    from langchain_huggingface import HuggingFaceEmbeddings

    return HuggingFaceEmbeddings(
        model_name=model,
        model_kwargs={"device": "cpu"},
        encode_kwargs={"normalize_embeddings": True},
    )


def write_untrained(folder: Path) -> None:
    """A sentence-transformers model in the shape of all-MiniLM-L6-v2, with its tokenizer and random
    weights: as fast as the real one, and nothing is downloaded. Its vectors mean nothing."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(MINILM.folder / "tokenizer.json"),
        model_max_length=256,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    shape = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    BertModel(shape).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    encoder = Transformer(str(folder / "bert"), max_seq_length=256)
    SentenceTransformer(
        modules=[encoder, Pooling(shape.hidden_size), Normalize()], device="cpu"
    ).save(str(folder))


def main() -> None:
    """Answers the mock request."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="a sentence-transformers model instead of the bundled one")
    parser.add_argument("--write-untrained", type=Path, help="write a model for timing, and end")
    options = parser.parse_args()
    if options.write_untrained:
        write_untrained(options.write_untrained)
        return
    request = json.loads(MOCK.read_text(encoding="utf-8"))
    peer = Peer(sentence_transformers(options.model) if options.model else None)
    print(asyncio.run(peer.turn(request)))


if __name__ == "__main__":
    main()
