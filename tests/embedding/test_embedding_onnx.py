"""The committed model: its numbers, its sense, and what odd input does to it."""

import hashlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.onnx import BATCH, E5, MINILM, Bundled, OnnxEmbeddings, _batches
from schemas.errors import EmbeddingError

ENGLISH, KOREAN = OnnxEmbeddings(), OnnxEmbeddings(E5)
BOTH = [(ENGLISH, MINILM), (KOREAN, E5)]
LOCKET = "The lighthouse keeper gave me a silver locket on my birthday."
NECKLACE = "On my birthday I got a necklace from the man at the lighthouse."
BREAD = "We argued about the recipe for walnut bread."
BAKER = "The baker would not tell us what goes into his bread."

any_text = st.text(st.characters(exclude_categories=()), max_size=60)  # surrogates too


def test_the_first_numbers_of_a_vector_are_pinned() -> None:
    expected = [-0.07338, 0.13829, 0.06179, 0.06157, 0.00968]
    assert ENGLISH.embed_query(LOCKET)[:5] == pytest.approx(expected, abs=5e-3)


def test_it_agrees_with_the_original() -> None:
    vectors = ENGLISH.encode([LOCKET, NECKLACE, BREAD, BAKER])
    original = [  # sentence-transformers, float32
        [1.000, 0.816, 0.052, 0.090],
        [0.816, 1.000, -0.006, 0.012],
        [0.052, -0.006, 1.000, 0.397],
        [0.090, 0.012, 0.397, 1.000],
    ]
    np.testing.assert_allclose(vectors @ vectors.T, original, atol=0.02)


def test_a_paraphrase_is_nearer_than_anything_else() -> None:
    passages = ENGLISH.encode([BREAD, NECKLACE, "It rained all night in the mountains."])
    query = ENGLISH.encode(["Who gave me the necklace?"])[0]
    assert int(np.argmax(passages @ query)) == 1


def test_a_vector_does_not_depend_on_the_batch() -> None:
    texts = [LOCKET, "yes", "!" * 300, "달빛 아래에서 만나요.", "x", BREAD * 9, "", NECKLACE] * 5
    alone = np.array([ENGLISH.embed_query(text) for text in texts])
    np.testing.assert_allclose(ENGLISH.encode(texts), alone, atol=1e-5)
    np.testing.assert_allclose(ENGLISH.encode(texts[::-1]), alone[::-1], atol=1e-5)


def test_long_texts_run_few_at_once() -> None:
    lengths = [256, 2, 30, 256, 256, 64, *[3] * 20, 100]
    batches = _batches(lengths, 512)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= BATCH
        assert len(batch) * max(lengths[row] for row in batch) <= 512
    assert [len(batch) for batch in _batches([2048] * 2, 512)] == [1, 1]
    assert _batches([], 512) == []


def test_threads_share_one_object() -> None:
    fresh = OnnxEmbeddings()  # the threads also race to load it
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fresh.encode, [[LOCKET, BREAD] * 10] * 16))
    for vectors in found:
        np.testing.assert_array_equal(vectors, found[0])


def test_the_first_numbers_of_a_korean_vector_are_pinned() -> None:
    expected = [0.10057, 0.01923, -0.0187, -0.05172, 0.03015]
    vector = KOREAN.embed_query("passage: 등대지기가 생일에 은목걸이를 줬어.")
    assert vector[:5] == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(
    ("question", "answer", "others"),
    [
        (
            "목걸이 준 사람이 누구였지?",
            "등대지기가 생일 선물로 은으로 된 로켓을 걸어 줬어.",
            ["빵집 주인은 레시피를 절대 안 알려줘.", "밤새 산에 비가 내렸다.", "걔는 왜 안 와?"],
        ),
        (
            "ペンダントをくれたのは誰？",
            "誕生日に灯台守が銀のロケットを首にかけてくれた。",
            ["パン屋は作り方を教えてくれない。", "一晩中、山に雨が降った。", "誰も来ないね。"],
        ),
        (
            "是谁送我项链的？",
            "灯塔看守在我生日那天送了我一个银吊坠。",
            ["面包师不肯告诉我们配方。", "山里下了一整夜的雨。", "他为什么还不来？"],
        ),
        (
            "목걸이 준 사람이 누구였지?",
            "The lighthouse keeper put a silver locket around my neck.",
            ["The baker would not tell us his recipe.", "It rained all night in the hills."],
        ),
    ],
    ids=["Korean", "Japanese", "Chinese", "Korean to English"],
)
def test_e5_finds_what_answers_in_other_words(
    question: str, answer: str, others: list[str]
) -> None:
    passages = KOREAN.encode([E5.passage + text for text in (*others, answer)])
    found = passages @ KOREAN.encode([E5.query + question])[0]
    assert int(np.argmax(found)) == len(others)


