"""The two lifetimes of the graph: State (one turn) and Context (the knobs of a run)."""

from __future__ import annotations

import operator
from typing import Annotated, Literal, Required

import numpy as np
from langgraph.channels import UntrackedValue
from pydantic import Field
from typing_extensions import TypedDict

from schemas.base import Strict
from schemas.rag import ChatRAGResult, PromptBuildOutput, StoryRAGResult
from schemas.request import ChatRequest, Speaker
from schemas.response import ChatResponse, Usage


class Evidence(Strict):
    """One reason for the choice of the speaker."""

    name: str
    value: float
    weight: float


class Route(Strict):
    """Who answers, and why."""

    responded_as: Speaker
    confidence: float = Field(ge=0, le=1)
    reason: str
    evidence: list[Evidence] = Field(default_factory=list)
    next_speaker: str | None = None


class Generation(Strict):
    """What the model wrote, before it is read; `error` when it could not."""

    text: str = ""
    finish_reason: Literal["stop", "length", "error"] = "stop"
    usage: Usage | None = None
    error: str | None = None
    retryable: bool = Field(True, description="Whether the same request may succeed later.")


class State(TypedDict, total=False):
    """One turn. Each key has one writer, named behind it."""

    request: Required[ChatRequest]  # the caller
    query: Annotated[np.ndarray, UntrackedValue]  # embed: (dimension,) float32, unit length
    chat: ChatRAGResult  # retrieve_chat
    story: StoryRAGResult  # retrieve_story
    route: Route  # route
    prompt: PromptBuildOutput  # build_prompt
    generation: Generation  # generate
    response: ChatResponse  # parse_reply
    timing: Annotated[dict[str, float], operator.or_]  # every node: its own milliseconds


class Context(Strict):
    """Knobs of one run; a request's own choice comes before them."""

    chat_top_k: int = Field(8, ge=0, le=50, description="Memories recalled at most.")
    chat_score_threshold: float = Field(0.0, ge=0, le=1, description="Weaker ones are dropped.")
    story_top_k: int = Field(5, ge=0, le=50, description="Story events recalled at most.")
    story_score_threshold: float = Field(0.0, ge=0, le=1, description="Weaker ones are dropped.")
    max_new_tokens: int | None = Field(
        None, ge=1, le=4096, description="Length of the reply in tokens; unset: the model's own."
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="Unset: the model's own recommendation."
    )


def request_of(state: State) -> ChatRequest:
    """The turn's request; Studio and notebooks may send it as plain JSON."""
    return ChatRequest.model_validate(state["request"])
