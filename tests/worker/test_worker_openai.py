"""OpenAI's clients on the real pipeline: what reaches the model, and what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BadRequest, DeadlineExceeded, LLMError
from tests.support import MakePipeline, RecordingLLM
from worker.dispatch import Dispatcher, hears_events, read_job

JSON = dict[str, Any]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
CARD = {"name": "세라", "first_message": "{{user}}, 왔어?", "description": "{{char}}는 뱃사공이다."}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "characters"
    folder.mkdir()
    (folder / "세라.json").write_text(json.dumps(CARD), encoding="utf-8")
    (folder / "Wren.json").write_text(json.dumps({"name": "Wren"}), encoding="utf-8")
    (folder / "Broken.json").write_text("{", encoding="utf-8")
    return folder


class Door:
    """A dispatcher, and the prompts that its model received."""

    def __init__(self, dispatcher: Dispatcher, llm: RecordingLLM) -> None:
        self.dispatcher, self.llm = dispatcher, llm

    def outputs(self, route: str, **body: Any) -> AsyncGenerator[Any, None]:
        return self.dispatcher.answer({"input": {"openai_route": route, "openai_input": body}})

    async def ask(self, route: str, **body: Any) -> Any:
        told = [output async for output in self.outputs(route, **body)]
        await self.dispatcher.pipeline.drain()
        return told if body.get("stream") else told[0]

    async def chat(self, *messages: JSON, model: str = "iyagi", **beside: Any) -> Any:
        return await self.ask(CHAT, model=model, messages=list(messages), **beside)


@pytest.fixture
def door(make_pipeline: MakePipeline, folder: Path) -> Door:
    llm = RecordingLLM()
    return Door(Dispatcher(make_pipeline(llm, llm_context=4096), folder, deadline=60), llm)


def line(role: str, content: str | None) -> JSON:
    return {"role": role, "content": content}


HI = line("user", "Hi.")
TASK = line("user", "### Task:\nGenerate a title.\n<chat_history>\nUSER: Hi\n</chat_history>")


async def test_who_the_character_is_stays_in_the_prompt_of_a_long_chat(door: Door) -> None:
    card = line("system", "You are Mara. She is afraid of herons.")
    pair = [line("user", "word " * 40), line("assistant", "answer " * 40)]
    told = await door.chat(card, *pair * 80, HI)
    [prompt] = door.llm.prompts
    assert prompt.count("She is afraid of herons.") == 1
    assert prompt.index("herons") < prompt.index("word word") < prompt.rindex("Hi.")
    assert told["choices"][0]["message"]["role"] == "assistant"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_asked_of_a_reply_ends_the_prompt(door: Door, stream: bool) -> None:
    await door.chat(line("system", "You are Mara."), HI, line("system", "Be brief."), stream=stream)
    assert door.llm.prompts[0].index("Hi.") < door.llm.prompts[0].index("Be brief.")


async def test_a_reply_is_gone_on_with(door: Door) -> None:
    door.llm.replies = ["the tide turns."]
    told = await door.chat(line("system", "You are Mara."), HI, line("assistant", "At six "))
    assert door.llm.prompts[0].rstrip().endswith("At six")
    assert told["choices"][0]["message"]["content"] == "the tide turns."


async def test_plain_work_has_no_card_and_no_memory(door: Door) -> None:
    door.llm.replies = ["Title", "Title"]
    told = await door.chat(TASK, model="세라", user="u", session_id="s")
    assert told["choices"][0]["message"]["content"] == "Title" and "iyagi" not in told
    assert "뱃사공" not in door.llm.prompts[0] and "Generate a title." in door.llm.prompts[0]
    streamed = await door.chat(TASK, model="세라", stream=True)
    assert streamed[-1] == "data: [DONE]\n\n" and "Title" in "".join(streamed)


@pytest.mark.parametrize("stream", [False, True])
async def test_several_replies_are_several_choices(door: Door, stream: bool) -> None:
    told = await door.chat(HI, n=3, stream=stream, stream_options={"include_usage": True})
    if not stream:
        assert [choice["index"] for choice in told["choices"]] == [0, 1, 2]
        assert told["usage"]["completion_tokens"] > 3
        return
    *events, end = [json.loads(text[6:]) for text in told[:-1]]
    ends = [it["choices"][0]["index"] for it in events if it["choices"][0]["finish_reason"]]
    assert sorted(ends) == [0, 1, 2] and end["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_of_several_replies_one_that_fails_ends_all(door: Door, stream: bool) -> None:
    door.llm.fail_with, door.llm.fail_after = LLMError("down", retryable=True), 0
    with pytest.raises(LLMError):
        await door.chat(HI, n=3, stream=stream)
    assert door.dispatcher.busy == 0


async def test_a_text_is_completed(door: Door) -> None:
    door.llm.replies = ["there was a lamp."] * 3
    told = await door.ask(COMPLETIONS, model="Wren", prompt=["Once ", "Then "], echo=True)
    assert told["object"] == "text_completion"
    assert [choice["text"].split()[0] for choice in told["choices"]] == ["Once", "Then"]
    assert all(choice["text"].endswith("there was a lamp.") for choice in told["choices"])
    assert sorted(door.llm.prompts) == ["Once ", "Then "]
    streamed = await door.ask(COMPLETIONS, model="iyagi", prompt="Once ", stream=True)
    assert streamed[-1] == "data: [DONE]\n\n"
    assert hears_events({"input": {"openai_route": COMPLETIONS, "openai_input": {"stream": True}}})


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("plain", [False, True])
async def test_who_leaves_ends_the_work(
    make_pipeline: MakePipeline, folder: Path, stream: bool, plain: bool, n: int
) -> None:
    """Whether a client closes the generator or its task is cancelled."""
    begun, ended = asyncio.Event(), asyncio.Event()

    class Waiting(RecordingLLM):
        async def _write(self, prompt: str, *args: Any) -> AsyncGenerator[str, None]:
            begun.set()
            try:
                yield "One "
                await asyncio.sleep(60)
            finally:
                ended.set()

    door = Door(Dispatcher(make_pipeline(Waiting()), folder, deadline=60), Waiting())
    body = {"model": "iyagi", "messages": [TASK if plain else HI], "stream": stream, "n": n}

    async def read() -> None:
        async with aclosing(door.outputs(CHAT, **body)) as outputs:
            async for _ in outputs:
                pass

    task = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), 30)
    task.cancel()
    await asyncio.wait_for(ended.wait(), 5)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert door.dispatcher.busy == 0


async def test_plain_work_has_the_deadline_of_a_job(
    make_pipeline: MakePipeline, folder: Path
) -> None:
    dispatcher = Dispatcher(make_pipeline(RecordingLLM(delay=5)), folder, deadline=1)
    with pytest.raises(DeadlineExceeded):
        await Door(dispatcher, RecordingLLM()).chat(TASK)


async def test_a_long_reply_leaves_room_for_the_chat(door: Door) -> None:
    told = await door.chat(HI, max_tokens=16_000)
    assert told["iyagi"]["meta"]["prompt"]["tokens"]["reserve"] == 1024


async def test_a_card_that_does_not_fit_is_told_in_the_clients_words(door: Door) -> None:
    with pytest.raises(BadRequest) as refused:
        await door.chat(line("system", "You are Mara. " + "She rows. " * 3000), HI)
    assert refused.value.field == "messages"
    assert refused.value.message.startswith("messages: ") and "card" not in refused.value.message


async def test_the_models_are_listed_and_each_answers(door: Door) -> None:
    listed = (await door.ask("/v1/models"))["data"]
    names = [entry["id"] for entry in listed]
    assert names == ["Broken", "Wren", "세라", "scripted", "iyagi"]
    assert {entry["id"]: entry.get("greeting") for entry in listed}["세라"] == "유저, 왔어?"
    for name in names[1:]:
        assert (await door.ask(f"/v1/models/{name.upper()}"))["id"] == name
        told = await door.chat(HI, model=name.upper())
        assert told["model"] == name.upper() and told["choices"][0]["message"]["content"]
    assert (await door.ask("/v1/models/%EC%84%B8%EB%9D%BC"))["id"] == "세라"


@pytest.mark.parametrize("route", ["/v1/models/gpt-4", CHAT, COMPLETIONS])
async def test_an_unknown_model_is_answered_as_openai_does(door: Door, route: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await door.ask(route, model="gpt-4", messages=[HI], prompt="a")
    assert (refused.value.code, refused.value.field) == ("model_not_found", "model")
    assert "on offer: Broken, Wren, 세라, scripted, iyagi" in refused.value.message


@pytest.mark.parametrize("route", ["/v1/responses", "/v1/embeddings", "/chat", "", "/v1/models{"])
def test_an_unknown_route_says_which_there_are(route: str) -> None:
    given = {"openai_route": route or "/", "openai_input": {"model": "iyagi"}}
    with pytest.raises(BadRequest, match="/v1/chat/completions, /v1/completions") as refused:
        read_job({"input": given})
    assert refused.value.code == "not_found"


@pytest.mark.parametrize("route", ["/chat/completions", "/v1/chat/completions/", f"{CHAT}?a=b"])
def test_a_route_is_known_however_a_platform_writes_it(route: str) -> None:
    given = {"openai_route": route, "openai_input": {"model": "iyagi"}}
    assert read_job({"input": given}).route == CHAT


async def test_the_narrator_speaks_only_where_it_is_asked_for(door: Door) -> None:
    scene = line("user", "*I open the door and look around.*")
    told = await door.chat(line("system", "You are Mara."), scene)
    assert told["iyagi"]["responded_as"] == "character"
    told = await door.chat(line("system", "You are Mara."), scene, respond_as="narrator")
    message = told["choices"][0]["message"]
    assert message["name"] == "narrator"
    door.llm.prompts.clear()
    await door.chat(line("system", "You are Mara."), scene, message, HI)
    assert f"Narrator: {message['content'].strip()}" in door.llm.prompts[0]


async def test_narration_stays_narration_when_a_client_sends_it_back(door: Door) -> None:
    scene = line("user", "*I open the door and look around.*")
    told = await door.chat(line("system", "You are Mara."), scene, respond_as="narrator")
    text = told["choices"][0]["message"]["content"].strip()
    door.llm.prompts.clear()
    await door.chat(line("system", "You are Mara."), scene, line("assistant", text), HI)
    assert f"Narrator: {text}" in door.llm.prompts[0]


async def test_a_chat_is_known_again_where_the_user_is(
    make_pipeline: MakePipeline, folder: Path
) -> None:
    pipeline = make_pipeline(RecordingLLM(), standing_memory=True)
    door = Door(Dispatcher(pipeline, folder, deadline=60), RecordingLLM())
    said = [line("user", "The lamp burns."), line("assistant", "I lit it at dusk, as always.")]
    said += [line("user", "Who rows?"), line("assistant", "Old Finn does, on Sundays.")]

    async def session(*messages: JSON, **beside: Any) -> str:
        told = await door.chat(*messages, **beside)
        return str(told["iyagi"]["session_id"])

    first = await session(*said, HI, user="u")
    assert await session(*said[1:], HI, line("assistant", "Aye."), HI, user="u") == first
    assert await session(*said, HI, user="v") != first
    assert (await session(*said, HI)).startswith("new-")
    assert await session(*said, HI, user="u", session_id="mine") == "mine"
    title = await door.chat(TASK, user="u")
    assert "iyagi" not in title
