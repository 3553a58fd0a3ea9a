"""The response: what a backend gets back for one turn."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict
from schemas.request import Speaker


class ResponseContent(Strict):
    """A piece of the reply; the spans of all pieces join to the whole text."""

    type: Literal["narration", "dialogue", "action", "thought"]
    speaker: str
    text: str
    span: tuple[int, int] = Field(description="Start and end in the reply, in characters.")


class Usage(Strict):
    """Tokens of the call, as the server counted them, else estimated."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)
    cached_tokens: int | None = Field(None, ge=0, description="Prompt tokens found in its cache.")
    estimated: bool = False


class RetrievalItem(Strict):
    """A memory or an event that was found, and what became of it."""

    id: str
    source: Literal["chat", "story"]
    text: str
    score: float | None = Field(None, ge=0, le=1)
    used: bool = Field(description="Whether it went into the prompt.")
    why: list[str] = Field(default_factory=list, description="Why found, or why not used.")


class ModelInfo(Strict):
    """Which model answered, and how it ended."""

    name: str
    backend: str
    format: str
    finish_reason: str | None = None


class Timing(Strict):
    """Milliseconds of the turn and of each node."""

    total: float = Field(ge=0)
    nodes: dict[str, float] = Field(default_factory=dict)


class ChatResponse(Strict):
    """One answered turn."""

    session_id: str
    responded_as: Speaker = "character"
    response_contents: list[ResponseContent]
    usage: Usage | None = None
    retrieved: list[RetrievalItem] = Field(default_factory=list)

    model_info: ModelInfo | None = None
    timing: Timing | None = None
    error: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict)
