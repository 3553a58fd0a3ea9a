"""Story progress over plain numbers: order, pacing, two turns, catching up; talk moves nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from retrieval.story import texts_to_embed
from routing import advance
from routing.progress import AROUND, ASKED, AT_ONCE, OVERTAKEN, REACH, find_upcoming, score_parts
from routing.similarity import ASKS, SUPPOSED, Vocabulary, is_told, trust_in, what_happens
from schemas.rag import EventSimilarity, Upcoming
from schemas.request import StoryEvent
from schemas.state import StoryProgress

EVENTS = [
    StoryEvent(id="door", order=10, text="It gives way.", trigger="the old door is opened"),
    StoryEvent(id="rumour", order=15, text="People talk."),
    StoryEvent(id="letter", order=20, text="It is read.", trigger="Mira finds the letter"),
    StoryEvent(id="bell", order=30, text="모두가 듣는다.", trigger="종이 울린다"),
]
DEED = "*I do it.*"


def near(
    words: float = 0.0, cosine: float | None = 0.1, others: float = 0.1, trust: float = 1.0
) -> EventSimilarity:
    return EventSimilarity(
        trigger=cosine, trigger_others=others, event=cosine, event_others=others,
        words=words, words_others=0.0, trigger_words=0.0, trust=trust,
    )  # fmt: skip


def turn(
    position: int,
    message: str,
    similarity: EventSimilarity,
    *,
    later: list[tuple[int, EventSimilarity]] | None = None,
    past: list[EventSimilarity] | None = None,
    score_before: float = 0.0,
    turns_since: int | None = None,
    due: int | None = None,
    asked: bool = False,
) -> StoryProgress:
    ahead = [event for event in EVENTS if event.order > position]
    at = next(row for row, event in enumerate(ahead) if event.trigger)
    upcoming = Upcoming(
        event=ahead[at], passing=ahead[:at], similarity=similarity, later=later or [],
        past=past or [],
    )  # fmt: skip
    last = StoryProgress(
        position_before=position, position_after=position, next=ahead[at].id, score=score_before,
        distance=1 - score_before, turns_since=turns_since, due=due, why="",
    )  # fmt: skip
    return advance(upcoming, position, message, last=last, asked=asked)


def test_the_next_event_is_reached_and_no_other() -> None:
    progress = turn(0, DEED, near(4))
    assert (progress.position_before, progress.position_after, progress.event) == (0, 10, "door")
    assert "reached" in progress.why


def test_events_without_a_trigger_are_passed_on_the_way() -> None:
    progress = turn(10, DEED, near(4))
    assert (progress.position_after, progress.passed) == (20, ["rumour"])


def test_talking_about_it_is_not_doing_it() -> None:
    for talk in ("What if we open the old door?", "Did anyone open the door?", "우리 안 했어."):
        assert turn(0, talk, near(4, cosine=0.6)).event is None


def test_pacing_holds_the_next_event_back_unless_asked() -> None:
    assert turn(10, DEED, near(4), turns_since=0).event is None
    assert turn(10, DEED, near(4), turns_since=1).event == "letter"
    assert turn(10, DEED, near(4), turns_since=0, asked=True).event == "letter"


def test_two_turns_reach_what_one_does_not() -> None:
    first = turn(0, DEED, near(1.2))
    assert first.event is None and first.score < REACH
    assert turn(0, DEED, near(1.2), score_before=first.score).event == "door"
    silent = turn(0, "Good morning.", near(), score_before=0.9)
    assert silent.event is None, "what was said before reaches nothing alone"
    asked = turn(0, "Good morning.", near(), score_before=0.9, asked=True)
    assert asked.score > ASKED and asked.event is None, "nor where less suffices"


def test_what_comes_after_is_told_so_the_story_catches_up_one_event_a_turn() -> None:
    first = turn(0, DEED, near(), later=[(20, near(1)), (30, near(4))])
    assert (first.event, first.due) == ("door", 30)
    second = turn(10, "Oh.", near(), due=first.due, turns_since=0)
    assert (second.event, second.due) == ("letter", 30)
    third = turn(20, "Oh.", near(), due=second.due, turns_since=0)
    assert (third.event, third.due) == ("bell", None)
    weak = turn(0, DEED, near(), later=[(20, near(2))])
    assert sum(score_parts(DEED, near(2)).values()) < OVERTAKEN
    assert (weak.event, weak.due) == (None, None)


def test_an_embedder_that_cannot_tell_the_events_apart_is_not_heeded() -> None:
    message = "*I do it before anybody can stop me.*"
    clear, blind = (near(cosine=0.7, others=0.2, trust=trust) for trust in (1.0, 0.0))
    assert sum(score_parts(message, blind).values()) < REACH
    assert sum(score_parts(message, clear).values()) > REACH


def test_how_well_an_embedder_tells_the_events_apart() -> None:
    apart, alike = np.eye(8, dtype=np.float32), np.ones((8, 8), dtype=np.float32)
    assert trust_in(apart, apart, 8) == 1.0
    assert trust_in(alike, alike, 8) == 0.0
    assert trust_in(alike[:1], alike[:1], 1) == 1.0, "one event shows nothing"
    unknown = apart.copy()
    unknown[1:] = np.nan
    assert trust_in(unknown, unknown, 8) < 0.5, "what is not known yet is not trusted"


def test_two_words_have_no_meaning_of_their_own() -> None:
    close = near(cosine=0.9)
    assert turn(0, "Oh, Nell.", close).event is None
    assert turn(0, "They pull the old door open at last.", close).event == "door"


def test_what_has_happened_is_not_what_comes_next() -> None:
    assert turn(10, DEED, near(2.2), past=[near(2)]).event == "letter"
    again = turn(10, DEED, near(2.2), past=[near(2), near(4)])
    assert again.event is None
    assert "has happened" in again.why


@pytest.mark.parametrize(
    "message", ["문을 열었다.", "그가 종을 쳤다", "*종을 친다.*", "종을 친다."]
)
def test_a_deed_is_told_in_korean_prose(message: str) -> None:
    assert is_told(message)
    assert not is_told("어디 갔다고 했어요?")
    assert not is_told("여기 있다, 맛있겠다!")


def test_an_event_that_is_reached_itself_makes_no_later_one_due() -> None:
    alike = turn(0, DEED, near(3), later=[(20, near(2)), (30, near(4))])
    assert (alike.event, alike.due) == ("door", None)


def test_what_is_announced_has_yet_to_be_done() -> None:
    assert not is_told("It's cold. I'll look for a blanket up there.")
    assert what_happens("I'll look for it. Then I open it.") == (
        "i'll look for it. then i open it.", ASKS * 4 / 8,
    )  # fmt: skip


class Vectors:
    """Vectors of some texts are known, others are made; which and how many is kept."""

    fingerprint = "counts"

    def __init__(self, known: list[str]) -> None:
        self._embedder, self._known, self.made = Embedder(HashEmbeddings(32)), set(known), 0

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return self._embedder.encode_passages(texts), np.array([t in self._known for t in texts])

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.made += len(texts)
        return self._embedder.encode_passages(texts)


def long_story(size: int) -> list[StoryEvent]:
    return [
        StoryEvent(id=f"e{n}", order=n, text=f"Number {n}. " * 30, trigger=f"they come to {n}")
        for n in range(size)
    ]


@pytest.mark.parametrize("known", [False, True])
def test_a_long_story_costs_a_turn_no_more_than_what_is_around_its_position(known: bool) -> None:
    story = long_story(2000)
    source = Vectors(texts_to_embed(story) if known else [])
    vector = Embedder(HashEmbeddings(32)).encode_queries([DEED])[0]
    upcoming, left = find_upcoming(story, 1000, DEED, vector, source)
    assert upcoming is not None and upcoming.event.id == "e1001"
    assert source.made == (0 if known else AT_ONCE)
    assert bool(left) is not known
    window = story[1001 - AROUND : 1002 + AROUND]
    assert len(left) + source.made in (0, len(texts_to_embed(window)))
    same, _ = find_upcoming(window, 1000, DEED, vector, source)
    assert same == upcoming, "what is farther away counts nothing"
    doubted, _ = find_upcoming(story, 1000, DEED, vector, source, trust=0.5)
    assert doubted and doubted.similarity.trust == upcoming.similarity.trust / 2


def test_without_a_vector_words_alone_count() -> None:
    blank = near(4, cosine=None, others=0.0)
    parts = score_parts("They pull the old door open at last.", blank)
    assert parts["meaning"] == 0 < parts["words"]
    assert turn(0, DEED, blank).event == "door"


@pytest.mark.parametrize("position", [None, 30])
def test_nothing_is_awaited_without_a_clock_or_after_the_last_event(position: int | None) -> None:
    assert find_upcoming(EVENTS, position, DEED, np.ones(32), Vectors([])) == (None, [])


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
        ("그 문을 열어 본 적이 없어요.", "", SUPPOSED),
    ],
)
def test_what_happens_is_told_from_talk(message: str, happens: str, talk: float) -> None:
    found, cost = what_happens(message)
    assert found == happens
    assert cost == pytest.approx(talk)


def test_words_that_many_events_have_count_little() -> None:
    events = ("the ferry sails at dawn", "the ferry strikes a rock", "the ferry is late")
    first, second, third = Vocabulary(events).shared("our ferry strikes something")
    assert second > 1 > first == third
    assert Vocabulary(("등대의 불", "바다")).shared("등대에서")[0] == 1
    assert Vocabulary(("이제 거의 다 왔다", "바다")).shared("이제 거의 다")[0] == 0, "no topic"


def test_words_count_beyond_those_in_common_with_any_other_event() -> None:
    common = near(4).model_copy(update={"words_others": 3.0})
    assert score_parts(DEED, common)["words"] == score_parts(DEED, near(1))["words"] > 0
    assert score_parts(DEED, near(1).model_copy(update={"words_others": 3.0}))["words"] == 0


@given(
    st.integers(0, 29), st.text(max_size=80), st.floats(0, 9), st.floats(-1, 1), st.floats(0, 1),
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
    progress = turn(
        position, message, near(words, cosine), later=[(30, near(words, cosine))],
        score_before=before, turns_since=since, due=due, asked=asked,
    )  # fmt: skip
    waiting = [event.order for event in EVENTS if event.order > position and event.trigger]
    assert progress.position_after in {position, waiting[0]}
    assert 0 <= progress.distance <= 1
