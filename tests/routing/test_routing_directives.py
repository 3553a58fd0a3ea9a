"""Directives: every documented form in both languages, and ordinary text that is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import parse_directive

NARRATOR = [
    ("/narrate", ""),
    ("/narrate the storm breaks", "the storm breaks"),
    ("  /NARRATOR what now?", "what now?"),
    ("/nar it rains", "it rains"),
    ("/scene A dark hall.", "A dark hall."),
    ("/sys The door falls shut.", "The door falls shut."),
    ("(narrate)", ""),
    ("[narration: dawn comes]", "dawn comes"),
    ("Narrator: describe the room", "describe the room"),
    ("/서술 비가 온다", "비가 온다"),
    ("／서술 비가 온다", "비가 온다"),
    ("/나레이션", ""),
    ("/내레이터 다음 장면", "다음 장면"),
    ("/해설 마을의 역사", "마을의 역사"),
    ("(서술)", ""),
    ("(서술) 문을 연다", "문을 연다"),
    ("문을 연다 (서술)", "문을 연다"),
    ("[해설: 아침이 밝는다]", "아침이 밝는다"),
    ("【지문】 바람이 분다", "바람이 분다"),
    ("（서술）밤이 된다", "밤이 된다"),
    ("서술: 밤이 된다", "밤이 된다"),
    ("내레이터：밤이 된다", "밤이 된다"),
    ("/as narrator go on", "go on"),
    ("/역할 내레이터 계속", "계속"),
    ("[OOC: please describe the weather]", ""),
    ("((can we skip to the morning?))", ""),
    ("(OOC: shorter replies, please)", ""),
    ("OOC: what were the rules again", ""),
    ("[잡담: 오늘은 여기까지]", ""),
    ("(캐릭터 밖: 장면을 바꿔 주세요)", ""),
]


@pytest.mark.parametrize(("written", "rest"), NARRATOR)
def test_calls_the_narrator(written: str, rest: str) -> None:
    directive = parse_directive(written)
    assert directive is not None
    assert (directive.speaker, directive.message) == ("narrator", rest)


@pytest.mark.parametrize(
    ("written", "name", "rest"),
    [
        ("/as Mira hello there", "Mira", "hello there"),
        ("/as mira: hello", "Mira", "hello"),
        ("/as Old Tom good evening", "Old Tom", "good evening"),
        ('/as "Captain Ives" aye', "Captain Ives", "aye"),
        ("/as Stranger who goes there?", "Stranger", "who goes there?"),
        ("/as Mira", "Mira", ""),
        ("/역할 세라피나 안녕", "세라피나", "안녕"),
        ("/대사 유나: 어디 가?", "유나", "어디 가?"),
    ],
)
def test_calls_somebody_by_name(written: str, name: str, rest: str) -> None:
    directive = parse_directive(written, ["Mira", "Old Tom", "Old", "세라피나"])
    assert directive is not None
    assert (directive.speaker, directive.message) == ("character", rest)
    assert directive.next_speaker is not None
    assert directive.next_speaker.lower() == name.lower()


@pytest.mark.parametrize("written", ["/char hi", "/character hi", "/캐릭터 hi", "(대사) hi"])
def test_calls_the_character(written: str) -> None:
    directive = parse_directive(written)
    assert directive is not None
    assert (directive.speaker, directive.message) == ("character", "hi")


@pytest.mark.parametrize(
    ("written", "form"),
    [
        *((text, "slash") for text in ("/narrate", "/서술 비", "/char hi", "/캐릭터 안녕")),
        *((text, "tag") for text in ("(narrate)", "비 (서술)", "(대사) hi", "[dialogue] hi")),
        *((text, "prefix") for text in ("Narrator: rain", "서술: 비")),
        *((text, "as") for text in ("/as Mira hi", "/역할 내레이터 비")),
        *((text, "ooc") for text in ("((later))", "OOC: later", "[잡담: 나중에]")),
    ],
)
def test_the_form_that_is_told_is_the_one_that_was_written(written: str, form: str) -> None:
    directive = parse_directive(written)
    assert directive is not None and directive.form == form


def test_a_note_beside_speech_is_set_apart_and_does_not_decide() -> None:
    directive = parse_directive("Hi Mira! (OOC: keep it short)")
    assert directive is not None
    assert (directive.speaker, directive.message, directive.note) == (
        None,
        "Hi Mira!",
        "keep it short",
    )


def test_a_note_beside_speech_that_asks_for_narration_decides() -> None:
    directive = parse_directive("Hi Mira! (OOC: describe the room)")
    assert directive is not None
    assert (directive.speaker, directive.message) == ("narrator", "Hi Mira!")


def test_a_known_name_ends_where_the_word_does() -> None:
    directive = parse_directive("/as Old Tomas hi", ["Old Tom"])
    assert directive is not None
    assert (directive.next_speaker, directive.message) == ("Old", "Tomas hi")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello.",
        "/",
        "/narrow alley",
        "/assist me",
        "/as",
        "and/or",
        "(laughs)",
        "*I wave*",
        "서술형 문제",
        "(웃음)",
        "The scene: dark",
    ],
)
def test_ordinary_text_is_no_directive(text: str) -> None:
    assert parse_directive(text) is None


@given(st.text(max_size=200), st.lists(st.text(max_size=10), max_size=4))
def test_any_text_parses_and_keeps_only_its_own_words(text: str, names: list[str]) -> None:
    directive = parse_directive(text, names)
    if directive is not None:
        assert len(directive.message) <= 2 * len(text) + 8
        assert directive.form


@given(st.text(alphabet=st.characters(categories=["L", "N", "Zs"]), max_size=60))
def test_what_follows_narrate_is_the_message(rest: str) -> None:
    directive = parse_directive(f"/narrate {rest}")
    assert directive is not None
    assert directive.speaker == "narrator"


def documented() -> list[tuple[str, str]]:
    """Form and speaker of every row of the table in docs/routing.md."""
    text = (Path(__file__).parents[2] / "docs/routing.md").read_text(encoding="utf-8")
    section = text.split("## Directives")[1].split("\n## ")[0]
    rows, who = [], ""
    for line in section.splitlines():
        if line.startswith("|") and "`" in line:
            who = line.split("|")[1].strip() or who
            rows += [(form, who) for form in re.findall("`([^`]+)`", line)]
    return rows


@pytest.mark.parametrize(("form", "who"), documented())
def test_every_documented_form_is_understood(form: str, who: str) -> None:
    found = parse_directive(form.replace("NAME", "하늘").replace("…", "비가 온다"))
    assert found is not None
    assert found.speaker == ("character" if who in ("the character", "NAME") else "narrator")
    assert found.next_speaker == ("하늘" if who == "NAME" else None)
    assert (found.note or found.message) == ("비가 온다" if "…" in form else "")
