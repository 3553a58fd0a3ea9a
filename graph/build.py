"""The pipeline on one screen: its live objects, nodes and edges.

START ─┬─ embed ───────┬─ retrieve_chat ──┬─ route ─ build_prompt ─ generate ─ parse_reply ─ END
       └─ plan_prompt ─┴─ retrieve_story ─┘
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from langgraph.errors import GraphBubbleUp
from langgraph.graph import END, START, StateGraph
from langgraph.graph._node import StateNode
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from pydantic import Field
from typing_extensions import TypedDict

from graph.settings import ROOT
from nodes import (
    build_prompt,
    embed,
    generate,
    parse_reply,
    plan_prompt,
    retrieve_chat,
    retrieve_story,
    route,
)
from retrieval.index import IndexCache
from routing import LazyExemplars
from schemas.budget import keep_deadline
from schemas.errors import IyagiError, traced
from schemas.models import Models
from schemas.protocols import Reranker
from schemas.readers import Readers
from schemas.request import ChatRequest
from schemas.state import Context, State
from stores.conversations import Conversations

log = logging.getLogger(__name__)

Node = Callable[[State, Runtime[Context]], Awaitable[dict[str, object]]]


@dataclass(frozen=True)
class Services:
    """The live objects of a process."""

    readers: Readers
    reranker: Reranker | None
    indexes: IndexCache
    exemplars: LazyExemplars
    models: Models
    conversations: Conversations


def _fill_in(schema: dict[str, Any]) -> None:
    """Puts the mock requests into the JSON Schema; read only when somebody asks for the schema."""
    folder = ROOT / "data" / "mock"
    schema["examples"] = [
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("sample_request.json", "sample_request.ko.json")
    ]
    schema["default"] = schema["examples"][0]


class Input(TypedDict):
    """One turn to answer; LangGraph Studio shows it filled in with a mock turn."""

    request: Annotated[ChatRequest, Field(json_schema_extra=_fill_in)]


def build_graph(live: Services) -> CompiledStateGraph[State, Context, Input, State]:
    """The compiled graph; it keeps nothing between turns."""
    nodes: dict[str, Node] = {
        "embed": partial(embed.node, readers=live.readers, analyzer=live.indexes.analyzer),
        "plan_prompt": partial(plan_prompt.node, models=live.models),
        "retrieve_chat": partial(
            retrieve_chat.node,
            readers=live.readers,
            reranker=live.reranker,
            indexes=live.indexes,
            models=live.models,
        ),
        "retrieve_story": partial(retrieve_story.node, readers=live.readers, indexes=live.indexes),
        "route": partial(route.node, exemplars=live.exemplars, models=live.models),
        "build_prompt": partial(build_prompt.node, models=live.models),
        "generate": partial(generate.node, models=live.models),
        "parse_reply": partial(parse_reply.node, models=live.models),
    }
    builder = StateGraph(State, context_schema=Context, input_schema=Input)
    for name, node in nodes.items():
        builder.add_node(name, _timed(name, node))

    builder.add_edge(START, "embed")
    builder.add_edge(START, "plan_prompt")
    builder.add_edge(["embed", "plan_prompt"], "retrieve_chat")
    builder.add_edge(["embed", "plan_prompt"], "retrieve_story")
    builder.add_edge(["retrieve_chat", "retrieve_story"], "route")
    builder.add_edge("route", "build_prompt")
    builder.add_edge("build_prompt", "generate")
    builder.add_edge("generate", "parse_reply")
    builder.add_edge("parse_reply", END)
    return builder.compile(name="iyagi")


def _timed(name: str, node: Node) -> StateNode[State, Context]:
    """The node, with its own milliseconds in what it writes; it does not begin behind the turn's
    deadline. An exception leaves it without what it says, since servers and notebooks print that.

    Raises:
        IyagiError: whatever went wrong, safe to show.
    """

    async def run(state: State, runtime: Runtime[Context]) -> dict[str, object]:
        keep_deadline()
        started = time.perf_counter()
        try:
            written = await node(state, runtime)
        except (IyagiError, GraphBubbleUp):
            raise
        except Exception as error:  # noqa: BLE001 - a node may call any library
            log.error("the node %s failed\n%s", name, traced(error))
            told = f"the node {name} failed ({type(error).__name__}); see the log for the cause"
            raise IyagiError(told, retryable=True) from None
        return {**written, "timing": {name: 1000 * (time.perf_counter() - started)}}

    return run
