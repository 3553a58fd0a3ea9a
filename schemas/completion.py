"""Plain work of a language model: a text or messages in, a text out; no card, memory or story."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import FailFast, Field, model_validator

from schemas.base import Strict, Text
from schemas.request import MAX_HISTORY, GenConfig, ModelConfig, check_size
from schemas.response import Usage


class CompletionMessage(Strict):
    """One message; those of the system before all others are the system text."""

    role: Literal["system", "user", "assistant"]
    content: Text


class CompletionRequest(Strict):
    """What the model is to do: go on with `prompt` as it is, or answer `messages`."""

    _bounded = model_validator(mode="before")(check_size)

    prompt: str | None = Field(None, min_length=1)
    messages: Annotated[list[CompletionMessage], FailFast()] = Field(
        default_factory=list, max_length=MAX_HISTORY
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    gen: GenConfig = Field(default_factory=GenConfig)

    @model_validator(mode="after")
    def _one_of_two(self) -> CompletionRequest:
        if (self.prompt is None) == (not self.messages):
            raise ValueError("needs either `prompt` or `messages`")
        return self


class CompletionResponse(Strict):
    """What the model wrote."""

    text: str
    finish_reason: Literal["stop", "length", "error"]
    usage: Usage
    error: str | None = None
    retryable: bool = False
