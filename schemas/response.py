"""The response: what a backend gets back for one turn, and the reply as it was read for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict
from schemas.request import Writer


class ResponseContent(Strict):
    """A piece of the reply; the spans of all pieces join to the whole text."""

    type: Literal["narration", "dialogue", "action", "thought", "status"]
    speaker: str
    text: str
    span: tuple[int, int] = Field(description="Start and end in the reply, in characters.")


Cut = Literal[
    "turn_header",  # the prompt format's own header before the reply
    "thinking",  # hidden reasoning before the reply
    "own_tag",  # `Name:` of the writer
    "user_tag",  # from here the model speaks for the user
    "other_tag",  # from here someone else speaks
    "format_token",
    "stop",  # a stop string that the engine let through
    "notes",  # from here the model copies its prompt's notes and instructions
    "partial_stop",  # the beginning of a token, stop string or tag at the very end
    "quotes",  # one pair of quotation marks around the whole reply
    "unfinished",  # the last sentence, which the token limit broke off
]

FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What is left of a reply, and what was done to it.

    Attributes:
        text: the reply as the user may read it.
        contents: its pieces; their texts join to `text`.
        regenerate: ask the model once more: `text` is empty, or it answers words that the model
            put into somebody else's mouth first.
        next_speaker: the participant, or `narrator`, to whom the model handed over.
        speaks_for_user: whether the narration tells what the user does.
        status: keys and values of its status windows, in order.
        cuts: what was dropped, in the order of its finding; empty for a clean reply.
    """

    text: str
    contents: list[ResponseContent] = field(default_factory=list)
    regenerate: bool = False
    next_speaker: str | None = None
    speaks_for_user: bool = False
    status: tuple[tuple[str, str], ...] = ()
    cuts: tuple[Cut, ...] = ()


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
    responded_as: Writer = "character"
    response_contents: list[ResponseContent]
    usage: Usage | None = None
    retrieved: list[RetrievalItem] = Field(default_factory=list)

    model_info: ModelInfo | None = None
    timing: Timing | None = None
    error: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict)
