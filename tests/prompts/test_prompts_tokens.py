"""Counting: the estimate against real tokenizers, a tokenizer's own file, and the memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from prompts.formats import FORMATS, Turn
from prompts.tokens import FAMILIES, estimate, estimator, remembered, tokenizer_count
from schemas.errors import SettingsError

TEXTS = Path(__file__).parent / "texts"

# Tokens that the tokenizers of Qwen2, Llama 3, Mistral-Nemo (tekken) and the first Mistral (the
# size and make of Llama 2's) give for the texts beside this file.
COUNTED = {
    "en_chat": {"qwen": 165, "llama3": 163, "tekken": 171, "llama2": 184},
    "en_prose": {"qwen": 189, "llama3": 189, "tekken": 192, "llama2": 205},
    "en_scene": {"qwen": 174, "llama3": 174, "tekken": 175, "llama2": 194},
    "ja_chat": {"qwen": 180, "llama3": 187, "tekken": 189, "llama2": 288},
    "ja_prose": {"qwen": 236, "llama3": 247, "tekken": 256, "llama2": 389},
    "ja_scene": {"qwen": 189, "llama3": 198, "tekken": 197, "llama2": 322},
    "ko_chat": {"qwen": 222, "llama3": 195, "tekken": 186, "llama2": 367},
    "ko_prose": {"qwen": 283, "llama3": 247, "tekken": 211, "llama2": 486},
    "ko_scene": {"qwen": 223, "llama3": 198, "tekken": 164, "llama2": 355},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", COUNTED)
def test_estimate_is_near_the_tokenizer(text: str, family: str) -> None:
    real = COUNTED[text][family]
    guess = estimator(family)((TEXTS / f"{text}.txt").read_text(encoding="utf-8"))
    assert 0.97 * real <= guess <= 1.15 * real


@pytest.mark.parametrize("text", COUNTED)
def test_the_default_is_never_too_low(text: str) -> None:
    """For any modern tokenizer; with Korean it may be too high."""
    guess = estimate((TEXTS / f"{text}.txt").read_text(encoding="utf-8"))
    assert all(guess >= 0.97 * COUNTED[text][name] for name in ("qwen", "llama3", "tekken"))


@pytest.mark.parametrize(
    ("text", "most"), [("", 0), (" ", 0), ("a", 2), ("<|im_start|>", 1), ("[/INST]</s>", 2)]
)
def test_short_texts(text: str, most: int) -> None:
    assert 0 <= estimate(text) <= most


@pytest.mark.parametrize("text", ["Привет, как дела?", "สวัสดี", "😭🎉", "你好，世界", "été déjà"])
def test_other_scripts_are_counted(text: str) -> None:
    assert len(text) / 3 <= estimate(text) <= 2 * len(text.encode())


def test_markup_costs_as_much_as_its_special_tokens() -> None:
    form = FORMATS["chatml"]
    bare, marked = "Min: Hi.", form.turn(Turn("user", "Min: Hi."))
    assert estimate(marked) - estimate(bare) <= 6


def test_tokenizer_file(tmp_path: Path, subwords: Tokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    subwords.enable_truncation(5)
    subwords.save(str(path))
    subwords.no_truncation()
    text = "세라는 등대의 불을 켰다. " * 20
    assert tokenizer_count(path)(text) == len(subwords.encode(text).ids) > 5


def test_a_wrong_tokenizer_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    for path in (tmp_path / "tokenizer.json", tmp_path / "none.json"):
        with pytest.raises(SettingsError, match=f"{path.name} cannot be read") as refusal:
            tokenizer_count(path)
        assert str(tmp_path) not in refusal.value.message


def test_an_unknown_family_names_the_known() -> None:
    with pytest.raises(SettingsError, match="qwen, tekken"):
        estimator("gpt")


def test_a_known_text_is_not_counted_again() -> None:
    asked: list[str] = []

    def slow(text: str) -> int:
        asked.append(text)
        return len(text)

    count = remembered(slow)
    assert [count("a" * 3), count("aaa"), count("b")] == [3, 3, 1]
    assert asked == ["aaa", "b"]
