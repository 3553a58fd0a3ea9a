"""Counting: the estimate against real tokenizers, a tokenizer's own file, and the memory."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from prompts import tokens
from prompts.tokens import FAMILIES, estimate, estimator, remembered, tokenizer_count
from schemas.errors import SettingsError
from schemas.formats import FORMATS, PromptTurn

TEXTS = Path(__file__).parent / "texts"

# Tokens that the tokenizers of Qwen 3 (that of Qwen 2.5), Llama 3.1, Mistral-Nemo (tekken),
# Gemma 3 (that of Gemma 4), Gemma 2, Llama 2 (that of the first Mistral) and GPT-2 give for the
# texts beside this file.
KINDS = ("qwen", "llama3", "tekken", "gemma", "gemma2", "llama2", "gpt2")
COUNTED = {
    text: dict(zip(KINDS, tokens, strict=True))
    for text, tokens in {
        "en_chat": (165, 163, 171, 172, 171, 184, 163),
        "en_prose": (189, 189, 192, 188, 188, 205, 192),
        "en_scene": (174, 174, 175, 176, 177, 194, 176),
        "ja_chat": (180, 187, 189, 154, 139, 288, 380),
        "ja_prose": (236, 247, 256, 214, 200, 389, 467),
        "ja_scene": (189, 198, 197, 172, 156, 322, 376),
        "ko_chat": (222, 195, 186, 182, 217, 367, 570),
        "ko_prose": (283, 247, 211, 233, 280, 486, 817),
        "ko_scene": (223, 198, 164, 183, 218, 355, 570),
    }.items()
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
    assert all(guess >= 0.97 * COUNTED[text][name] for name in KINDS[:-2])


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
    bare, marked = "Min: Hi.", form.turn(PromptTurn("user", "Min: Hi."))
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


def test_what_is_remembered_of_a_text_is_its_count_alone() -> None:
    """A chat that is forgotten leaves no words in the counters, and long texts take no room."""
    count = remembered(len)
    count("안녕, 내 비밀은 이거야." * 1000)
    gc.collect()
    held = gc.get_referents(*gc.get_referents(count))
    assert not [found for found in held if isinstance(found, str) and "비밀" in found]


def test_a_full_counter_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "KNOWN", 2)
    asked: list[str] = []

    def slow(text: str) -> int:
        asked.append(text)
        return len(text)

    count = remembered(slow)
    assert [count(text) for text in ("a", "bb", "a", "ccc", "a")] == [1, 2, 1, 3, 1]
    assert asked == ["a", "bb", "ccc", "a"]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_line_end_behind_a_special_token_counts(family: str) -> None:
    turns = "<|im_start|>user\nYes.<|im_end|>\n" * 20
    count = estimator(family)
    assert count(turns) >= count(turns.replace("<|im_end|>\n", "<|im_end|>")) + 20
