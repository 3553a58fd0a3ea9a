"""Standing memory through whole turns: kept per chat, never crossing, gone when asked."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding.backends import e5
from graph.pipeline import Pipeline
from graph.settings import ROOT
from llm.scripted import ScriptedLLM
from nodes.embed import search_of
from retrieval.chat import running_chat
from schemas.errors import BadRequest
from schemas.request import ChatRequest
from stores.chat_memory import StandingMemory
from tests.support import MakePipeline, ask

SECRET = "My locker code is 4711, remember it."


async def turn(pipeline: Pipeline, message: str, **fields: Any) -> dict[str, Any]:
    answer = await pipeline.chat(ask(message, **{"user_id": "mina", "session_id": "s1", **fields}))
    await pipeline.drain()
    return answer


def recalled(answer: dict[str, Any]) -> str:
    return " ".join(item["text"] for item in answer["retrieved"])


async def test_a_chat_is_remembered_though_the_backend_sends_no_history(
    make_pipeline: MakePipeline,
) -> None:
    await turn(make_pipeline(standing_memory=True), SECRET)
    again = await turn(make_pipeline(standing_memory=True), "What was my locker code?")
    assert SECRET in recalled(again), "another process remembers it, too"


@pytest.mark.parametrize(
    "other", [{"user_id": "juno"}, {"session_id": "s2"}, {"user_id": "s1", "session_id": "mina"}]
)
async def test_nothing_crosses_to_another_user_or_session(
    make_pipeline: MakePipeline, other: dict[str, str]
) -> None:
    pipeline = make_pipeline(standing_memory=True)
    await turn(pipeline, SECRET)
    assert "4711" not in recalled(await turn(pipeline, "What was my locker code?", **other))


async def test_a_chat_without_an_id_of_its_own_is_not_remembered(
    make_pipeline: MakePipeline,
) -> None:
    pipeline = make_pipeline(standing_memory=True)
    named = []
    for _ in range(3):  # an OpenAI client that names its user, and no chat
        answer = await turn(pipeline, SECRET, session_id=None)
        named.append(answer["session_id"])
    assert len(set(named)) == 3
    memory = pipeline.services.readers["latin"].memory
    assert isinstance(memory, StandingMemory)
    chats = [memory._name("mina", session) for session in named]
    assert [memory._database.state(chat) for chat in chats] == [None] * 3
    await turn(pipeline, SECRET, session_id=named[0])  # sent back, it is the client's own
    assert "4711" in recalled(await turn(pipeline, "My locker code?", session_id=named[0]))


WORDS_LEFT = """
import asyncio, gc, sys
from pathlib import Path
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import Settings
from tests.support import ask

pipeline = Pipeline(make_services(Settings(index_dir=Path(sys.argv[1]), standing_memory=True)))
chat = {"user_id": "mina", "session_id": "s1"}

async def life():
    history = [
        {"role": role, "content": "".join(["xylo", f"phone of {role}. "] * 40)}
        for role in ("user", "character") * 20
    ]
    for message in ("Who has the xylo", "(OOC: no xylo"):
        await pipeline.chat(ask(message + "phone?", **chat, history=history))
    await pipeline.drain()
    assert await pipeline.forget(chat)

asyncio.run(life())
gc.collect()
for holder in gc.get_objects():
    for it in gc.get_referents(holder):
        if isinstance(it, str) and "xylo" "phone" in it and len(it) > 9:
            print(type(holder).__qualname__, it[:90])
for path in Path(sys.argv[1]).iterdir():  # Chroma's own file has free pages of its own
    if path.is_file() and b"xylo" b"phon" in path.read_bytes():
        print("file", path.name)
"""


def test_after_forgetting_no_word_of_the_chat_is_left_in_memory_or_on_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORDS_LEFT, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""


async def test_a_reply_that_is_generated_anew_leaves_no_memory(
    make_pipeline: MakePipeline,
) -> None:
    llm = ScriptedLLM(replies=["The moon is made of cheese.", "The moon is made of rock.", "Yes."])
    pipeline = make_pipeline(llm, standing_memory=True)
    await turn(pipeline, "What is the moon made of?")
    second = await turn(pipeline, "What is the moon made of?")
    assert "cheese" not in recalled(second)
    line = [
        {"role": "user", "content": "What is the moon made of?"},
        {"role": "character", "content": "The moon is made of rock."},
    ]
    third = await turn(pipeline, "Is the moon really made of that?", history=line)
    assert "cheese" not in recalled(third)


async def test_forgetting_is_one_call_and_the_chat_is_gone(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(standing_memory=True)
    await turn(pipeline, SECRET)
    chat = {"user_id": "mina", "session_id": "s1"}
    assert await pipeline.forget(chat) is True
    assert await pipeline.forget(chat) is False
    assert "4711" not in recalled(await turn(pipeline, "What was my locker code?"))


@pytest.mark.parametrize("chat", [None, {}, {"user_id": "mina"}, {"user_id": 1, "session_id": "s"}])
async def test_forgetting_needs_both_ids(make_pipeline: MakePipeline, chat: object) -> None:
    with pytest.raises(BadRequest):
        await make_pipeline(standing_memory=True).forget(chat)


async def test_without_a_memory_there_is_nothing_to_forget(make_pipeline: MakePipeline) -> None:
    with pytest.raises(BadRequest, match="IYAGI_STANDING_MEMORY"):
        await make_pipeline().forget({"user_id": "mina", "session_id": "s1"})


async def test_a_memory_that_fails_costs_itself_only(
    make_pipeline: MakePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make_pipeline(standing_memory=True, chroma_url="http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        answer = await turn(pipeline, SECRET)
    assert answer["error"] is None and answer["response_contents"]
    assert any("no standing memory" in warning for warning in answer["meta"]["warnings"])
    assert "4711" not in caplog.text


async def test_a_named_story_is_told_and_an_unknown_one_refused(
    make_pipeline: MakePipeline,
) -> None:
    with pytest.raises(BadRequest, match=r"story_id: no such story"):
        await turn(make_pipeline(), "Hello", story_id="nowhere")


@pytest.mark.parametrize(
    ("line", "message"),
    [("등대지기의 배는 파란색이야.", "배를 보았어?"), ("His boat is blue.", "Did you see it?")],
    ids=["a Korean chat", "an English chat about a Korean story"],
)
async def test_the_next_turn_knows_the_running_chat(
    line: str, message: str, make_pipeline: MakePipeline
) -> None:
    told = [{"role": "user", "content": line}]
    said = f"*{line}* “Yes.”\n"
    pipeline = make_pipeline(ScriptedLLM(replies=[said, said]))
    story = [{"id": "e1", "order": 1, "text": "등대에 불이 꺼진다."}]
    await turn(pipeline, message, history=told, story=story)
    history = [
        *told,
        {"role": "user", "content": message},
        {"role": "character", "content": said.strip()},
    ]
    request = ChatRequest.model_validate(ask(message, history=history))
    knows = pipeline.services.readers["cjk"].embedder
    assert knows.known([running_chat(request.history)])[1].all()

    new = e5()
    found = await search_of(request, embedder=knows)
    np.testing.assert_array_equal(found.views, (await search_of(request, embedder=new)).views)
