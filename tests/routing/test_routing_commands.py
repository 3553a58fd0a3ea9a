"""Commands and notes out of character, as Korean players type them."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.settings import ROOT
from routing import Line, RouterInput, decide, parse_directive, reading
from routing.commands import LONGEST, command_in

MESSAGES: dict[str, list[str]] = tomllib.loads(
    (Path(__file__).parent / "commands.toml").read_text(encoding="utf-8")
)
TABLE = tomllib.loads((ROOT / "routing/commands.toml").read_text(encoding="utf-8"))
TALK, MARKED, UNMARKED, NOTED, NOT_NOTED = map(
    MESSAGES.pop, ("none", "marked", "unmarked", "noted", "not_noted")
)
STORY_MOVES = ("go_on", "style", "skip", "time", "place", "scene")
PAIRS = [(kind, text) for kind, texts in MESSAGES.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), PAIRS)
def test_a_command_is_understood(kind: str, text: str) -> None:
    command, directive = command_in(text), parse_directive(text)
    assert directive is not None and directive.speaker == "narrator"
    if not text.startswith("/다음"):  # a directive, whatever stands behind it
        assert command is not None
        assert (command.kind, command.moves) == (kind, kind in STORY_MOVES)
        assert (directive.moves, directive.shows) == (command.moves, not command.moves)


@pytest.mark.parametrize("text", TALK)
def test_talk_that_looks_like_a_command_is_talk(text: str) -> None:
    assert command_in(text) is None
    assert parse_directive(text) is None


def documented() -> Iterator[tuple[str, str]]:
    """What is asked for and each example, in docs/routing.md."""
    text = (ROOT / "docs/routing.md").read_text(encoding="utf-8")
    for line in text.split("## Commands")[1].split("\n## ")[0].splitlines():
        if line.startswith("|") and "`" in line:
            about = line.split("|")[1].strip()
            yield from ((about, example) for example in re.findall("`([^`]+)`", line))


def test_every_kind_is_documented_and_every_documented_example_is_of_its_kind() -> None:
    kinds = {row["about"]: kind for kind, row in TABLE.items() if kind != "slots"}
    assert {about for about, _ in documented()} == set(kinds)
    for about, example in documented():
        command = command_in(example)
        assert command is not None and command.kind == kinds[about], example


def test_a_command_calls_the_narrator_in_a_chat_that_nobody_narrates() -> None:
    said = (Line("character", "하늘", "왔어?"), Line("user", "지안", "응."))
    decision = decide(RouterInput("상태창 보여줘", said, character="하늘", user_name="지안"))
    assert (decision.speaker, decision.confidence) == ("narrator", 1.0)
    assert "command" in decision.reason


@given(st.text(max_size=LONGEST))
def test_any_text_is_read(text: str) -> None:
    command_in(text)


@given(st.text(alphabet="다음계속이어진행해줘써보여시점으로가 ,일후뒤3", max_size=LONGEST))
def test_any_mix_of_their_words_is_read_in_time(text: str) -> None:
    start = time.perf_counter()
    command_in(text)
    assert time.perf_counter() - start < 0.05


@pytest.mark.parametrize(
    ("written", "rest", "note"),
    [
        ("(OOC) 존댓말로 바꿔줘", "", "존댓말로 바꿔줘"),
        ("[ooc] 답이 너무 길어요", "", "답이 너무 길어요"),
        ("ooc) 반말로 해 줘", "", "반말로 해 줘"),
        ("/ooc 더 길게 써 줘", "", "더 길게 써 줘"),
        ("// 어제 하던 데서 시작해요", "", "어제 하던 데서 시작해요"),
        ("OOC: 잠깐 쉬어요", "", "잠깐 쉬어요"),
        ("(괄호 밖: 오늘은 여기까지)", "", "오늘은 여기까지"),
        ("*유저 노트: 고양이 알레르기가 있음*", "", "고양이 알레르기가 있음"),
        ("[유저노트: 왼손잡이]", "", "왼손잡이"),
        ("/OOC keep it short", "", "keep it short"),
        ("여기 앉아도 돼요?\n// 천천히 가요", "여기 앉아도 돼요?", "천천히 가요"),
        ("추워요. (OOC: 묘사를 길게)", "추워요.", "묘사를 길게"),
        ("추워요. (OOC: 이 이야기 재밌다)", "추워요.", "이 이야기 재밌다"),
        ("[[말투가 달라졌어요]]", "", "말투가 달라졌어요"),
        ("OOC. 캐릭터가 이상해요", "", "캐릭터가 이상해요"),
        ("※ 호칭은 그대로", "", "호칭은 그대로"),
        ("귀엽다 ooc: 이모티콘은 빼 주세요", "귀엽다", "이모티콘은 빼 주세요"),
        ("정말요? // 대사를 늘려 줘", "정말요?", "대사를 늘려 줘"),
    ],
)
def test_a_note_out_of_character_is_set_apart(written: str, rest: str, note: str) -> None:
    directive = parse_directive(written)
    assert directive is not None
    assert (directive.message, directive.note) == (rest, note)
    assert directive.speaker == (None if rest else "narrator")
    assert not directive.moves


def test_a_note_beside_speech_that_asks_for_what_comes_next_calls_the_narrator() -> None:
    directive = parse_directive("잘 자요. (OOC: 다음 날 아침으로 넘어가 줘)")
    assert directive is not None
    assert (directive.speaker, directive.moves) == ("narrator", True)


@pytest.mark.parametrize(
    "text", ["https://example.org/a", "see a//b", "잡담 좀 하자", "메타 얘기야"]
)
def test_a_note_begins_where_one_is_marked(text: str) -> None:
    assert parse_directive(text) is None


@pytest.mark.parametrize("text", MARKED)
def test_a_stage_direction_is_an_action(text: str) -> None:
    assert reading.is_only_action(text)


@pytest.mark.parametrize("text", UNMARKED)
def test_dashes_in_talk_are_no_stage_direction(text: str) -> None:
    assert not reading.is_only_action(text)


@pytest.mark.parametrize("text", NOTED)
def test_a_deed_may_be_noted_in_a_noun(text: str) -> None:
    assert reading.is_prose(text)


@pytest.mark.parametrize("text", NOT_NOTED)
def test_a_noun_or_a_chatted_word_is_no_deed(text: str) -> None:
    assert not reading.is_prose(text)


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("10분 뒤에 나갈게요", True),
        ("일주일 뒤에 돌려줄게", True),
        ("며칠 뒤면 방학이네", True),
        ("며칠 뒤에 도착했다.", False),
        ("다녀올게요", False),
    ],
)
def test_what_is_said_of_later_moves_nothing_now(text: str, later: bool) -> None:
    assert reading.is_put_off(text) is later


def test_a_time_is_an_answer_to_a_character_who_has_just_asked() -> None:
    asked = (Line("user", "지안", "또 올게요."), Line("character", "하늘", "언제 오는데?"))
    told = (Line("user", "지안", "또 올게요."), Line("character", "하늘", "그래, 조심히 가."))
    for history, orders in ((asked, False), (told, True)):
        decision = decide(RouterInput("잠시 후", history, character="하늘", user_name="지안"))
        assert (decision.directive is not None) is orders
    assert decide(RouterInput("(잠시 후)", asked, character="하늘")).directive is not None
