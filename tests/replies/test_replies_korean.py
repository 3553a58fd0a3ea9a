"""Korean as role-play models write it: endings, stage directions, status windows, tags and acts."""

from __future__ import annotations

import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replies.edges import trim
from replies.reply import StreamReader
from replies.response import _reading
from replies.status import settled_windows, windows
from schemas.response import FinishReason, ParsedReply
from schemas.state import Generation
from tests.replies.reading import cast_of, parse_reply
from tests.support import takes_linear_time


def cases(name: str) -> dict[str, Any]:
    """A file of cases beside this one."""
    return tomllib.loads(Path(__file__).with_name(f"korean_{name}.toml").read_text("utf-8"))


ENDINGS, PIECES, STATUS = cases("endings"), cases("pieces"), cases("status")
TAGS, ACTS = cases("tags"), cases("acts")
WHOLE = "그는 문을 열었다."


def read(
    raw: str, reason: FinishReason = "stop", user: str | tuple[str, ...] = "남궁민수"
) -> ParsedReply:
    return parse_reply(
        raw,
        speaker="character",
        persona_names=("하린",),
        user_name=user,
        others=("정지우",),
        finish_reason=reason,
    )


@pytest.mark.parametrize("ending", ENDINGS["complete"])
def test_a_whole_ending_stays_at_the_limit(ending: str) -> None:
    assert read(f"{WHOLE} {ending}", "length").text == f"{WHOLE} {ending}"


@pytest.mark.parametrize("ending", ENDINGS["open"])
def test_a_broken_off_ending_goes_at_the_limit(ending: str) -> None:
    assert read(f"{WHOLE} {ending}", "length").text == WHOLE
    assert read(f"{WHOLE} {ending}").text == f"{WHOLE} {ending}"


def test_the_half_of_a_syllable_goes_even_from_the_only_sentence() -> None:
    assert read("밖으로 뛰었\ufffd", "length").text == "밖으로 뛰었"
    assert read("밖으로 뛰었다. \ufffd\ufffd").text == "밖으로 뛰었다."
    assert read("\ufffd").regenerate


@pytest.mark.parametrize(
    ("kind", "mark"), [(k, m) for k in ("action", "thought", "dialogue") for m in PIECES[k]]
)
def test_marks_have_their_type(kind: str, mark: str) -> None:
    first = read(f"{mark}\n여기야.").contents[0]
    assert (first.type, first.text.strip()) == (kind, mark)


@pytest.mark.parametrize("text", PIECES["bare"])
def test_what_is_no_mark_stays_speech(text: str) -> None:
    assert [piece.type for piece in read(text).contents] == ["dialogue"]


@pytest.mark.parametrize("case", STATUS["window"], ids=lambda case: case["text"][:12])
def test_a_status_window_is_a_piece_of_its_own(case: dict[str, Any]) -> None:
    window, pairs = case["text"], tuple(map(tuple, case["pairs"]))
    for raw in (f"어서 와.\n\n{window}", f"{window}\n\n어서 와.", f"어서 와.\n{window}"):
        reply = read(raw)
        assert (reply.text, reply.cuts, reply.status) == (raw, (), pairs)
        found = [piece for piece in reply.contents if piece.type == "status"]
        assert [(piece.text.strip(), piece.speaker) for piece in found] == [(window, "narrator")]
    at_limit = read(f"어서 와.\n\n{window}", "length").text
    assert at_limit == (f"어서 와.\n\n{window}" if case["closed"] else "어서 와.")


