"""The mock story played through the whole graph, four times in each language, by script.

Each message of `playthrough.json` says which event it brings, or none. lab/routing.md says which
scripts were written before which change of the score.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graph.next_turn import first_payload, next_payload
from graph.settings import ROOT
from tests.support import MakePipeline, RecordingLLM

SCRIPTS = json.loads((Path(__file__).parent / "playthrough.json").read_text(encoding="utf-8"))
ON_THE_SPOT = {
    "en": 16, "ko": 12, "en again": 13, "ko again": 16, "en third": 11, "ko third": 15,
    "en fourth": 15, "ko fourth": 16,
}  # fmt: skip
"""Of 17 events, about one less than measured; the others follow when the next ones are told."""


def mock(language: str) -> dict[str, Any]:
    name = "sample_request.ko.json" if language == "ko" else "sample_request.json"
    request: dict[str, Any] = json.loads((ROOT / "data/mock" / name).read_text(encoding="utf-8"))
    return request


@pytest.mark.parametrize("name", sorted(SCRIPTS))
async def test_every_event_is_reached_in_order_none_early_none_skipped(
    name: str, make_pipeline: MakePipeline
) -> None:
    scripted = RecordingLLM(replies=["*A nod.*"] * 100)
    script, request = SCRIPTS[name], mock(name[:2])
    texts = {event["id"]: event["text"] for event in request["story"]}
    pipeline, payload = make_pipeline(scripted), first_payload(request)
    payload["chat_rag_config"] = {"enabled": False}  # the story alone, for speed
    reached: dict[str, int] = {}
    for row, line in enumerate(script):
        payload["message"] = line["message"]
        answer = await pipeline.chat(payload)
        if event := answer["meta"].get("story", {}).get("event"):
            reached[event] = row
            assert answer["responded_as"] == "narrator"
            assert texts[event] in scripted.prompts[-1], "the narrator is given the beat"
        payload = next_payload(payload, answer)

    told = {line["reaches"]: row for row, line in enumerate(script) if line["reaches"]}
    waiting = [e for e in sorted(request["story"], key=lambda e: e["order"]) if e.get("trigger")]
    assert list(reached) == [event["id"] for event in waiting] == list(told)
    assert all(reached[event] >= row for event, row in told.items()), "none early"
    assert sum(reached[event] == row for event, row in told.items()) >= ON_THE_SPOT[name]
    assert payload["story_position"] == waiting[-1]["order"]


@pytest.mark.parametrize("name", ["en", "ko", "en third", "ko third"])
def test_the_scripts_are_long_and_a_third_of_each_moves_nothing(name: str) -> None:
    script = SCRIPTS[name]
    assert len(script) >= 60
    assert sum(line["reaches"] is None for line in script) >= len(script) / 3


@pytest.mark.parametrize(
    ("event", "position", "message", "present"),
    [
        ("e09", 80, "*I undo both straps of the suitcase, tag 411, and open the lid.*", True),
        ("e22", 210, "*At the birthday table I play the waltz on the concertina.*", False),
    ],
)  # fmt: skip
async def test_the_character_learns_of_an_event_only_if_present(
    event: str, position: int, message: str, present: bool,
    make_pipeline: MakePipeline, scripted: RecordingLLM,
) -> None:  # fmt: skip
    request = first_payload(mock("en"), position=position)
    text = next(e["text"] for e in request["story"] if e["id"] == event)
    answer = await make_pipeline(scripted).chat(
        {**request, "message": message, "respond_as": "character"}
    )
    assert answer["meta"]["story"]["event"] == event
    assert (text in scripted.prompts[-1]) is present


async def test_a_turn_that_failed_leaves_no_trace(make_pipeline: MakePipeline) -> None:
    payload = {**first_payload(mock("ko")), "message": "안녕하세요?"}
    answer = await make_pipeline(RecordingLLM(fail_with=RuntimeError("no"))).chat(payload)
    assert answer["error"]
    assert next_payload(payload, answer)["history"] == []
