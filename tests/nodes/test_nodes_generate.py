"""Between the prompt and the model: what it is told, and that it stops where nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from graph.pipeline import Pipeline
from llm.scripted import ScriptedLLM
from nodes.generate import generate_text
from schemas.models import Models
from tests.support import MakePipeline, ask

LOST = [
    {"role": "user", "content": "I lost my red umbrella on the pier.", "id": "umbrella"},
    {"role": "character", "content": "The lamp needs oil before the winter.", "id": "lamp"},
    {"role": "user", "content": "My brother sails a small white boat.", "id": "boat"},
    {"role": "character", "content": "등대 열쇠는 화분 밑에 있어.", "id": "key"},
    {"role": "user", "content": "Let us cook soup with leeks tonight.", "id": "soup"},
]
TALK = [
    {"role": role, "content": f"{word} " * 120}
    for word in ("wind", "rain", "snow", "fog", "hail", "sun")
    for role in ("user", "character")
]


class Watched(ScriptedLLM):
    """Counts the pieces that are taken of it, and knows when it is closed."""

    seen: list[str] = []  # noqa: RUF012 - pydantic copies it

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[str]:
        try:
            for piece in ("one ", "two ", "three "):
                self.seen.append(piece)
                yield piece
        finally:
            self.seen.append("closed")


@pytest.mark.parametrize(("wanted", "seen"), [(1, ["one "]), (2, ["one ", "two "])])
async def test_the_stream_is_closed_at_once_where_nothing_more_is_kept(
    wanted: int, seen: list[str]
) -> None:
    llm, heard = Watched(), []

    def hear(piece: str) -> bool:
        heard.append(piece)
        return len(heard) < wanted

    written = await generate_text(llm, "x", stop=[], sampling={}, hear=hear)
    assert llm.seen == [*seen, "closed"], "and not when somebody collects it"
    assert (written.text, written.error) == ("".join(seen), None)


class Slow(ScriptedLLM):
    """Says a whole reply after .4 seconds."""

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[str]:
        await asyncio.sleep(0.4)
        yield self.replies.pop(0)


async def test_the_second_attempt_has_what_the_first_left_of_the_deadline(
    make_pipeline: MakePipeline,
) -> None:
    live = make_pipeline(Slow(replies=["민준: 안녕.", "왔어?"])).services
    [model] = live.models.offered
    pipeline = Pipeline(replace(live, models=Models((replace(model, deadline=0.6),))))
    response = await pipeline.chat(ask(respond_as="character", user_name="민준"))
    assert "not complete in time" in response["error"]


@pytest.mark.parametrize(
    ("message", "memory"),
    [
        ("Where is my umbrella, the red one?", "umbrella"),
        ("What does my brother sail?", "boat"),
        ("등대 열쇠는 어디 있어?", "key"),
        ("What does the lamp need before winter?", "lamp"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_scripted_model_quotes_the_best_memory_of_its_prompt(
    message: str, memory: str, seed: int, make_pipeline: MakePipeline
) -> None:
    answer = await make_pipeline(llm_context=2048).chat(
        ask(message, history=LOST + TALK, respond_as="character", gen={"seed": seed},
            chat_rag_config={"top_k": 5})
    )  # fmt: skip
    used = [item for item in answer["retrieved"] if item["source"] == "chat" and item["used"]]
    assert len(used) > 1
    best = max(used, key=lambda item: item["score"] or 0)
    assert best["id"] == memory
    assert best["text"] in "".join(piece["text"] for piece in answer["response_contents"])
