"""LangGraph's own server on our graph, asked by LangGraph's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from graph.app import graph
from graph.settings import ROOT
from schemas.request import ChatRequest
from schemas.state import Context
from tests.studio.studio_server import StudioServer
from tests.support import ask


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    started = StudioServer(tmp_path_factory.mktemp("studio"))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.fixture
async def client(server: StudioServer) -> Any:
    async with get_client(url=server.url, api_key=None) as opened:
        yield opened


@pytest.fixture
async def schemas(client: LangGraphClient) -> Any:
    """What Studio draws its forms from."""
    [assistant] = await client.assistants.search(metadata={"created_by": "system"})
    return await client.assistants.get_schemas(assistant["assistant_id"])


async def run(
    client: LangGraphClient, request: dict[str, Any], assistant: str = "iyagi"
) -> dict[str, Any]:
    """The state at the end, or `__error__`."""
    state: Any = await client.runs.wait(
        None, assistant, input={"request": request}, raise_error=False
    )
    return dict(state)


async def test_the_assistant_is_the_graph_of_langgraph_json(client: LangGraphClient) -> None:
    named = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"]
    assert named == {"iyagi": "graph.studio:graph"}
    [assistant] = await client.assistants.search(metadata={"created_by": "system"})
    assert assistant["graph_id"] == "iyagi"


async def test_every_knob_is_shown_with_its_description_bounds_and_default(
    schemas: dict[str, Any],
) -> None:
    knobs = schemas["context_schema"]["properties"]
    assert set(knobs) == set(Context.model_fields)
    for name, knob in knobs.items():
        assert knob["description"] and "default" in knob, name
        [shape] = [s for s in knob.get("anyOf", [knob]) if s["type"] != "null"]
        assert shape["type"] == "boolean" or {"minimum", "maximum"} <= shape.keys(), name


async def test_the_input_is_one_request_filled_in_with_a_mock_turn(
    client: LangGraphClient, schemas: dict[str, Any]
) -> None:
    properties = schemas["input_schema"]["properties"]
    assert list(properties) == ["request"]
    shown = properties["request"]
    for request in (shown["default"], *shown["examples"]):
        ChatRequest.model_validate(request)
    state = await run(client, shown["default"])
    assert state["response"]["error"] is None
    used = {item["source"] for item in state["response"]["retrieved"] if item["used"]}
    assert used == {"chat", "story"}


async def test_the_picture_is_the_graph(client: LangGraphClient) -> None:
    shown: Any = await client.assistants.get_graph("iyagi")
    drawn = graph.get_graph()
    assert {node["id"] for node in shown["nodes"]} == set(drawn.nodes)
    edges = {(edge["source"], edge["target"]) for edge in shown["edges"]}
    assert edges == {(edge.source, edge.target) for edge in drawn.edges}


async def test_a_streamed_run_shows_each_node_and_the_tokens(
    client: LangGraphClient, mock_request: dict[str, Any]
) -> None:
    tokens, segments, written = "", [], {}
    async for part in client.runs.stream(
        None, "iyagi", input={"request": mock_request}, stream_mode=["custom", "updates"]
    ):
        if part.event == "custom":
            match part.data:
                case {"type": "token", "text": text}:
                    tokens += text
                case {"type": "segment", "content": content}:
                    segments.append(content)
        elif part.event == "updates":
            written.update(part.data)
    assert set(written) == set(graph.get_graph().nodes) - {"__start__", "__end__"}
    contents = written["parse_reply"]["response"]["response_contents"]
    assert segments == contents != []
    assert tokens == "".join(content["text"] for content in contents)
    query = written["embed"]["query"]
    assert query["query"]["views"][0]["text"]
    assert query["message"] == "float32 384"
    assert not longest_row_of_numbers(written) > 2, "a vector is in the way"


def longest_row_of_numbers(value: object) -> int:
    if isinstance(value, dict):
        return max(map(longest_row_of_numbers, value.values()), default=0)
    if isinstance(value, list):
        inner = max(map(longest_row_of_numbers, value), default=0)
        return max(inner, sum(isinstance(item, int | float) for item in value))
    return 0


async def test_an_assistant_with_other_knobs_answers_otherwise(
    client: LangGraphClient, mock_request: dict[str, Any]
) -> None:
    forgetful = await client.assistants.create(
        "iyagi", name="forgetful", context={"chat_top_k": 0, "story_top_k": 1, "max_new_tokens": 9}
    )
    del mock_request["gen"]
    usual, other = await asyncio.gather(
        run(client, mock_request), run(client, mock_request, forgetful["assistant_id"])
    )
    assert usual["chat"]["context"] and not other["chat"]["context"]
    assert len(other["story"]["context"]) < len(usual["story"]["context"])
    assert other["generation"]["finish_reason"] == "length"


WRONG = {
    "persona.nickname: unknown field": ask(persona={"name": "하늘", "nickname": "x"}),
    "message: is empty; write some text": ask(" "),
    "model.name: is not offered here": ask(model={"name": "other"}),
}


async def test_a_bad_request_is_told_in_one_line_that_names_the_field(
    client: LangGraphClient,
) -> None:
    states = await asyncio.gather(*(run(client, request) for request in WRONG.values()))
    for told, state in zip(WRONG, states, strict=True):
        error = state["__error__"]
        assert error["error"] == "BadRequest"
        assert error["message"].startswith(told) and "\n" not in error["message"]


async def test_a_knob_out_of_bounds_is_refused_by_name(client: LangGraphClient) -> None:
    state: Any = await client.runs.wait(
        None, "iyagi", input={"request": ask()}, context={"chat_top_k": 99}, raise_error=False
    )
    assert "chat_top_k" in state["__error__"]["message"]


def test_it_talked_to_nobody_outside(server: StudioServer) -> None:
    assert server.hosts <= {"127.0.0.1", "localhost", "::1"}, server.hosts


async def test_the_servers_log_holds_no_word_of_a_run_that_fails(
    server: StudioServer, client: LangGraphClient
) -> None:
    words = "the-compass-lies-under-the-third-stone"
    spoilings: list[dict[str, Any]] = [
        {"persona": {"name": "x", words: 1}},
        {"history": [{"role": words}]},
    ]
    for spoilt in spoilings:
        request: dict[str, Any] = {"message": words, "persona": {"name": words}, **spoilt}
        with pytest.raises(Exception, match="BadRequest"):
            await client.runs.wait(None, "iyagi", input={"request": request})
    assert "Background run failed" in server.log and "schemas.errors.BadRequest" in server.log
    assert words not in server.log
