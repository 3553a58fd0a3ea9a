"""What a request may set of a turn: each knob changes what comes out, before the run's choice."""

from __future__ import annotations

from typing import Any, cast

import pytest

from schemas.request import ChatRequest
from schemas.state import Context, State, context_of
from tests.support import MakePipeline, ask

OPERATORS = {"second_opinion"}
"""It costs a call of the model: the operator's choice."""

SET: dict[str, tuple[dict[str, Any], object]] = {
    "chat_top_k": ({"chat_rag_config": {"top_k": 3}}, 3),
    "chat_score_threshold": ({"chat_rag_config": {"score_threshold": 0.5}}, 0.5),
    "chat_neighbours": ({"chat_rag_config": {"neighbours": 0}}, 0),
    "chat_recency": ({"chat_rag_config": {"recency": 0.5}}, 0.5),
    "chat_in_scene": ({"chat_rag_config": {"in_scene": 0.5}}, 0.5),
    "story_top_k": ({"story_rag_config": {"top_k": 3}}, 3),
    "story_score_threshold": ({"story_rag_config": {"score_threshold": 0.5}}, 0.5),
    "narrator_plays_people": ({"narrator_plays_people": True}, True),
}
BY_GEN = {"max_new_tokens", "temperature"}
"""Of `gen`; the model's own recommendation is the last choice there."""


@pytest.mark.parametrize("knob", sorted(Context.model_fields.keys() - OPERATORS - BY_GEN))
def test_a_request_can_turn_every_knob_of_a_run(knob: str) -> None:
    fields, value = SET[knob]
    context = Context(chat_neighbours=3)
    chosen = context_of(ChatRequest.model_validate(ask(**fields)), context)
    assert chosen == context.model_copy(update={knob: value})
    assert context_of(ChatRequest.model_validate(ask()), context) == context


async def memories(
    make_pipeline: MakePipeline, request: dict[str, Any], **config: Any
) -> list[Any]:
    """What is recalled of the chat, best first."""
    pipeline = make_pipeline(llm_context=2048)
    answer = await pipeline.chat({**request, "chat_rag_config": config})
    return [item for item in answer["retrieved"] if item["source"] == "chat"]


def beside(found: list[Any]) -> int:
    return sum(why.startswith("beside") for item in found for why in item["why"])


async def test_neighbours_come_along_as_many_as_asked_for(
    make_pipeline: MakePipeline, mock_request: dict[str, Any]
) -> None:
    counts = [
        beside(await memories(make_pipeline, mock_request, top_k=2, neighbours=reach))
        for reach in (0, 1, 3)
    ]
    assert counts[0] == 0 and counts == sorted(set(counts))


@pytest.mark.parametrize("knob", ["recency", "in_scene"])
async def test_what_was_said_last_or_in_this_scene_is_lifted(
    make_pipeline: MakePipeline, knob: str
) -> None:
    said = ["The silver locket lies in the drawer.", "A silver locket hangs at the door."]
    gulls = [
        f"Then {n} gulls sit down on the wall, one after the other, all day." for n in range(44)
    ]
    history = [
        {
            "id": f"{day}-{row}",
            "role": "user",
            "content": text,
            "timestamp": f"{day}T10:{row:02}:00Z",
        }
        for day, lines in (
            ("2025-01-01", [said[0], *gulls[:4]]),
            ("2025-02-01", [said[1], *gulls[4:]]),
        )
        for row, text in enumerate(lines)
    ]
    request = ask("Where is the silver locket?", history=history, gen={"max_new_tokens": 1024})
    lead = []
    for value in (0.0, 0.5):
        knobs = {"top_k": 50, "neighbours": 0, knob: value}
        found = await memories(make_pipeline, request, **knobs)
        score = {item["id"]: item["score"] for item in found}
        lead.append(score["2025-02-01-0"] - score["2025-01-01-0"])
    assert lead[1] > lead[0]


async def test_a_narrator_who_plays_people_weighs_otherwise(make_pipeline: MakePipeline) -> None:
    history = [
        {"role": "narrator", "content": 'The innkeeper looks up. "Do you want a room?"'},
    ]
    shares = []
    for plays in (None, True):
        request = ask("Yes. How much is it?", history=history, narrator_plays_people=plays)
        answer = await make_pipeline().chat(request)
        shares.append(sum(e["contribution"] for e in answer["meta"]["route"]["evidence"]))
    assert shares[1] > shares[0]


async def test_the_requests_choice_comes_before_the_runs(
    make_pipeline: MakePipeline, mock_request: dict[str, Any]
) -> None:
    graph = make_pipeline().graph
    request = {**mock_request, "chat_rag_config": {"neighbours": 0}}
    context = Context(chat_neighbours=3)
    state = await graph.ainvoke(cast("State", {"request": request}), context=context)
    assert not any(c.meta["why"][0].startswith("beside") for c in state["chat"].context)
