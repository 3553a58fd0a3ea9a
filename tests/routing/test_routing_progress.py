"""Story progress over plain numbers: order, pacing, hysteresis, and talk that moves nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import Beat, Line, Scene, advance
from routing.progress import LEAN, REACH, only_talk

BEATS = [
    Beat("door", 10, "the old door is opened", ["Mira"], "The cellar", ["door"]),
    Beat("rumour", 15),
    Beat("letter", 20, "Mira finds the letter", ["Mira"], "The cellar", ["letter"]),
    Beat("bell", 30, "종이 울린다", ["유나"], "종탑", ["종"]),
]
OPENS = Scene("*I open the old door of the cellar.*", present=["Mira"])


def test_the_next_event_is_reached_and_no_other() -> None:
    progress = advance(BEATS, 0, OPENS, 0.7)
    assert (progress.position_before, progress.position_after, progress.event_id) == (0, 10, "door")
    assert "reached" in progress.why


def test_a_later_event_does_not_overtake() -> None:
    finds = Scene("*I see that Mira finds the letter in the cellar.*", present=["Mira"])
    assert advance(BEATS, 0, finds, 0.2).event_id is None
    assert advance(BEATS, 10, finds, 0.8).event_id == "letter"


def test_events_without_a_trigger_are_passed_on_the_way() -> None:
    progress = advance(BEATS, 10, Scene("Mira finds the letter.", present=["Mira"]), 0.8)
    assert (progress.position_after, progress.passed) == (20, ("rumour",))


def test_talking_about_it_is_not_doing_it() -> None:
    asked = Scene("What if we opened the old door some day?", present=["Mira"])
    assert advance(BEATS, 0, asked, 0.5).event_id is None


def test_pacing_holds_the_next_event_back_unless_asked() -> None:
    finds = Scene("Mira finds the letter.", present=["Mira"])
    assert advance(BEATS, 10, finds, 0.8, turns_since=0).event_id is None
    assert advance(BEATS, 10, finds, 0.8, turns_since=1).event_id == "letter"
    assert advance(BEATS, 10, finds, 0.8, turns_since=0, asked=True).event_id == "letter"


def test_two_leaning_turns_reach_what_one_does_not() -> None:
    scene = Scene("I push at the old door.", present=["Mira"])
    score = advance(BEATS, 0, scene, 0.37).score
    assert LEAN <= score < REACH
    assert advance(BEATS, 0, scene, 0.37).event_id is None
    assert advance(BEATS, 0, scene, 0.37, score_before=score).event_id == "door"


def test_the_reply_may_bring_the_event() -> None:
    silent = Scene("I wait.", present=["Mira"])
    told = Scene(
        "I wait.",
        "With a crack the old door is opened from below. The cellar lies dark.",
        present=["Mira"],
    )
    assert advance(BEATS, 0, silent, 0.2).event_id is None
    assert advance(BEATS, 0, told, 0.7).event_id == "door"


def test_korean_is_heard_without_trusting_an_embedder_that_is_blind_to_it() -> None:
    rings = Scene("*종탑에서 종이 크게 울린다. 유나가 돌아본다.*")
    other = Scene("유나야, 오늘 날씨 좋다.")
    assert advance(BEATS, 20, rings, 0.8, background=0.75).event_id == "bell"
    assert advance(BEATS, 20, other, 0.8, background=0.78).event_id is None


def test_after_the_last_event_nothing_is_awaited() -> None:
    progress = advance(BEATS, 30, OPENS, 1.0)
    assert (progress.event_id, progress.next_id, progress.position_after) == (None, None, 30)


@pytest.mark.parametrize(
    "text", ["Do you remember the door?", "I hope we find it.", "아직 아니야.", "나중에 가자."]
)
def test_only_talk(text: str) -> None:
    assert only_talk(text) > 0


@given(
    st.integers(0, 40), st.text(max_size=80), st.one_of(st.none(), st.floats(-1, 1)),
    st.floats(0, 1), st.one_of(st.none(), st.integers(0, 5)), st.booleans(),
)  # fmt: skip
def test_position_never_goes_back_nor_skips(
    position: int,
    message: str,
    similarity: float | None,
    before: float,
    since: int | None,
    asked: bool,
) -> None:
    scene = Scene(message, history=[Line("user", "Robin", message)])
    progress = advance(
        BEATS, position, scene, similarity, score_before=before, turns_since=since, asked=asked
    )
    waiting = [b.order for b in BEATS if b.order > position and b.trigger]
    assert progress.position_after in {position, *waiting[:1]}
    assert 0 <= progress.distance <= 1