def test_unrelated_texts_lie_apart_under_e5() -> None:
    texts = ["빵집은 일곱 시에 문을 연다.", "누나는 배를 탄 적이 없어.", "시험이 내일이라니!"]
    cosines = KOREAN.encode([E5.passage + text for text in texts])
    cosines = cosines @ cosines.T
    assert np.abs(cosines[~np.eye(3, dtype=bool)]).max() < 0.4  # .8 and more without the centre


def test_a_vector_of_e5_does_not_depend_on_the_batch() -> None:
    texts = [
        "응",
        "ㅋㅋㅋ",
        "달빛 아래에서 만나요. " * 20,
        "",
        "月の下で",
        NECKLACE,
        "query: 뭐?",
    ] * 3
    alone = np.array([KOREAN.embed_query(text) for text in texts])
    np.testing.assert_allclose(KOREAN.encode(texts), alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(any_text, max_size=4))
def test_any_text_has_a_unit_vector(texts: list[str]) -> None:
    vectors = ENGLISH.encode(texts)
    assert vectors.shape == (len(texts), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("text", ["", " \n\t", "🌙" * 50, "\ud83d", "a\x00b", "[PAD] [MASK]"])
def test_odd_texts_work(text: str) -> None:
    assert np.linalg.norm(ENGLISH.embed_query(text)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["word " * 20_000, "a" * 100_000, "안" * 100_000, " " * 100_000])
def test_a_very_long_text_is_cut_not_slow(text: str) -> None:
    ENGLISH.embed_query("loaded")
    start = time.process_time()
    assert len(ENGLISH.embed_query(text)) == 384
    assert time.process_time() - start < 1


def test_only_the_first_256_tokens_count() -> None:
    words = "the cat sat on the mat " * 50
    np.testing.assert_array_equal(ENGLISH.embed_query(words), ENGLISH.embed_query(words + LOCKET))
    shorter = words[:500]
    assert not np.allclose(ENGLISH.embed_query(shorter), ENGLISH.embed_query(shorter + LOCKET))


def test_documents_and_queries_are_lists_of_floats() -> None:
    (vector,) = ENGLISH.embed_documents([LOCKET])
    assert vector == ENGLISH.embed_query(LOCKET)
    assert len(vector) == ENGLISH.dimension
    assert type(vector[0]) is float
    assert ENGLISH.embed_documents([]) == []


@pytest.mark.parametrize(("embeddings", "model"), BOTH, ids=["minilm", "e5"])
def test_the_fingerprint_and_the_readme_name_the_file(
    embeddings: OnnxEmbeddings, model: Bundled
) -> None:
    digest = hashlib.sha256((model.folder / "model.onnx").read_bytes()).hexdigest()
    assert embeddings.fingerprint == f"{model.name}/int8/{digest[:12]}"
    stated = re.findall(r"[0-9a-f]{64}", (model.folder / "README.md").read_text(encoding="utf-8"))
    tokenizer = hashlib.sha256((model.folder / "tokenizer.json").read_bytes()).hexdigest()
    assert {digest, tokenizer} <= set(stated)


def test_a_missing_file_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"tokenizer\.json cannot be read.*export_embedder"):
        OnnxEmbeddings(replace(MINILM, folder=tmp_path)).encode([LOCKET])


def test_importing_the_package_loads_no_runtime() -> None:
    heavy = "{'onnxruntime', 'tokenizers', 'langchain_huggingface', 'torch'}"
    code = f"import sys, embedding; embedding.minilm(); print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=MINILM.folder.parents[1],
    )
    assert done.stdout.strip() == "set()"
