from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from embedding.embedder import Embedder
from schemas.errors import BadRequest, LLMError
from schemas.response import ChatResponse
from schemas.state import Context, State
from tests.support import MakePipeline, RecordingLLM, ask

NODES = [
    "embed",
    "plan_prompt",
    "retrieve_chat",
    "retrieve_story",
    "route",
    "build_prompt",
    "generate",
    "parse_reply",
]


async def test_the_mock_turn_finds_what_it_needs_and_tells_no_secret(
    make_pipeline: MakePipeline, mock_request: dict[str, Any], scripted: RecordingLLM
) -> None:
    demo = mock_request["meta"]["demo"]
    answer = await make_pipeline(scripted).chat(mock_request)

    ChatResponse.model_validate(answer)
    assert answer["error"] is None
    assert answer["responded_as"] == "character"
    delivered = {item["id"] for item in answer["retrieved"] if item["used"]}
    assert set(demo["needs"]) <= delivered
    assert not delivered & set(demo["must_not_tell"])
    events = {event["id"]: event["text"] for event in mock_request["story"]}
    [prompt] = scripted.prompts
    for forbidden in demo["must_not_tell"]:
        assert events[forbidden] not in prompt


async def test_times_of_every_node_and_their_total(make_pipeline: MakePipeline) -> None:
    timing = (await make_pipeline().chat(ask()))["timing"]
    assert sorted(timing["nodes"]) == sorted(NODES)
    assert max(timing["nodes"].values()) <= timing["total"]


async def test_the_spans_of_the_pieces_join_to_the_reply(make_pipeline: MakePipeline) -> None:
    llm = RecordingLLM(replies=["*She nods.* “Of course.” *A pause.*"])
    answer = await make_pipeline(llm).chat(ask("Is it you?"))
    pieces = answer["response_contents"]
    assert {piece["type"] for piece in pieces} >= {"dialogue"}
    assert "".join(piece["text"] for piece in pieces) == "*She nods.* “Of course.” *A pause.*"
    assert [piece["span"][0] for piece in pieces[1:]] == [p["span"][1] for p in pieces[:-1]]


async def test_each_node_writes_only_keys_of_the_state(
    make_pipeline: MakePipeline, mock_request: dict[str, Any]
) -> None:
    declared = set(State.__annotations__)
    state = cast("State", {"request": mock_request})
    stream = make_pipeline().graph.astream(state, context=Context(), stream_mode="updates")
    written = [(name, set(update)) async for part in stream for name, update in part.items()]
    assert sorted(name for name, _ in written) == sorted(NODES)
    for _, keys in written:
        assert keys <= declared
    own = [key for _, keys in written for key in keys - {"timing"}]
    assert len(own) == len(set(own)), "a key has one writer"


async def test_the_graph_takes_plain_json_and_needs_no_context(
    make_pipeline: MakePipeline,
) -> None:
    state = await make_pipeline().graph.ainvoke(cast("State", {"request": ask()}))
    assert state["response"].response_contents


@pytest.mark.parametrize("speaker", ["narrator", "character"])
async def test_respond_as_is_obeyed(make_pipeline: MakePipeline, speaker: str) -> None:
    answer = await make_pipeline().chat(ask(respond_as=speaker))
    assert answer["responded_as"] == speaker
    assert answer["meta"]["route"]["reason"]


async def test_what_stands_in_the_prompt_is_not_recalled_as_well(
    make_pipeline: MakePipeline, mock_request: dict[str, Any]
) -> None:
    answer = await make_pipeline().chat(mock_request)
    first = answer["meta"]["prompt"]["cut"]["verbatim_from"]
    assert 0 < first < len(mock_request["history"])
    verbatim = {message["id"] for message in mock_request["history"][first:]}
    recalled = {item["id"] for item in answer["retrieved"] if item["source"] == "chat"}
    assert recalled and not recalled & verbatim


async def test_a_failing_model_leaves_what_was_found_and_says_why(
    make_pipeline: MakePipeline, mock_request: dict[str, Any]
) -> None:
    llm = RecordingLLM(fail_with=LLMError("the LLM server does not answer", retryable=True))
    answer = await make_pipeline(llm).chat(mock_request)
    assert answer["error"] == "the LLM server does not answer"
    assert answer["response_contents"] == []
    assert answer["retrieved"]


async def test_a_model_that_is_not_offered_is_refused(make_pipeline: MakePipeline) -> None:
    with pytest.raises(
        BadRequest, match=r"^model\.name: is not offered here; choose among: scripted"
    ):
        await make_pipeline().chat(ask(model={"name": "http://169.254.169.254/"}))


async def test_the_same_request_gives_the_same_answer(
    make_pipeline: MakePipeline, mock_request: dict[str, Any]
) -> None:
    pipeline = make_pipeline()
    first, second = [await pipeline.chat(mock_request) for _ in range(2)]
    for answer in (first, second):
        del answer["timing"]
    assert first == second


async def test_debugging_shows_the_prompt_and_the_raw_reply(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline()
    meta = (await pipeline.chat(ask("안녕?", meta={"debug": True, "mine": 1})))["meta"]
    assert "안녕?" in meta["prompt"]["text"] and meta["reply"]["raw"]
    assert meta["request"]["mine"] == 1
    assert "text" not in (await pipeline.chat(ask()))["meta"]["prompt"]


async def test_an_unknown_field_is_refused_by_name(make_pipeline: MakePipeline) -> None:
    with pytest.raises(BadRequest, match=r"persona\.naem"):
        await make_pipeline().chat({"message": "hi", "persona": {"name": "x", "naem": "y"}})


async def test_what_is_remembered_waits_in_front_of_the_embedder(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not in it, where the message of a new turn would be behind it."""
    pipeline = make_pipeline(RecordingLLM(replies=[f"Old reply {row}." for row in range(5)]))
    go_on, begun = asyncio.Event(), list[str]()
    encode = Embedder.aencode_passages

    async def slowly(self: Embedder, texts: Sequence[str]) -> np.ndarray:
        if any("Old reply" in text for text in texts):
            begun.append(texts[-1])
            await go_on.wait()
        return await encode(self, texts)

    monkeypatch.setattr(Embedder, "aencode_passages", slowly)
    for row in range(4):
        await pipeline.chat(ask(f"Question {row}?"))
        await asyncio.sleep(0)
    assert (await pipeline.chat(ask("Are you there?")))["error"] is None
    assert len(begun) == 1
    go_on.set()
    await pipeline.drain()
    assert len(begun) >= 5
