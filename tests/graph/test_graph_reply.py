"""A reply that leaves its role: written once more, and never seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
from langchain_core.outputs import GenerationChunk

from graph.pipeline import Pipeline, read_request
from nodes.parse_reply import reply_of
from schemas.models import Models
from schemas.response import ParsedReply
from schemas.state import State
from tests.support import MakePipeline, RecordingLLM, ask

MIN = {"user_name": "민준"}


class Watched(RecordingLLM):
    """Keeps the sampling of every call, and how many pieces were taken of each."""

    sampled: list[dict[str, Any]] = []  # noqa: RUF012 - pydantic copies it
    taken: list[int] = []  # noqa: RUF012

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[GenerationChunk]:
        self.sampled.append({key: kwargs[key] for key in kwargs if key != "messages"})
        self.taken.append(0)
        async for chunk in super()._astream(*args, **kwargs):
            self.taken[-1] += 1
            yield chunk


async def events_of(pipeline: Pipeline, payload: dict[str, Any]) -> tuple[str, list[str], Any]:
    """The text and the pieces that were shown, and the response."""
    text, pieces, response = "", [], None
    async for event in pipeline.stream(payload):
        match event["type"]:
            case "token":
                text += event["text"]
            case "segment":
                pieces.append(event["content"]["text"])
            case "final":
                response = event["response"]
    return text, pieces, response


def text_of(response: dict[str, Any]) -> str:
    return "".join(piece["text"] for piece in response["response_contents"])


@pytest.mark.parametrize(
    "first", ["민준: 나도 갈래.\n하늘", "User : 응.", "Narrator: 밤이다.", " \n"]
)
async def test_a_reply_for_somebody_else_is_written_once_more(
    make_pipeline: MakePipeline, first: str
) -> None:
    llm = RecordingLLM(replies=[first, "*웃는다.* 그래, 같이 가자."])
    text, pieces, response = await events_of(make_pipeline(llm), ask(**MIN))
    assert text == "".join(pieces) == text_of(response) == "*웃는다.* 그래, 같이 가자."
    assert (response["error"], response["meta"]["reply"]["regenerated"]) == (None, True)
    assert response["meta"]["reply"]["cuts"] == []
    assert len(llm.prompts) == 2 and len({*llm.prompts}) == 1, "the cache keeps the prompt"


async def test_what_was_given_up_is_told(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["민준: 안녕.", "하늘: 왔어?"])
    reply = (await make_pipeline(llm).chat(ask(**MIN)))["meta"]["reply"]
    assert (reply["given_up"], reply["cuts"]) == (["user_tag"], ["own_tag"])


async def test_a_clean_reply_is_written_once(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["왔어?"])
    reply = (await make_pipeline(llm).chat(ask(**MIN)))["meta"]["reply"]
    assert (reply["regenerated"], reply["given_up"], len(llm.prompts)) == (False, [], 1)


async def test_a_second_failure_is_said_and_not_tried_again(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["민준: 하나.", "User: 둘.", "셋."])
    text, pieces, response = await events_of(make_pipeline(llm), ask(**MIN))
    assert (text, pieces, response["response_contents"]) == ("", [], [])
    assert "ask again" in response["error"] and response["meta"]["error"]["retryable"]
    assert len(llm.prompts) == 2


async def test_of_a_second_failure_the_characters_own_words_are_kept(
    make_pipeline: MakePipeline,
) -> None:
    llm = RecordingLLM(replies=["민준: 하나.", "민준: 가자.\n하늘: “좋아.” 하늘이 일어선다."])
    text, pieces, response = await events_of(make_pipeline(llm), ask(**MIN))
    assert text == "".join(pieces) == text_of(response) == "“좋아.” 하늘이 일어선다."
    assert response["error"] is None


async def test_both_attempts_are_counted(make_pipeline: MakePipeline) -> None:
    once = await make_pipeline(RecordingLLM(replies=["왔어?"])).chat(ask(**MIN))
    llm = RecordingLLM(replies=["민준:", "왔어?"])
    twice = await make_pipeline(llm).chat(ask(**MIN))
    assert twice["usage"]["prompt_tokens"] == 2 * once["usage"]["prompt_tokens"]
    assert twice["usage"]["completion_tokens"] == 1 + once["usage"]["completion_tokens"]


async def test_the_second_attempt_has_another_seed_and_some_chance(
    make_pipeline: MakePipeline,
) -> None:
    llm = Watched(replies=["민준: 안녕.", "왔어?"] * 2)
    pipeline = make_pipeline(llm)
    await pipeline.chat(ask(**MIN, gen={"seed": 7, "temperature": 0, "top_p": 0.8}))
    await pipeline.chat(ask(**MIN))
    first, second, third, fourth = llm.sampled
    assert (first["seed"], first["temperature"]) == (7, 0)
    assert (second["seed"], second["temperature"], second["top_p"]) == (8, 0.5, 0.8)
    assert "seed" not in third and fourth["seed"] == 1
    assert fourth["temperature"] == third["temperature"]


async def test_a_reply_is_not_written_on_when_nothing_more_of_it_is_kept(
    make_pipeline: MakePipeline,
) -> None:
    """At a tag that no stop string has: the user's beside a bold name, and at the beginning."""
    rest = " 하나 둘 셋" * 100
    llm = Watched(replies=[f"그래.\n**민준**: 응.{rest}"])
    response = await make_pipeline(llm).chat(ask(**MIN))
    assert text_of(response) == "그래."
    assert response["meta"]["reply"]["cuts"] == ["user_tag"]
    assert llm.taken[0] < 20
    assert response["usage"]["estimated"] and 0 < response["usage"]["completion_tokens"] < 60

    llm = Watched(replies=[f"**민준**: 응.{rest}", "왔어?"])
    assert text_of(await make_pipeline(llm).chat(ask(**MIN))) == "왔어?"
    assert llm.taken[-2] < 20


