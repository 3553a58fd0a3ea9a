"""The committed model: its numbers, its sense, and what odd input does to it."""

import hashlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.onnx import BATCH, BATCH_TOKENS, FOLDER, OnnxEmbeddings, _batches
from schemas.errors import EmbeddingError

MINILM = OnnxEmbeddings()
LOCKET = "The lighthouse keeper gave me a silver locket on my birthday."
NECKLACE = "On my birthday I got a necklace from the man at the lighthouse."
BREAD = "We argued about the recipe for walnut bread."
BAKER = "The baker would not tell us what goes into his bread."

any_text = st.text(st.characters(exclude_categories=()), max_size=60)  # surrogates too


def test_the_first_numbers_of_a_vector_are_pinned() -> None:
    expected = [-0.07338, 0.13829, 0.06179, 0.06157, 0.00968]
    assert MINILM.embed_query(LOCKET)[:5] == pytest.approx(expected, abs=5e-3)


def test_it_agrees_with_the_original() -> None:
    vectors = MINILM.encode([LOCKET, NECKLACE, BREAD, BAKER])
    original = [  # sentence-transformers, float32
        [1.000, 0.816, 0.052, 0.090],
        [0.816, 1.000, -0.006, 0.012],
        [0.052, -0.006, 1.000, 0.397],
        [0.090, 0.012, 0.397, 1.000],
    ]
    np.testing.assert_allclose(vectors @ vectors.T, original, atol=0.02)


def test_a_paraphrase_is_nearer_than_anything_else() -> None:
    passages = MINILM.encode([BREAD, NECKLACE, "It rained all night in the mountains."])
    query = MINILM.encode(["Who gave me the necklace?"])[0]
    assert int(np.argmax(passages @ query)) == 1


def test_a_vector_does_not_depend_on_the_batch() -> None:
    texts = [LOCKET, "yes", "!" * 300, "달빛 아래에서 만나요.", "x", BREAD * 9, "", NECKLACE] * 5
    alone = np.array([MINILM.embed_query(text) for text in texts])
    np.testing.assert_allclose(MINILM.encode(texts), alone, atol=1e-5)
    np.testing.assert_allclose(MINILM.encode(texts[::-1]), alone[::-1], atol=1e-5)


def test_long_texts_run_few_at_once() -> None:
    lengths = [256, 2, 30, 256, 256, 64, *[3] * 20, 100]
    batches = _batches(lengths)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= BATCH
        assert len(batch) * max(lengths[row] for row in batch) <= BATCH_TOKENS
    assert [len(batch) for batch in _batches([4 * BATCH_TOKENS] * 2)] == [1, 1]
    assert _batches([]) == []


def test_threads_share_one_object() -> None:
    fresh = OnnxEmbeddings()  # the threads also race to load it
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fresh.encode, [[LOCKET, BREAD] * 10] * 16))
    for vectors in found:
        np.testing.assert_array_equal(vectors, found[0])


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(any_text, max_size=4))
def test_any_text_has_a_unit_vector(texts: list[str]) -> None:
    vectors = MINILM.encode(texts)
    assert vectors.shape == (len(texts), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("text", ["", " \n\t", "🌙" * 50, "\ud83d", "a\x00b", "[PAD] [MASK]"])
def test_odd_texts_work(text: str) -> None:
    assert np.linalg.norm(MINILM.embed_query(text)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["word " * 20_000, "a" * 100_000, "안" * 100_000, " " * 100_000])
def test_a_very_long_text_is_cut_not_slow(text: str) -> None:
    MINILM.embed_query("loaded")
    start = time.process_time()
    assert len(MINILM.embed_query(text)) == 384
    assert time.process_time() - start < 1


def test_only_the_first_256_tokens_count() -> None:
    words = "the cat sat on the mat " * 50
    np.testing.assert_array_equal(MINILM.embed_query(words), MINILM.embed_query(words + LOCKET))
    shorter = words[:500]
    assert not np.allclose(MINILM.embed_query(shorter), MINILM.embed_query(shorter + LOCKET))


def test_documents_and_queries_are_lists_of_floats() -> None:
    (vector,) = MINILM.embed_documents([LOCKET])
    assert vector == MINILM.embed_query(LOCKET)
    assert len(vector) == MINILM.dimension
    assert type(vector[0]) is float
    assert MINILM.embed_documents([]) == []


def test_the_fingerprint_and_the_readme_name_the_file() -> None:
    digest = hashlib.sha256((FOLDER / "model.onnx").read_bytes()).hexdigest()
    assert MINILM.fingerprint == f"all-MiniLM-L6-v2/int8/{digest[:12]}"
    stated = re.findall(r"[0-9a-f]{64}", (FOLDER / "README.md").read_text(encoding="utf-8"))
    tokenizer = hashlib.sha256((FOLDER / "tokenizer.json").read_bytes()).hexdigest()
    assert {digest, tokenizer} <= set(stated)


def test_a_missing_file_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"model\.onnx cannot be read.*export_embedder"):
        _ = OnnxEmbeddings(folder=tmp_path).fingerprint


def test_importing_the_package_loads_no_runtime() -> None:
    heavy = "{'onnxruntime', 'tokenizers', 'langchain_huggingface', 'torch'}"
    code = f"import sys, embedding; embedding.minilm(); print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=FOLDER.parents[1],
    )
    assert done.stdout.strip() == "set()"
