"""The embedder that remembers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from embedding.onnx import E5, MINILM, Bundled, OnnxEmbeddings
from embedding.scale import SENTENCES, measure
from nodes.embed import search_of
from schemas.rag import CosineScale
from schemas.request import ChatRequest, Message, Persona
from stores.vector_cache import VectorCache


class Counting(Embeddings):
    """The fake, which keeps what it was asked; `floor` is the cosine of unrelated texts."""

    def __init__(self, floor: float = 0.0) -> None:
        self.floor = floor
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        own = np.sqrt(1 - self.floor) * np.array([_meaning(text) for text in texts])
        common = np.full((len(texts), 1), np.sqrt(self.floor))
        vectors: list[list[float]] = np.hstack([common, own]).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def _meaning(text: str) -> np.ndarray:
    """A direction of its own for each pair of sentences that say the same; else by the letters."""
    if text in SENTENCES:
        row = SENTENCES.index(text)
        return np.array(np.eye(256)[8 * (row // 16) + row % 8])
    return np.array(HashEmbeddings().embed_query(text))


def cached(embeddings: Embeddings, file: Path | None = None) -> Embedder:
    return Embedder(embeddings, fingerprint="fake", cache=VectorCache(file, "fake"))


async def test_a_passage_is_embedded_once() -> None:
    counting = Counting()
    embedder = cached(counting)
    first = await embedder.aencode_passages(["배", "harbour", "배"])
    assert counting.texts == ["배", "harbour"]
    again = await embedder.aencode_passages(["harbour", "storm", "harbour"])
    assert counting.texts == ["배", "harbour", "storm"]
    np.testing.assert_array_equal(again[[0, 2]], first[[1, 1]])
    np.testing.assert_array_equal(embedder.encode_passages(["배", "storm"]), [first[0], again[1]])
    assert embedder.known(["storm", "boat"])[1].tolist() == [True, False]


async def test_an_embedder_is_tried_once_and_no_other_process_tries_it_again(
    tmp_path: Path,
) -> None:
    counting, file = Counting(floor=0.8), tmp_path / "vectors.sqlite"
    embedder = cached(counting, file)
    for text in ("Where is the locket?", "로켓은 어디 있어?", "ロケットはどこ?", ""):
        scale = await embedder.cosine_scale(text)
        np.testing.assert_allclose([scale.floor, scale.trust], [0.8, 1.0], atol=1e-3)
    assert sorted(counting.texts) == sorted(SENTENCES)
    embedder.flush()
    other = Counting(floor=0.8)
    assert await cached(other, file).cosine_scale("배") == await embedder.cosine_scale("배")
    assert other.texts == []


async def test_every_search_of_a_turn_has_the_scale_of_its_embedder() -> None:
    lines = [Message(role="user", content="로켓을 잃어버렸어.")]
    request = ChatRequest(message="어디서?", persona=Persona(name="하루"), history=lines)
    search = await search_of(request, embedder=cached(Counting(floor=0.8)))
    assert search.query.cosines.floor == 0.8


@pytest.mark.parametrize("model", [MINILM, E5], ids=lambda model: str(model.name))
async def test_a_bundled_model_comes_with_what_is_measured(model: Bundled) -> None:
    plain = OnnxEmbeddings(model)
    measured = measure(
        plain.encode([model.query + text for text in SENTENCES]),
        plain.encode([model.passage + text for text in SENTENCES]),
    )
    assert measured.keys() == model.scales.keys()
    for language, scale in model.scales.items():
        found = measured[language]
        np.testing.assert_allclose(found.floor, scale.floor, atol=0.01)
        np.testing.assert_allclose(found.trust, scale.trust, atol=0.07)  # a sentence
        np.testing.assert_allclose(found.reach, scale.reach, atol=0.05)
    embedder = cached(plain)
    assert await embedder.cosine_scale("Mia, 항구에 가자!") == model.scales["ko"]
    assert await embedder.cosine_scale("港へ行こう、Mia") == model.scales["ja"]
    english = await embedder.cosine_scale("Who is 세라피나 to the lord of Eldmoor?")
    assert english == model.scales["en"]


def test_minilm_in_english_is_the_unit_of_all_scales() -> None:
    assert MINILM.scales["en"] == CosineScale()


async def test_questions_are_tried_with_the_prefix_of_questions() -> None:
    model = OnnxEmbeddings(E5)
    unmeasured = Embedder(model, query_prefix=E5.query, passage_prefix=E5.passage)
    unmeasured._scales = None
    scale = await unmeasured.cosine_scale("배")
    np.testing.assert_allclose(scale.floor, E5.scales["ko"].floor, atol=0.01)


def test_who_cannot_tell_anything_apart_is_not_believed() -> None:
    same = np.ones((48, 4), dtype=np.float32) / 2
    assert all(scale.trust < 0.1 and scale.floor < 1 for scale in measure(same, same).values())
