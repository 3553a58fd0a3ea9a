"""What a response lists of what was found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import MakePipeline, ask

STORY: list[dict[str, Any]] = [
    {"id": "known", "order": 1, "text": "등대의 열쇠는 화분 밑에 있었다."},
    {"id": "hidden", "order": 2, "text": "등대의 열쇠는 우물에 버려졌다.", "visibility": "secret"},
    {"id": "unseen", "order": 3, "text": "도둑이 등대의 열쇠를 찾았다.", "characters": ["도둑"]},
    {"id": "future", "order": 9, "text": "등대의 열쇠가 녹는다."},
]
HIDDEN = ["우물에 버려졌다", "도둑이"]


@pytest.mark.parametrize("speaker", ["character", "narrator"])
async def test_what_only_the_narrator_may_see_is_in_no_reply_of_the_character(
    make_pipeline: MakePipeline, speaker: str
) -> None:
    """Neither listed, nor in the ledger, nor in the prompt that `debug` shows."""
    answer = await make_pipeline().chat(
        ask(
            "등대의 열쇠는 어디 있어?",
            story=STORY,
            story_position=5,
            respond_as=speaker,
            meta={"debug": True},
        )
    )
    assert answer["responded_as"] == speaker
    found = {item["id"] for item in answer["retrieved"] if item["source"] == "story"}
    narrated = speaker == "narrator"
    assert found == ({"known", "hidden", "unseen"} if narrated else {"known"})
    told = json.dumps(answer, ensure_ascii=False)
    assert [text in told for text in HIDDEN] == [narrated, narrated]
    assert "녹는다" not in told
