"""Lore in a turn: found before retrieval, never taken for story, within its budget."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cards.lore.events import to_events
from cards.lore.lorebook import Lorebook, LoreEntry
from schemas.errors import BadRequest
from tests.support import MakePipeline, RecordingLLM, ask


def told(*entries: LoreEntry, budget: int | None = None) -> list[dict[str, Any]]:
    events = to_events(Lorebook(entries=entries, token_budget=budget))
    return [event.model_dump(mode="json") for event in events]


STANDING = LoreEntry(id="s", content="{{char}}은(는) 섬에 산다.", constant=True)
PASSING = LoreEntry(id="p", content="등대는 백 년 되었다.", keys=("등대",))


async def test_lore_stands_and_passes(make_pipeline: MakePipeline, scripted: RecordingLLM) -> None:
    pipeline = make_pipeline(scripted)
    answer = await pipeline.chat(ask("등대로 가자", story=told(STANDING, PASSING)))
    head, tail = scripted.prompts[-1].split("등대로 가자")
    assert "하늘은 섬에 산다." in head and "백 년" in tail
    assert [item["used"] for item in answer["retrieved"]] == [True, True]
    assert answer["meta"]["lore"]["tokens"] > 0
    await pipeline.chat(ask("밥 먹자", story=told(STANDING, PASSING)))
    assert "백 년" not in scripted.prompts[-1] and "하늘은 섬에 산다." in scripted.prompts[-1]


async def test_all_that_is_called_for_reaches_the_prompt_within_lores_share(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """The notes have room for it, beside memories and story, also where the chat is long."""
    book = [
        LoreEntry(id=str(n), content=f"{n}번 등대. " + "불빛이 돈다. " * 40, keys=("등대",))
        for n in range(4)
    ]
    long = [{"role": "user", "content": f"{n}번째 날. " + "바람이 분다. " * 30} for n in range(60)]
    for history in ([], long):
        answer = await make_pipeline(scripted).chat(
            ask("등대로 가자", history=history, story=told(*book))
        )
        lore = [item for item in answer["retrieved"] if item["id"].startswith("lore/")]
        assert [item["used"] for item in lore] == [True] * 4
        tokens = answer["meta"]["prompt"]["tokens"]
        assert tokens["total"] <= tokens["budget"] and tokens["story"] > 819


async def test_the_room_for_lore_does_not_move_the_cut(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    history = [
        {"role": "user", "content": f"{n}번째 이야기. " + "바람이 분다. " * 30} for n in range(60)
    ]
    story = told(STANDING, PASSING, LoreEntry(id="q", content="밥 " * 300, keys=("밥",)))
    cuts = set()
    for message in ("등대로 가자", "밥 먹자", "등대에서 밥 먹자", "그래"):
        answer = await make_pipeline(scripted).chat(ask(message, history=history, story=story))
        cuts.add(answer["meta"]["prompt"]["cut"]["verbatim_from"])
    assert len(cuts) == 1 and cuts != {0}


async def test_lore_is_no_story(make_pipeline: MakePipeline, scripted: RecordingLLM) -> None:
    event = {"id": "e1", "order": 5, "text": "배가 온다.", "trigger": "배를 기다린다"}
    pipeline = make_pipeline(scripted)
    fields: dict[str, Any] = {"story_position": 0}
    both = await pipeline.chat(ask("등대?", story=[*told(PASSING), event], **fields))
    alone = await pipeline.chat(ask("등대?", story=[event], **fields))
    assert both["meta"]["story"] == alone["meta"]["story"]
    assert both["meta"]["route"] == alone["meta"]["route"]
    only = await pipeline.chat(ask("등대?", story=told(PASSING), **fields))
    assert "story" not in only["meta"] and only["retrieved"][0]["why"][0].startswith("lore: ")


async def test_lore_stays_where_story_is_switched_off(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    off = {"enabled": False}
    await make_pipeline(scripted).chat(
        ask("등대?", story=told(STANDING, PASSING), story_rag_config=off)
    )
    assert "백 년" in scripted.prompts[-1]


async def test_standing_lore_takes_room_from_the_history_for_retrieval_too(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """What the lore pushes out of the window can be recalled."""
    history = [
        {"role": "user", "content": f"{n}번째 이야기. " + "바람이 분다. " * 30} for n in range(60)
    ]
    big = LoreEntry(id="b", content="섬의 규칙. " * 250, constant=True)
    pipeline = make_pipeline(scripted)
    for story in ([], told(big)):
        answer = await pipeline.chat(ask("바람?", history=history, story=story))
        cut = answer["meta"]["prompt"]["cut"]["verbatim_from"]
        rows = [item["id"] for item in answer["retrieved"] if item["source"] == "chat"]
        assert cut > 0 and rows
        assert f"{cut}번째" in scripted.prompts[-1]
    reasons = [why for item in answer["retrieved"] for why in item["why"]]
    assert not any("verbatim" in why for why in reasons)


async def test_a_book_that_is_too_large_leaves_the_rest_of_the_prompt_whole(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    entries = [
        LoreEntry(id=str(n), content=f"{n} " + "긴 글 " * 400, constant=True) for n in range(50)
    ]
    answer = await make_pipeline(scripted).chat(ask("안녕", story=told(*entries)))
    lore = answer["meta"]["lore"]
    assert answer["error"] is None and lore["tokens"] <= lore["budget"]
    assert any("over the budget" in why for why in lore["left_out"].values())


async def test_what_is_no_lore_is_named(make_pipeline: MakePipeline) -> None:
    story = [{"id": "x", "order": 0, "text": "a", "extensions": {"lore": {"keys": 3}}}]
    with pytest.raises(BadRequest, match=r"^story\.0\.extensions\.lore: is no lore entry"):
        await make_pipeline().chat(ask(story=story))


async def test_five_thousand_entries_cost_little(make_pipeline: MakePipeline) -> None:
    entries = [LoreEntry(id=str(n), content=f"{n}번 글", keys=(f"열쇠{n}",)) for n in range(5000)]
    pipeline = make_pipeline()
    payload = ask("열쇠7", story=told(*entries))
    await pipeline.chat(payload)
    started = time.process_time()
    answer = await pipeline.chat(payload)
    assert [item["text"] for item in answer["retrieved"]] == ["7번 글"]
    assert time.process_time() - started < 3
