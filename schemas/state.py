"""The two lifetimes of the graph: State (one turn) and Context (the knobs of a run)."""

from __future__ import annotations

import operator
from typing import Annotated, Literal, Required

from langgraph.channels import UntrackedValue
from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from language.script import Script
from schemas.base import Strict
from schemas.errors import BadRequest
from schemas.rag import ChatRAGResult, Lore, PromptBuildOutput, PromptPlan, Search, StoryRAGResult
from schemas.request import ChatRequest, Speaker, Writer
from schemas.response import ChatResponse, ParsedReply, Usage


class Evidence(Strict):
    """One reason for the choice of the speaker."""

    name: str
    value: float
    weight: float
    contribution: float = Field(0.0, description="value x weight; above 0 for the narrator.")
    about: str = Field("", description="What it measures, in words.")


class SecondOpinion(Strict):
    """What the language model said when it was asked who answers."""

    said: str = Field("", description="Its words, cut short.")
    decided: Speaker | None = Field(None, description="Unset: the evidence decided.")
    why_not: str = Field("", description="Why the evidence decided after all.")
    milliseconds: float = Field(ge=0)


class Route(Strict):
    """Who answers, and why."""

    responded_as: Writer
    confidence: float = Field(ge=0, le=1)
    reason: str
    evidence: list[Evidence] = Field(default_factory=list)
    next_speaker: str | None = None
    note: str = Field("", description="What the user said out of character.")
    shows: bool = Field(False, description="That asks to be shown something; the scene stays.")
    second_opinion: SecondOpinion | None = Field(None, description="Unset: nobody was asked.")


class StoryProgress(Strict):
    """Where the story stands; sent back as `meta.story` with the next turn, it paces the story."""

    position_before: int
    position_after: int
    event: str | None = Field(None, description="Id of the event that this turn brings about.")
    passed: list[str] = Field(default_factory=list, description="Events that passed on the way.")
    next: str | None = Field(None, description="Id of the event that is waited for.")
    score: float = Field(ge=0, le=1)
    distance: float = Field(ge=0, le=1, description="Of the next trigger: 0 here, 1 nowhere near.")
    turns_since: int | None = Field(None, ge=0, description="Turns since an event was reached.")
    due: int | None = Field(None, description="Order up to which the story was told already.")
    why: str


class Generation(Strict):
    """What the model wrote, before it is read; `error` when it could not."""

    text: str = ""
    finish_reason: Literal["stop", "length", "error"] = "stop"
    usage: Usage | None = None
    error: str | None = None
    retryable: bool = Field(True, description="Whether the same request may succeed later.")
    given_up: list[str] | None = Field(
        None,
        description="What was cut from a first reply of which nothing could be kept; unset: there "
        "was none.",
    )


class State(TypedDict, total=False):
    """One turn. Each key has one writer, named behind it."""

    request: Required[ChatRequest]  # the caller
    script: Script  # embed: of the chat, which decides who reads it
    query: Annotated[Search, UntrackedValue]  # embed
    lore: Lore  # plan_prompt
    plan: Annotated[PromptPlan, UntrackedValue]  # plan_prompt
    chat: ChatRAGResult  # retrieve_chat
    unread: Annotated[list[str], UntrackedValue]  # retrieve_chat: texts to embed after the reply
    recalled_from: str | None  # retrieve_chat: the memory; another one once it was forgotten
    story: StoryRAGResult  # retrieve_story
    story_script: Script  # retrieve_story: of the reader of the story
    unread_story: Annotated[list[str], UntrackedValue]  # retrieve_story: texts for that reader
    route: Route  # route
    progress: StoryProgress | None  # route; None where no story runs
    prompt: PromptBuildOutput  # build_prompt
    generation: Generation  # generate
    reply: Annotated[ParsedReply, UntrackedValue]  # generate: as it was read while it was written
    response: ChatResponse  # parse_reply
    timing: Annotated[dict[str, float], operator.or_]  # every node: its own milliseconds


class Context(Strict):
    """Knobs of one run; a request's own choice comes before them."""

    chat_top_k: int = Field(8, ge=0, le=50, description="Memories recalled at most.")
    chat_score_threshold: float = Field(0.0, ge=0, le=1, description="Weaker ones are dropped.")
    chat_neighbours: int = Field(
        1, ge=0, le=3, description="Messages on each side that a memory brings along, if they fit."
    )
    chat_recency: float = Field(
        0.0, ge=0, le=1, description="Added to the evidence of the newest memory, the oldest none."
    )
    chat_in_scene: float = Field(
        0.0, ge=0, le=1, description="Added to the evidence of memories of the running scene."
    )
    story_top_k: int = Field(5, ge=0, le=50, description="Story events recalled at most.")
    story_score_threshold: float = Field(0.0, ge=0, le=1, description="Weaker ones are dropped.")
    max_new_tokens: int | None = Field(
        None, ge=1, le=4096, description="Length of the reply in tokens; unset: the model's own."
    )
    narrator_plays_people: bool = Field(
        False, description="The narrator also speaks for minor persons, as a game master does."
    )
    second_opinion: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Confidence (.5 to 1) below which the model is asked who answers; 0: never; "
        "unset: as the operator chose.",
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="Unset: the model's own recommendation."
    )


def context_of(request: ChatRequest, context: Context | None) -> Context:
    """The knobs of a turn: what the request sets, else what the run sets, else the defaults. What
    `gen` sets is compared with the model's own recommendation, where the model is chosen."""
    chat, story = request.chat_rag_config, request.story_rag_config
    asked = {
        "chat_top_k": chat.top_k,
        "chat_score_threshold": chat.score_threshold,
        "chat_neighbours": chat.neighbours,
        "chat_recency": chat.recency,
        "chat_in_scene": chat.in_scene,
        "story_top_k": story.top_k,
        "story_score_threshold": story.score_threshold,
        "narrator_plays_people": request.narrator_plays_people,
    }
    chosen = {name: value for name, value in asked.items() if value is not None}
    return (context or Context()).model_copy(update=chosen)


def request_of(state: State) -> ChatRequest:
    """The turn's request; Studio and notebooks may send it as plain JSON.

    Raises:
        BadRequest: it is no request; names the field.
    """
    try:
        return ChatRequest.model_validate(state["request"])
    except ValidationError as error:
        raise BadRequest.from_validation(error, ChatRequest) from None
