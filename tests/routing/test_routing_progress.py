"""Story progress over plain numbers: order, pacing, two turns, catching up; talk moves nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import Beat, advance
from routing.happening import ASKS, SUPPOSED, is_told, split
from routing.likeness import shared_words, trust_in
from routing.progress import OVERTAKEN, REACH, score_parts
from schemas.rag import Likeness

BEATS = [
    Beat("door", 10, "the old door is opened"),
    Beat("rumour", 15),
    Beat("letter", 20, "Mira finds the letter"),
    Beat("bell", 30, "종이 울린다"),
]
DEED = "*I do it.*"


def near(
    words: float = 0.0, cosine: float = 0.1, others: float = 0.1, trust: float = 1.0
) -> Likeness:
    return Likeness(
        trigger=cosine, trigger_others=others, event=cosine, event_others=others,
        words=words, words_others=0.0, trigger_words=0.0, trust=trust,
    )  # fmt: skip


def test_the_next_event_is_reached_and_no_other() -> None:
    progress = advance(BEATS, 0, DEED, near(4))
    assert (progress.position_before, progress.position_after, progress.event_id) == (0, 10, "door")
    assert "reached" in progress.why


def test_events_without_a_trigger_are_passed_on_the_way() -> None:
    progress = advance(BEATS, 10, DEED, near(4))
    assert (progress.position_after, progress.passed) == (20, ("rumour",))


def test_talking_about_it_is_not_doing_it() -> None:
    for talk in ("What if we open the old door?", "Did anyone open the door?", "우리 안 했어."):
        assert advance(BEATS, 0, talk, near(4, cosine=0.6)).event_id is None


def test_pacing_holds_the_next_event_back_unless_asked() -> None:
    assert advance(BEATS, 10, DEED, near(4), turns_since=0).event_id is None
    assert advance(BEATS, 10, DEED, near(4), turns_since=1).event_id == "letter"
    assert advance(BEATS, 10, DEED, near(4), turns_since=0, asked=True).event_id == "letter"


def test_two_turns_reach_what_one_does_not() -> None:
    first = advance(BEATS, 0, DEED, near(1.2))
    assert first.event_id is None and first.score < REACH
    assert advance(BEATS, 0, DEED, near(1.2), score_before=first.score).event_id == "door"
    silent = advance(BEATS, 0, "Good morning.", near(), score_before=0.9)
    assert silent.event_id is None, "what was said before reaches nothing alone"


def test_what_comes_after_is_told_so_the_story_catches_up_one_event_a_turn() -> None:
    first = advance(BEATS, 0, DEED, near(), later=[(20, near(1)), (30, near(4))])
    assert (first.event_id, first.due) == ("door", 30)
    second = advance(BEATS, 10, "Oh.", near(), due=first.due, turns_since=0)
    assert (second.event_id, second.due) == ("letter", 30)
    third = advance(BEATS, 20, "Oh.", near(), due=second.due, turns_since=0)
    assert (third.event_id, third.due) == ("bell", None)
    weak = advance(BEATS, 0, DEED, near(), later=[(20, near(2))])
    assert sum(score_parts(DEED, near(2)).values()) < OVERTAKEN
    assert (weak.event_id, weak.due) == (None, None)


def test_an_embedder_that_cannot_tell_the_events_apart_is_not_heeded() -> None:
    message = "*I do it before anybody can stop me.*"
    clear, blind = (near(cosine=0.7, others=0.2, trust=trust) for trust in (1.0, 0.0))
    assert sum(score_parts(message, blind).values()) < REACH
    assert sum(score_parts(message, clear).values()) > REACH


def test_how_well_an_embedder_tells_the_events_apart() -> None:
    apart, alike = np.eye(8, dtype=np.float32), np.ones((8, 8), dtype=np.float32)
    assert trust_in(apart, apart, range(8)) == 1.0
    assert trust_in(alike, alike, range(8)) == 0.0
    assert trust_in(alike[:1], alike[:1], [0]) == 1.0, "one event shows nothing"


def test_two_words_have_no_meaning_of_their_own() -> None:
    close = near(cosine=0.9)
    assert advance(BEATS, 0, "Oh, Nell.", close).event_id is None
    assert advance(BEATS, 0, "They pull the old door open at last.", close).event_id == "door"


def test_what_has_happened_is_not_what_comes_next() -> None:
    assert advance(BEATS, 10, DEED, near(2.2), past=[near(2)]).event_id == "letter"
    again = advance(BEATS, 10, DEED, near(2.2), past=[near(2), near(4)])
    assert again.event_id is None
    assert "has happened" in again.why


@pytest.mark.parametrize(
    "message", ["문을 열었다.", "그가 종을 쳤다", "*종을 친다.*", "종을 친다."]
)
def test_a_deed_is_told_in_korean_prose(message: str) -> None:
    assert is_told(message)
    assert not is_told("어디 갔다고 했어요?")
    assert not is_told("여기 있다, 맛있겠다!")


def test_an_event_that_is_reached_itself_makes_no_later_one_due() -> None:
    alike = advance(BEATS, 0, DEED, near(3), later=[(20, near(2)), (30, near(4))])
    assert (alike.event_id, alike.due) == ("door", None)


def test_what_is_announced_has_yet_to_be_done() -> None:
    assert not is_told("It's cold. I'll look for a blanket up there.")
    assert split("I'll look for it. Then I open it.") == (
        "i'll look for it. then i open it.", ASKS * 4 / 8,
    )  # fmt: skip


def test_after_the_last_event_nothing_is_awaited() -> None:
    progress = advance(BEATS, 30, DEED, near(9))
    assert (progress.event_id, progress.next_id, progress.position_after) == (None, None, 30)


@pytest.mark.parametrize(
    ("message", "happens", "talk"),
    [
        ("*I open it.* Should we have waited?", "i open it.", SUPPOSED * 4 / 7),
        ("The lid gives way.", "the lid gives way.", 0),
        ("Who is there?", "", ASKS),
        ("*문을 연다.* 누구 있어요?", "문을 연다.", ASKS / 2),
        ("아직 아니야.", "", SUPPOSED),
        ("Nobody I've never met, yet he opens it.", "yet he opens it.", 0),
        ("내일이 잔치라, 둘이서 토성을 봤다.", "둘이서 토성을 봤다.", 0),
        ("I hope he comes, and the bell rings.", "", SUPPOSED),
        ("We didn't go.", "", SUPPOSED),
    ],
)
def test_what_happens_is_told_from_talk(message: str, happens: str, talk: float) -> None:
    found, cost = split(message)
    assert found == happens
    assert cost == pytest.approx(talk)


def test_words_that_many_events_have_count_little() -> None:
    events = ("the ferry sails at dawn", "the ferry strikes a rock", "the ferry is late")
    first, second, third = shared_words("our ferry strikes something", events)
    assert second > 1 > first == third
    assert shared_words("등대에서", ("등대의 불", "바다"))[0] == 1
    assert shared_words("이제 거의 다", ("이제 거의 다 왔다", "바다"))[0] == 0, "carries no topic"


@given(
    st.integers(0, 40), st.text(max_size=80), st.floats(0, 9), st.floats(-1, 1), st.floats(0, 1),
    st.one_of(st.none(), st.integers(0, 5)), st.one_of(st.none(), st.integers(0, 40)),
    st.booleans(),
)  # fmt: skip
def test_position_never_goes_back_nor_skips(
    position: int,
    message: str,
    words: float,
    cosine: float,
    before: float,
    since: int | None,
    due: int | None,
    asked: bool,
) -> None:
    progress = advance(
        BEATS, position, message, near(words, cosine), later=[(30, near(words, cosine))],
        score_before=before, turns_since=since, due=due, asked=asked,
    )  # fmt: skip
    waiting = [b.order for b in BEATS if b.order > position and b.trigger]
    assert progress.position_after in {position, *waiting[:1]}
    assert 0 <= progress.distance <= 1
