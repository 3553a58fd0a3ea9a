"""Words of one syllable: the noun, not a counter and not a part of another word."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from retrieval.text import mentions
from tests.support import takes_linear_time

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


LONG = {
    "개": ("개들에게만은", "개개 ", "두 개 ", "십", "개 웃겨 ", "개앞에만은"),
    "약": ("약 십십십십십 ", "약 두 ", "약 ", "약속에"),
}


@pytest.mark.parametrize(("key", "unit"), [(key, unit) for key in LONG for unit in LONG[key]])
def test_a_long_text_takes_linear_time(key: str, unit: str) -> None:
    assert takes_linear_time(lambda size: mentions(unit * (size // len(unit)) + f" {key}", key))
