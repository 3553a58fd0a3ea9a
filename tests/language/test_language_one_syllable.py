"""Words of one syllable: the noun, not a counter and not a part of another word."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from retrieval.text import mentions

TEXTS = tomllib.loads(Path(__file__).with_name("one_syllable.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("word", TEXTS)
def test_the_noun_is_found_and_nothing_else(word: str) -> None:
    found = {text: mentions(text, word) for kind in ("is", "not") for text in TEXTS[word][kind]}
    assert found == dict.fromkeys(TEXTS[word]["is"], True) | dict.fromkeys(
        TEXTS[word]["not"], False
    )


@pytest.mark.parametrize("text", ["강아지ㅋㅋ", "강아지다ㅠㅠ", "저 강아지ㅎㅎ 봐"])
def test_laughter_is_no_part_of_a_word(text: str) -> None:
    assert mentions(text, "강아지") and not mentions(text, "강")


def test_a_long_text_takes_no_time() -> None:
    """In processor time, of 100 KB."""
    started = time.process_time()
    for text in (
        "개들에게만은" * 16_000,
        "개개 " * 30_000,
        "두 개 " * 25_000,
        "십" * 100_000 + " 개",
        "개 웃겨 " * 20_000,
        "개앞에만은" * 20_000,
    ):
        mentions(text, "개")
    for text in ("약 십십십십십 " * 14_000, "약 두 " * 25_000, "약 " * 50_000, "약속에" * 33_000):
        mentions(text, "약")
    assert time.process_time() - started < 1
