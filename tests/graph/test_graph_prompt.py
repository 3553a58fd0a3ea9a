"""What the operator's knobs and the story's clock do to the prompt of a turn."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import MakePipeline, RecordingLLM, ask

MEMORY = "빨간 우산은 다락방 상자에 있다"


def lines(count: int, start: int = 0) -> list[dict[str, Any]]:
    """A long chat; each line of its own."""
    return [
        {
            "role": "user" if row % 2 == 0 else "character",
            "content": f"{row}번째 이야기. " + "오늘은 바람이 많이 부는 하루였다. " * 4,
            "id": f"m{row}",
        }
        for row in range(start, count)
    ]


def remembering(message: str = "빨간 우산이 어디 있지?", size: int = 120) -> dict[str, Any]:
    """A chat whose beginning answers the message."""
    told = {"role": "user", "content": MEMORY, "id": "told"}
    return ask(message, respond_as="character", history=[told, *lines(size)])


async def prompt_of(make: MakePipeline, payload: dict[str, Any], **settings: Any) -> str:
    llm = RecordingLLM()
    await make(llm, **settings).chat(payload)
    [prompt] = llm.prompts
    return prompt


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("after_history", ["119번째", "어디 있지?", MEMORY]),
        ("depth", [MEMORY, "119번째", "어디 있지?"]),
        ("before_history", [MEMORY, "119번째", "어디 있지?"]),
    ],
)
async def test_the_place_of_the_notes(
    make_pipeline: MakePipeline, place: str, expected: list[str]
) -> None:
    prompt = await prompt_of(make_pipeline, remembering(), llm_context=4096, prompt_place=place)
    assert sorted(expected, key=prompt.index) == expected
    verbatim = prompt.index("번째 이야기", prompt.index("<|im_start|>assistant"))
    assert (prompt.index(MEMORY) < verbatim) == (place == "before_history")


async def test_a_larger_share_to_keep_keeps_more_of_the_history(
    make_pipeline: MakePipeline,
) -> None:
    """Where a cut falls depends on the chat, so over several turns."""

    async def kept(share: float) -> int:
        pipeline = make_pipeline(llm_context=3072, prompt_keep=share)
        turns = [ask("응?", history=lines(size)) for size in range(100, 140, 2)]
        tokens = [(await pipeline.chat(turn))["meta"]["prompt"]["tokens"] for turn in turns]
        return sum(section["history"] for section in tokens)

    assert await kept(0.9) > 1.1 * await kept(0.3)


async def test_the_notes_take_what_is_set(make_pipeline: MakePipeline) -> None:
    sections = {}
    for most in (0, 80, 400):
        answer = await make_pipeline(
            RecordingLLM(), llm_context=4096, prompt_notes_tokens=most
        ).chat(remembering())
        tokens = answer["meta"]["prompt"]["tokens"]
        sections[most] = tokens["memories"] + tokens["frame"]
        assert sections[most] <= most
    assert sections[0] == 0 < sections[80] < sections[400]


async def test_the_end_of_a_chat_does_not_make_the_prompt_slide(
    make_pipeline: MakePipeline,
) -> None:
    """A backend sends the last messages only, which all fit: each turn, two old ones are gone."""
    firsts: dict[bool, set[str]] = {True: set(), False: set()}
    for recent_only, seen in firsts.items():
        pipeline = make_pipeline(llm_context=4096, recent_only=recent_only)
        for start in range(0, 12, 2):
            payload = ask("응?", history=lines(24 + start, start))
            cut = (await pipeline.chat(payload))["meta"]["prompt"]["cut"]["verbatim_from"]
            seen.add(payload["history"][cut]["id"])
    assert len(firsts[True]) < len(firsts[False]) == 6


STORY = [
    {
        "id": "market",
        "order": 1,
        "title": "장날",
        "text": "하늘과 사용자가 장터에서 만났다.",
        "characters": ["하늘"],
        "time": "첫날 아침",
        "location": "장터",
    },
    {
        "id": "storm",
        "order": 2,
        "title": "폭풍",
        "text": "폭풍이 몰아쳐 부두의 배가 모두 떠내려간다.",
        "characters": ["하늘"],
        "trigger": "사용자가 부두로 간다",
        "time": "둘째 날 밤",
        "location": "부두",
    },
]


async def test_an_event_that_is_reached_says_when_and_where(make_pipeline: MakePipeline) -> None:
    payload = ask(
        "/narrator 부두로 간다. 그 다음에 무슨 일이 벌어지지?", story=STORY, story_position=1
    )
    llm = RecordingLLM()
    answer = await make_pipeline(llm).chat(payload)
    assert answer["meta"]["story"]["event"] == "storm"
    assert "시간과 장소: 둘째 날 밤, 부두" in llm.prompts[0]


async def test_an_event_that_has_passed_says_nothing_of_now(make_pipeline: MakePipeline) -> None:
    payload = ask("장터 이야기를 해 줘.", story=STORY, story_position=1)
    prompt = await prompt_of(make_pipeline, payload)
    assert "장터에서 만났다" in prompt and "시간과 장소" not in prompt


async def test_who_asks_to_be_shown_something_is_shown_that_and_no_secret(
    make_pipeline: MakePipeline,
) -> None:
    told = "등대지기가 배를 숨겼다."
    secret = {**STORY[0], "id": "hoard", "visibility": "secret", "text": told}
    llm = RecordingLLM()
    payload = ask("상태창 보여줘", story=[secret], story_position=1)
    answer = await make_pipeline(llm).chat(payload)
    assert answer["responded_as"] == "narrator"
    assert "부탁한 것: 상태창 보여줘" in llm.prompts[0]
    assert "장면은 진행하지 않습니다" in llm.prompts[0]
    assert told not in llm.prompts[0]
    await make_pipeline(llm).chat(payload | {"message": "/서술 배를 찾는다."})
    assert "장면은 진행하지 않습니다" not in llm.prompts[1]
    assert told in llm.prompts[1]
