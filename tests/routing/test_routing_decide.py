"""Decisions: authority, behaviour in both languages, determinism and the time they take."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.routing import Learned
from routing import Line, RouterInput, decide
from routing.decide import load_weights
from routing.evidence import measure

TALK = (
    Line("user", "Robin", "Good evening."),
    Line("character", "Mira", "You came after all. Sit down."),
)
TOLD = (*TALK, Line("narrator", "", "Rain beats on the roof. You smell smoke from below."))


@pytest.fixture(scope="module")
def learned() -> Learned:
    return Learned()


def turn(message: str, history: tuple[Line, ...] = TALK, **more: object) -> RouterInput:
    return replace(RouterInput(message, history, character="Mira", user_name="Robin"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message",
    [
        "*I push the door open and look inside.*",
        "*문을 밀어 열고 안을 들여다본다.*",
        "(천천히 다가간다)",
        "",
        "continue",
        "계속",
        "I look around the room. What do I see?",
        "주변을 둘러본다. 뭐가 보여?",
    ],
)
def test_actions_and_questions_about_the_scene_go_to_the_narrator(
    message: str, learned: Learned
) -> None:
    assert decide(*learned.with_vectors([turn(message)])[0]).speaker == "narrator"


@pytest.mark.parametrize(
    "message",
    [
        "How are you, Mira?",
        "I missed you. Did you get my letter?",
        "*I wave.* Hi Mira, how have you been?",
        "*손을 흔든다* 미라야, 잘 지냈어?",
        "미라, 어디 가?",
        "너는 어떻게 생각해?",
        "정말 고마워!",
        "Thank you, that is very kind.",
    ],
)
@pytest.mark.parametrize("history", [(), TALK, TOLD])
def test_speech_goes_to_the_character(
    message: str, history: tuple[Line, ...], learned: Learned
) -> None:
    said = learned.with_vectors([turn(message, history)])[0]
    assert decide(*said).speaker == "character"


def test_order_of_authority() -> None:
    assert decide(turn("/narrate rain", respond_as="character")).speaker == "character"
    assert decide(turn("How are you, Mira?", respond_as="narrator")).speaker == "narrator"
    assert decide(turn("/narrate How are you, Mira?")).speaker == "narrator"
    assert decide(turn("/as Mira *I leave.*")).speaker == "character"
    assert decide(turn("/narrate rain", respond_as="character")).message == "rain"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Tom, are you coming?", "Tom"),
        ("Mira, are you coming?", "Mira"),
        ("유나야, 너는?", "유나"),
        ("Are you coming?", None),
        ("/as Tom hi", "Tom"),
    ],
)
def test_who_is_addressed_among_several(message: str, expected: str | None) -> None:
    decision = decide(turn(message, others=("Tom", "유나")))
    assert (decision.speaker, decision.next_speaker) == ("character", expected)


def test_nobody_is_next_where_one_is_alone_or_the_narrator_speaks() -> None:
    assert decide(turn("Mira, are you coming?")).next_speaker is None
    told = decide(turn("/narrate Tom, come here.", others=("Tom",)))
    assert (told.addressed, told.next_speaker) == ("Tom", None)


@pytest.mark.parametrize("message", ["Thank you, Mira!", "I look around. What do I see?"])
def test_confidence_is_that_of_the_decision(message: str) -> None:
    decision = decide(turn(message))
    assert decision.confidence == decision.probability(decision.speaker) > 0.5


def test_an_alias_stands_for_the_character() -> None:
    decision = decide(turn("Captain, are you all right?", aliases=("Captain",), others=("Tom",)))
    assert decision.next_speaker == "Mira"


def test_the_users_own_name_calls_nobody() -> None:
    scene = (Line("character", "지안", "응."), Line("character", "유나", "응."))
    for name, called in (("유나", 1.0), ("지안", 0.0)):
        own = turn(f"{name}아, 일어나", scene, user_name="지안")
        assert measure(own, exemplar_vote=0.0)["says_name"] == called


def test_the_next_story_event_calls_the_narrator() -> None:
    far, near = (
        decide(turn("We walk to the lighthouse.", trigger_similarity=s)) for s in (0.1, 0.95)
    )
    assert near.narrator_probability > far.narrator_probability


@pytest.mark.parametrize(
    ("character", "narrator"),
    [
        ("It is cold here?", "It is cold here."),
        ("안녕하세요？", "안녕하세요."),
        ("Good evening!", "Good evening."),
        ("You wait here.", "All wait here."),
        ("Thanks. Bread.", "Bread."),
        ("Mira, bread.", "Bread."),
        ("Let's eat.", "Eat."),
        ("Aye.", "14."),
        ("Aye.", "Initiative."),
        ("Aye.", "Later."),
        ("Aye.", "I wait."),
        ("I wait and say so.", "I wait."),
        ("Is it cold in your room?", "Is it cold in the room?"),
    ],
)
def test_what_speaks_for_whom(character: str, narrator: str) -> None:
    said, called = decide(turn(character, ())), decide(turn(narrator, ()))
    assert said.narrator_probability < called.narrator_probability


def test_a_question_alone_speaks_against_the_narrator() -> None:
    asked = {c.name: c for c in decide(turn("It is cold here?", ())).evidence}
    assert asked["says_question"].value == 1 and asked["says_question"].contribution < 0
    assert "says_question" not in {c.name for c in decide(turn("It is cold here.", ())).evidence}


def test_equal_evidence_is_told_in_one_order_and_a_tie_is_the_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = {name: dict(row, weight=1.0) for name, row in load_weights().items()}
    monkeypatch.setattr(import_module("routing.decide"), "load_weights", lambda: rows)
    rows["bias"]["weight"], rows["says_like_exemplars"]["weight"] = -2.0, 0.0
    tie = decide(turn("Good!", (Line("narrator", "", "Rain."),)))
    equal = [c.name for c in tie.evidence if c.contribution == 1]
    assert equal == sorted(equal) == ["says_exclaims", "scene_narrator_recent"]
    rows["bias"]["weight"] = -sum(c.contribution for c in tie.evidence)
    even = decide(turn("Good!", (Line("narrator", "", "Rain."),)))
    assert (even.narrator_probability, even.speaker) == (0.5, "character")


def test_a_person_in_the_narration_is_answered_by_whoever_plays_people() -> None:
    scene = (*TALK, Line("narrator", "", 'The innkeeper looks up. "Do you want a room?"'))
    asked = turn("Yes. How much is it?", scene)
    played = replace(asked, narrator_plays_people=True)
    assert decide(played).narrator_probability > decide(asked).narrator_probability
    alone = turn("Yes. How much is it?", TALK)
    assert decide(replace(alone, narrator_plays_people=True)) == decide(alone), "no game is on"


def test_the_evidence_adds_up_and_is_told() -> None:
    decision = decide(turn("What do I see? I roll for perception. 14.", TOLD))
    odds = load_weights()["bias"]["weight"] + sum(c.contribution for c in decision.evidence)
    assert (odds > 0) == (decision.speaker == "narrator")
    assert all(c.contribution == pytest.approx(c.value * c.weight) for c in decision.evidence)
    assert decision.reason.startswith("narrator") and "\n" not in decision.reason
    assert 0.5 <= decision.confidence <= 1


def test_every_evidence_has_a_weight_in_both_columns() -> None:
    found = set(measure(turn("Hello"), exemplar_vote=0.0))
    rows = load_weights()
    assert found == rows.keys() - {"bias"}
    assert all({"about", "weight", "game_master"} <= row.keys() for row in rows.values())


@given(
    st.text(max_size=300),
    st.lists(
        st.tuples(
            st.sampled_from(["user", "character", "narrator"]),
            st.text(max_size=8),
            st.text(max_size=120),
        ),
        max_size=14,
    ),
)
@settings(max_examples=60, deadline=None)
def test_any_turn_is_decided_alike_twice(message: str, history: list[tuple[str, str, str]]) -> None:
    lines = [Line(*line) for line in history]  # type: ignore[arg-type]
    first = decide(RouterInput(message, lines, character="Mira"))
    assert decide(RouterInput(message, lines, character="Mira")) == first
    assert all(-1 <= c.value <= 1 for c in first.evidence)


def test_a_long_scene_is_decided_in_time(learned: Learned) -> None:
    long = [
        Line("narrator", "", "You see a wall. " * 800),
        Line("character", "Mira", "I walk on. " * 800),
    ] * 6
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        decide(turn("I walk. " * 10_000, tuple(long)), learned.exemplars["latin"])
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2