@pytest.mark.parametrize("case", STATUS["window"], ids=lambda case: case["text"][:12])
def test_an_unfinished_window_is_dropped_whole(case: dict[str, Any]) -> None:
    for end in range(len(case["text"]) // 2, len(case["text"]) - 2):
        if case["text"][:end].endswith(tuple(case.get("ends", ""))):
            continue
        left = read(f"어서 와.\n\n{case['text'][:end]}", "length").text
        assert left == "어서 와.", case["text"][:end]


@pytest.mark.parametrize("torn", STATUS["torn"]["texts"])
def test_what_is_torn_of_a_window_goes_with_its_marks(torn: str) -> None:
    assert read(f"어서 와.\n\n{torn}", "length").text == "어서 와."


def test_a_finished_window_stays_before_an_open_fence() -> None:
    assert read("응.\n\n[신뢰: 15]\n\n```\n하린", "length").text == "응.\n\n[신뢰: 15]"


@pytest.mark.parametrize("text", STATUS["none"]["texts"])
def test_a_colon_alone_is_no_window(text: str) -> None:
    assert windows(text) == []
    assert windows(f"어서 와.\n\n{text}\n\n가자.") == []
    assert not read(text).status


def test_the_response_tells_the_pairs_and_nothing_where_there_are_none() -> None:
    generation = Generation(text="", finish_reason="stop")
    told = _reading(read("응.\n[체력: 3/10 | 장소: 숲]"), generation)
    assert told["status"] == [["체력", "3/10"], ["장소", "숲"]]
    assert "status" not in _reading(read("응."), generation)


@pytest.mark.parametrize("tag", TAGS["user"])
def test_cuts_at_the_users_tag_with_or_without_a_colon(tag: str) -> None:
    for form in ("NFC", "NFD"):
        reply = read(f"어서 와.\n{unicodedata.normalize(form, tag)}")
        assert (reply.text, reply.cuts) == ("어서 와.", ("user_tag",))


@pytest.mark.parametrize("tag", TAGS["other"])
def test_cuts_at_the_short_forms_of_others(tag: str) -> None:
    reply = read(f"어서 와.\n{tag}")
    assert (reply.text, reply.next_speaker) == ("어서 와.", "정지우")


@pytest.mark.parametrize("tag", TAGS["own"])
def test_drops_own_tags_without_a_colon(tag: str) -> None:
    assert (read(tag).text, read(tag).cuts) == ("앉아.", ("own_tag",))


@pytest.mark.parametrize("text", TAGS["kept"])
def test_a_name_that_is_no_tag_stays(text: str) -> None:
    assert (read(f"어서 와.\n{text}").text, read(text).cuts) == (f"어서 와.\n{text}", ())


@pytest.mark.parametrize("text", TAGS["cut_in_windows"])
def test_speech_in_a_window_is_the_users_all_the_same(text: str) -> None:
    assert (read(f"어서 와.\n{text}").text, read(f"어서 와.\n{text}").cuts[0]) == (
        "어서 와.",
        "user_tag",
    )


@pytest.mark.parametrize("name", ["Kim Minsu", "Minsu Kim", "Kim Min-su"])
@pytest.mark.parametrize("tag", TAGS["romanised"])
def test_romanised_names_have_short_forms(name: str, tag: str) -> None:
    if name == "Minsu Kim" and tag.startswith("Kim"):
        return
    assert read(f"어서 와.\n{tag}", user=name).text == "어서 와."


@pytest.mark.parametrize("told", ACTS["acts"])
def test_reports_korean_acts_of_the_user(told: str) -> None:
    assert read(f"“왔네.” {told}").speaks_for_user


@pytest.mark.parametrize("told", ACTS["none"])
def test_what_the_user_suffers_or_sees_is_the_narrators_to_tell(told: str) -> None:
    assert not read(f"“왔네.” {told}").speaks_for_user


PARTS = (
    *(
        "호감도: 30",
        "[체력: 3 | 장소: 숲]",
        "[체력: ",
        " | ",
        "]",
        "【상태창】",
        "```",
        "|",
        "|---|---|",
    ),
    *(
        "- 민수: 30",
        "민수",
        "하린: ",
        "\n",
        "\n\n",
        "---",
        "어서 와. ",
        "“응.” ",
        "네",
        " ",
        "📍 ",
        "📍 장소 숲\n",
        "┌──┐\n",
        "│ 체력: 3 │\n",
        "[/INFO]\n",
        "[장소] 숲\n",
        "〔체력: 3〕",
        "《4월 2일 | 숲》",
        "a: b",
        "💬",
    ),
)
texts = st.lists(st.sampled_from(PARTS), max_size=24).map("".join)


@settings(deadline=None)
@given(texts)
def test_windows_lie_in_the_text_one_behind_the_other(text: str) -> None:
    at = 0
    for window in windows(text):
        assert at <= window.start < window.end <= len(text)
        at = window.end
    assert trim(text) == text or text.startswith(trim(text))


@settings(deadline=None)
@given(texts, st.lists(st.integers(1, 40), max_size=12))
def test_what_is_settled_in_a_growing_text_stays(text: str, sizes: list[int]) -> None:
    found, size, again = [], 0, 0
    for more in sizes:
        size = min(size + more, len(text))
        settled = settled_windows(text[:size], again)
        found += settled.windows
        again = settled.again
    assert found == windows(text)[: len(found)]


@settings(deadline=None)
@given(texts, st.lists(st.integers(1, 9), max_size=20))
def test_a_stream_with_windows_gives_the_same(text: str, sizes: list[int]) -> None:
    reader = StreamReader(cast_of("character", ("하린",), "남궁민수"))
    events, at = [], 0
    for size in [*sizes, len(text)]:
        events += reader.feed(text[at : at + size])
        at += size
    rest, result = reader.finish()
    if not result.regenerate:
        assert "".join(e for e in [*events, *rest] if isinstance(e, str)) == result.text
        assert [e for e in [*events, *rest] if not isinstance(e, str)] == result.contents


@pytest.mark.parametrize("text", STATUS["streams"]["texts"])
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_stream_keeps_the_pieces_that_it_told(text: str, reason: FinishReason) -> None:
    for size in range(1, 9):
        reader = StreamReader(cast_of("character", ("하린",), "남궁민수"))
        events = [e for at in range(0, len(text), size) for e in reader.feed(text[at : at + size])]
        rest, result = reader.finish(reason)
        assert [e for e in [*events, *rest] if not isinstance(e, str)] == result.contents


@pytest.mark.parametrize(
    "unit",
    [
        *("[호감도: 1 | ", "```\n", "a: 1\n", "- 민수: 30\n", "|a|b|\n", "【상태창】\n", "---\n"),
        *("[\n", "[민수]\n", "ㅡ가", "(가다", "<가", "민수는 가며 ", "HP: 1, ", "인벤토리:\n"),
        *("〔체력: 1〕", "📍 가\n", "│가\n", "├──┤\n", "<가며> ", "**가다** ", "민수\n가\n"),
        *(
            "민수가 가자 ",
            "민수(가) ",
            "💗 | ",
            "민수 → 가",
            "민수는 공포를 ",
            "가, 가님",
            "[장소] 가\n",
        ),
        *("```\n가\n", "민수 | 네\n", "하린: 가\n", "a: 가나\n"),
    ],
)
def test_100_kb_of_anything_take_no_time(unit: str) -> None:
    assert takes_linear_time(lambda size: read(f"하린: {unit * (size // len(unit))}", "length"))
