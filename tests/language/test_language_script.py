"""The script of a chat: stable from turn to turn, whoever writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from language.script import LINES, language_of, script_of

KOREAN, ENGLISH = "등대에 불이 꺼졌어.", "The light of the tower went out, and nobody came to see."


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (KOREAN, "ko"),
        ("ㅋㅋㅋ", "ko"),
        ("Mia, 항구에 가자!", "ko"),
        ("港へ行こう、Mia", "ja"),
        ("我们去港口吧", "ja"),
        (ENGLISH, "en"),
        ("Who is 세라피나 to the lord of Eldmoor?", "en"),
        ("Поедем в порт", "en"),
        ("", "en"),
        ("... 123 !?", "en"),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_few_words_of_the_other_script_change_nothing() -> None:
    assert script_of([ENGLISH] * 20 + ["안녕!"]) == "latin"
    assert script_of([KOREAN] * 20 + ["OK!", "Really?", ENGLISH]) == "cjk"
    assert script_of(["...", "!!", "?", KOREAN]) == "cjk"
    assert script_of([]) == script_of(["...", "♥"]) == "latin"


def test_who_writes_korean_to_an_english_character_is_understood() -> None:
    turns = [line for _ in range(30) for line in ("어디 가?", ENGLISH * 8)]
    assert script_of(turns) == "cjk"
    assert script_of([line for _ in range(30) for line in ("Where?", KOREAN * 8)]) == "cjk"


@pytest.mark.parametrize(
    "lines", [[KOREAN], [ENGLISH], [KOREAN, ENGLISH], [KOREAN] + 2 * [ENGLISH]]
)
def test_a_chat_that_goes_on_as_it_was_keeps_its_script(lines: list[str]) -> None:
    chat = lines * 700
    starts = range(3 * len(lines), len(chat), 37)
    assert len({script_of(chat[:size]) for size in starts}) == 1
    slid = {script_of(chat[start : start + 24]) for start in range(40)}  # a backend's newest lines
    assert slid == {script_of(chat)}


@given(st.lists(st.text(max_size=20), max_size=3 * LINES))
def test_any_chat_has_a_script(lines: list[str]) -> None:
    assert script_of(lines) in ("latin", "cjk")
