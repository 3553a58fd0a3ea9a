from __future__ import annotations

import pytest

from nodes.route import route_turn
from schemas.request import ChatRequest, Speaker


def turn(message: str, **fields: object) -> ChatRequest:
    return ChatRequest.model_validate({"message": message, "persona": {"name": "하늘"}, **fields})


@pytest.mark.parametrize(
    ("message", "speaker"),
    [
        ("*opens the door and looks around*", "narrator"),
        ("*문을 열고 주위를 둘러본다.*", "narrator"),
        ("(창가로 걸어간다)", "narrator"),
        ("The next morning, rain falls on the harbour.", "narrator"),
        ("다음 날 아침, 항구에 비가 내린다.", "narrator"),
        ("/continue", "narrator"),
        ("Good morning!", "character"),
        ("*waves* Good morning!", "character"),
        ("하늘아, 어디 가?", "character"),
        ("Meanwhiles is no word, is it?", "character"),
        ("…", "narrator"),
    ],
)
def test_the_narrator_takes_actions_and_scene_changes(message: str, speaker: Speaker) -> None:
    route = route_turn(turn(message))
    assert route.responded_as == speaker
    assert route.reason


@pytest.mark.parametrize("speaker", ["narrator", "character"])
def test_the_callers_choice_comes_first(speaker: Speaker) -> None:
    assert route_turn(turn("*opens the door*", respond_as=speaker)).responded_as == speaker
    assert route_turn(turn("Hello?", respond_as=speaker)).responded_as == speaker
