from __future__ import annotations

from typing import Any

import pytest

from nodes.route import route_turn, story_progress
from schemas.rag import EventSimilarity, Upcoming
from schemas.request import ChatRequest, Speaker, StoryEvent


def turn(message: str, **fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"message": message, "persona": {"name": "하늘"}, **fields})


@pytest.mark.parametrize(
    ("message", "speaker"),
    [
        ("/continue", "narrator"),
        ("/narrate The storm breaks.", "narrator"),
        ("(서술) 폭풍이 몰아친다.", "narrator"),
        ("Good morning! Did you sleep well?", "character"),
        ("하늘아, 어디 가?", "character"),
        ("/as 하늘 문을 닫아 줘.", "character"),
    ],
)
def test_who_answers(message: str, speaker: Speaker) -> None:
    decision = route_turn(turn(message))
    assert decision.speaker == speaker
    assert decision.reason


@pytest.mark.parametrize("speaker", ["narrator", "character"])
def test_the_callers_choice_comes_first(speaker: Speaker) -> None:
    assert route_turn(turn("/narrate It rains.", respond_as=speaker)).speaker == speaker
    assert route_turn(turn("Hello?", respond_as=speaker)).speaker == speaker


BRIDGE = StoryEvent(
    id="bridge", order=20, text="The bridge falls.", trigger="they cross the bridge"
)


def upcoming(similarity: float) -> Upcoming:
    near = EventSimilarity(
        trigger=similarity, trigger_others=0.1, event=similarity, event_others=0.1,
        words=2 * similarity, words_others=0.1, trigger_words=similarity,
    )  # fmt: skip
    return Upcoming(event=BRIDGE, similarity=near)


def test_an_event_is_reached_when_its_trigger_happens_and_not_before() -> None:
    far = story_progress(turn("We cook soup.", story_position=10), upcoming(0.05), asked=False)
    assert (far.event, far.position_after) == (None, 10)
    assert far.next == "bridge" and far.why
    near = story_progress(
        turn("*We cross the bridge together.*", story_position=10), upcoming(0.9), asked=False
    )
    assert (near.event, near.position_before, near.position_after) == ("bridge", 10, 20)
    assert near.distance < far.distance


def test_the_progress_of_the_last_turn_paces_the_next() -> None:
    message = "*We cross the bridge together.*"
    first = story_progress(turn(message, story_position=10), upcoming(0.9), asked=False)
    assert first.turns_since == 0
    again = story_progress(
        turn(message, story_position=10, meta={"story": first.model_dump()}),
        upcoming(0.9),
        asked=False,
    )
    assert again.event is None, "not two events in a row"
    assert again.turns_since == 1
    broken = turn(message, story_position=10, meta={"story": {"score": "high"}})
    assert story_progress(broken, upcoming(0.9), asked=False).event == "bridge"


def test_lines_hidden_from_the_scene_say_nothing() -> None:
    said = [{"role": "character", "content": "왔어? 앉아."}]
    hidden = [{"role": "system", "content": "Roll a d20. You wait."}] * 5
    plain, with_hidden = (route_turn(turn("응.", history=h)) for h in (said, said + hidden))
    assert plain.evidence == with_hidden.evidence
