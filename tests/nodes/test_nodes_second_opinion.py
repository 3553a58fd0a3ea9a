"""The model is asked who answers: when, with what, and what becomes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.outputs import Generation, LLMResult
from pydantic import PrivateAttr

from llm.openai_server import OpenAIServerLLM
from nodes import second_opinion
from nodes.second_opinion import named
from schemas.errors import LLMError
from schemas.request import Speaker
from schemas.state import Context
from tests.llm.fake_openai_server import Behaviour, FakeServer, mute, say
from tests.support import MakePipeline, RecordingLLM, ask


@pytest.mark.parametrize(
    ("said", "speaker"),
    [
        ("Narrator", "narrator"),
        (" **narrator**: The", "narrator"),
        ("Narr", "narrator"),
        ("Na", None),
        ("Nara", "character"),
        ("Nar", None),
        ("Nobody", None),
        ("", None),
        ("Both Nara and Narrator", None),
    ],
)
def test_which_name_an_answer_begins_with(said: str, speaker: Speaker | None) -> None:
    assert named(said, character="Nara", narrator="Narrator") == speaker


@pytest.mark.parametrize(
    ("said", "speaker"),
    [
        ("내레이터", "narrator"),
        ("내레", "narrator"),
        ("내가 보기에는", None),
        ("내", None),
        ("「하늘이」", "character"),
        ("하늘이 말합니다", "character"),
        ("하", None),
    ],
)
def test_which_korean_name_an_answer_begins_with(said: str, speaker: Speaker | None) -> None:
    assert named(said, character="하늘이", narrator="내레이터") == speaker


def test_a_name_of_one_syllable_is_enough_and_equal_names_tell_nothing() -> None:
    assert named("솔", character="솔", narrator="내레이터") == "character"
    assert named("Narrator", character="narrator", narrator="Narrator") is None


class Asked(RecordingLLM):
    """Answers the question by a coroutine of its own, and keeps what it was given for it."""

    answer: Callable[[], Awaitable[str]]
    _given: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    async def _agenerate(
        self, prompts: list[str], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        self._given.append({**kwargs, "stop": stop, "prompt": prompts[0]})
        return LLMResult(generations=[[Generation(text=await self.answer())]])


def saying(text: str) -> Asked:
    async def answer() -> str:
        return text

    return Asked(answer=answer)


def failing(error: Exception) -> Asked:
    async def answer() -> str:
        raise error

    return Asked(answer=answer)


async def hang() -> str:
    await asyncio.sleep(60)
    return "Narrator"


async def test_nobody_is_asked_unless_the_operator_chose_so(make_pipeline: MakePipeline) -> None:
    llm = saying("내레이터")
    answer = await make_pipeline(llm).chat(ask("저기요?"))
    assert (llm._given, answer["meta"]["route"]["second_opinion"]) == ([], None)


@pytest.mark.parametrize(("said", "speaker"), [("내레이터", "narrator"), ("하늘", "character")])
async def test_the_model_decides_what_is_uncertain(
    said: str, speaker: str, make_pipeline: MakePipeline
) -> None:
    llm = saying(said)
    answer = await make_pipeline(llm, second_opinion=1.0).chat(ask("저기요?"))
    route = answer["meta"]["route"]
    assert (answer["responded_as"], route["responded_as"]) == (speaker, speaker)
    assert route["second_opinion"]["said"] == said
    assert route["second_opinion"]["decided"] == speaker
    assert said in route["reason"] and route["evidence"]
    [reply] = llm.prompts
    assert reply.endswith(f"{said}:")
    asked = llm._given[0]["prompt"]
    assert reply.startswith(asked[: asked.rindex("저기요?")] + "저기요?\n\n[")
    assert route["confidence"] < 0.5 if speaker == "narrator" else route["confidence"] > 0.5


async def test_it_is_asked_greedily_whatever_the_request_wants(
    make_pipeline: MakePipeline,
) -> None:
    llm = saying("내레이터")
    pipeline = make_pipeline(llm, second_opinion=1.0)
    first = await pipeline.chat(ask(gen={"seed": 1, "temperature": 1.5}))
    again = await pipeline.chat(ask(gen={"seed": 2, "temperature": 1.5}))
    assert llm._given[0] == llm._given[1]
    given = llm._given[0]
    assert (given["temperature"], given["seed"], given["choice"]) == (0.0, 0, ["하늘", "내레이터"])
    assert "\n" in given["stop"] and given["max_new_tokens"] <= 8
    assert first["responded_as"] == again["responded_as"] == "narrator"


@pytest.mark.parametrize(
    ("llm", "why"),
    [
        (saying("글쎄요."), "neither"),
        (saying(""), "neither"),
        (failing(LLMError("the server is down")), "the server is down"),
        (failing(RuntimeError("a secret")), "RuntimeError"),
        (Asked(answer=hang), "no answer within"),
    ],
)
async def test_the_evidence_decides_where_the_model_does_not(
    llm: Asked, why: str, make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_opinion, "SECONDS", 0.05)
    without = await make_pipeline(RecordingLLM()).chat(ask())
    answer = await make_pipeline(llm, second_opinion=1.0).chat(ask())
    route = answer["meta"]["route"]
    assert answer["error"] is None and answer["response_contents"]
    assert why in route["second_opinion"]["why_not"]
    assert "secret" not in str(route)
    assert route["second_opinion"]["decided"] is None
    for key in ("responded_as", "confidence", "reason"):
        assert route[key] == without["meta"]["route"][key]


@pytest.mark.parametrize(
    "fields",
    [
        {"respond_as": "narrator"},
        {"respond_as": "character"},
        {"message": "/narrate 비가 온다."},
        {"message": "/as 하늘 안녕?"},
        {"message": "[OOC: 장면을 묘사해 줘]"},
    ],
)
async def test_what_somebody_decided_is_never_asked(
    fields: dict[str, Any], make_pipeline: MakePipeline
) -> None:
    llm = saying("내레이터")
    await make_pipeline(llm, second_opinion=1.0).chat(ask() | fields)
    assert llm._given == []


async def test_an_event_that_is_reached_is_the_narrators_without_asking(
    make_pipeline: MakePipeline,
) -> None:
    told = "the old bell rings"
    event = {"id": "bell", "order": 1, "text": told, "trigger": told}
    llm = saying("하늘")
    answer = await make_pipeline(llm, second_opinion=1.0).chat(
        ask("*I pull the rope and the old bell rings.*", story=[event], story_position=0)
    )
    assert answer["meta"]["story"]["event"] == "bell"
    assert (answer["responded_as"], llm._given) == ("narrator", [])


async def test_a_run_may_overrule_the_operator(make_pipeline: MakePipeline) -> None:
    llm = saying("내레이터")
    pipeline = make_pipeline(llm, second_opinion=1.0)
    state = await pipeline.graph.ainvoke({"request": ask()}, context=Context(second_opinion=0.0))  # type: ignore[call-overload]
    assert (state["route"].second_opinion, llm._given) == (None, [])


async def test_the_scripted_default_leaves_it_to_the_evidence(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(second_opinion=1.0)
    first, again = [await pipeline.chat(ask()) for _ in range(2)]
    opinion = first["meta"]["route"]["second_opinion"]
    assert (opinion["decided"], bool(opinion["why_not"])) == (None, True)
    assert opinion["said"] == again["meta"]["route"]["second_opinion"]["said"]
    assert first["responded_as"] == again["responded_as"] == "character"


async def test_turns_that_wait_for_an_answer_hold_no_other_turn_up(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_opinion, "SECONDS", 30.0)
    turns, waiting, everybody = 10, 0, asyncio.Event()

    async def answer() -> str:
        nonlocal waiting
        waiting += 1
        if waiting == turns:
            everybody.set()
        await everybody.wait()
        return "내레이터"

    pipeline = make_pipeline(Asked(answer=answer), second_opinion=1.0)
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(pipeline.chat(ask()) for _ in range(turns)))
    assert {a["responded_as"] for a in answers} == {"narrator"}


@pytest.mark.parametrize(
    ("first", "speaker", "seconds"),
    [(say("Narr"), "character", 20.0), (say("내레"), "narrator", 20.0), (mute, "character", 0.3)],
)
async def test_a_real_client_asks_and_then_replies(
    first: Behaviour,
    speaker: str,
    seconds: float,
    make_pipeline: MakePipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(second_opinion, "SECONDS", seconds)
    server = FakeServer()
    await server.start()
    llm = OpenAIServerLLM(base_url=server.url, model="m")
    try:
        server.will(say("warm"), first, say("*끄덕인다.*"))
        assert await llm.ainvoke("Hello") == "warm"
        answer = await make_pipeline(llm, second_opinion=1.0).chat(ask())
        assert (answer["responded_as"], answer["error"]) == (speaker, None)
        assert [request["max_tokens"] for request in server.requests[1:]] == [8, 300]
    finally:
        await llm.aclose()
        await server.stop()