async def test_both_attempts_share_one_deadline(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["민준: 안녕.", "하나 둘 셋 넷 " * 50], delay=0.02)
    pipeline = make_pipeline(llm)
    [model] = pipeline.services.models.offered
    services = replace(pipeline.services, models=Models((replace(model, deadline=0.4),)))
    clock = asyncio.get_running_loop().time
    await Pipeline(services).chat(ask(respond_as="character", **MIN))  # loads what is loaded once
    llm.replies, began = ["민준: 안녕.", "하나 둘 셋 넷 " * 50], clock()
    response = await Pipeline(services).chat(ask(respond_as="character", **MIN))
    assert clock() - began < 2
    assert "not complete in time" in response["error"] and response["meta"]["error"]["retryable"]
    assert text_of(response).startswith("하나 둘"), "what was written before it stays"


async def test_a_failure_is_not_written_again(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["왔어?"] * 3, fail_with=RuntimeError("no"), fail_after=0)
    assert "the model failed" in (await make_pipeline(llm).chat(ask(**MIN)))["error"]
    assert len(llm.prompts) == 1


HISTORY = [
    {"role": "user", "content": "안녕", "name": "민준"},
    {"role": "character", "content": "왔구나.", "name": "하늘"},
    {"role": "character", "content": "나도 왔어.", "name": "두리"},
    {"role": "narrator", "content": "비가 온다.", "name": "이야기꾼"},
]


@pytest.mark.parametrize(
    ("name", "cut", "following"),
    [
        ("두리", "other_tag", "두리"),
        ("민준", "user_tag", None),
        ("이야기꾼", "other_tag", "narrator"),
    ],
)
async def test_everybody_whom_the_history_names_is_known(
    make_pipeline: MakePipeline, name: str, cut: str, following: str | None
) -> None:
    """Behind a list dash and in bold, where no stop string is; the request names no user."""
    llm = RecordingLLM(replies=[f"그래.\n- **{name}**: 응."])
    response = await make_pipeline(llm).chat(ask(respond_as="character", history=HISTORY))
    assert text_of(response) == "그래."
    assert response["meta"]["reply"]["cuts"] == [cut]
    assert response["meta"]["reply"]["next_speaker"] == following


async def test_the_narrators_own_name_is_the_chats(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["**이야기꾼**: 비가 그친다."])
    response = await make_pipeline(llm).chat(ask(respond_as="narrator", history=HISTORY))
    assert text_of(response) == "비가 그친다."
    assert response["meta"]["reply"]["cuts"] == ["own_tag"]


@pytest.mark.parametrize(
    "replies",
    [
        ["*nods* Yes.\n민준: 나도."],
        ["민준: 안녕.", "하늘: 왔어?"],
        ["민준: 안녕.", "민준: 응."],
        ['"Hi."'],
    ],
)
async def test_a_reply_is_read_the_same_while_it_is_written_and_afterwards(
    make_pipeline: MakePipeline, replies: list[str]
) -> None:
    """A run that goes on from a checkpoint has the raw text only."""
    pipeline = make_pipeline(RecordingLLM(replies=replies))
    state = await pipeline.graph.ainvoke({"request": read_request(ask(**MIN))})
    assert isinstance(state["reply"], ParsedReply)
    written = {key: value for key, value in state.items() if key != "reply"}
    assert reply_of(cast("State", written)) == state["reply"]
