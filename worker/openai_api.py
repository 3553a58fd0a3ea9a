"""OpenAI's chat completions, to a ChatRequest and from a ChatResponse. Knows nothing of Runpod.

    {"model": "<a character, or a model on offer>", "messages": [...], "stream": true,
     "persona": {...}, "story": [...], "story_position": 3, ...}

`model` names a character of the operator's folder; or, where `persona` is sent, a language model
on offer (`iyagi` is the default one). The last message is the user's turn, those before it are the
history: `assistant` speaks as the character, or with the name `narrator` as the narrator. Whatever
else a ChatRequest has can stand beside them: in OpenAI's Python client that is `extra_body`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, FailFast, Field, ValidationError

from schemas.base import Name, Strict, Text
from schemas.errors import BadRequest, unknown_field
from schemas.request import MAX_HISTORY, ChatRequest, GenConfig, check_size
from worker.characters import Character

ANY_MODEL = "iyagi"
"""The `model` of a client that sends a persona and leaves the language model to the server."""

_SAMPLING = GenConfig.model_fields.keys() - {"max_new_tokens", "stop"}
_PASSED = ChatRequest.model_fields.keys() - {"message", "history", "model", "gen"}
"""Fields of ours that stand beside OpenAI's, checked as parts of the ChatRequest."""

_UNUSED = {
    *("logit_bias", "reasoning_effort", "verbosity", "service_tier", "store", "metadata"),
    *("modalities", "top_logprobs", "prompt_cache_key", "safety_identifier"),
    *("tool_choice", "parallel_tool_calls"),
}
"""Fields of OpenAI's API that mean nothing to a character: many clients send them always."""


def _text_of(content: object) -> object:
    """Content parts as one text; only text can be read. Clients send null for no text."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("has a part that is not text; only text can be read here")
    return "\n".join(map(str, texts))


class CompletionMessage(Strict):
    """One message of OpenAI's format."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text, BeforeValidator(_text_of)]
    name: Name | None = None


class CompletionRequest(Strict, extra="allow"):
    """The body of a chat completion; beside OpenAI's fields those of a ChatRequest."""

    __pydantic_extra__: dict[str, Any]

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[CompletionMessage], FailFast()] = Field(
        min_length=1, max_length=MAX_HISTORY + 1
    )
    stream: bool = False
    stream_options: dict[str, Any] = Field(default_factory=dict)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] = Field(default_factory=list)
    user: str | None = Field(None, description="As in OpenAI's API; the same as `user_id`.")
    n: Literal[1] = 1

    frequency_penalty: float | None = Field(None, description="Taken and not used.")
    presence_penalty: float | None = Field(None, description="Taken and not used.")
    logprobs: Literal[False] | None = None
    tools: list[Any] = Field(default_factory=list, max_length=0, description="None can be called.")
    response_format: dict[Literal["type"], Literal["text"]] = Field(default_factory=dict)


def read_completion(body: dict[str, Any]) -> CompletionRequest:
    """The body of a chat completion; fields that are null or mean nothing here count as not sent.

    Raises:
        BadRequest: names the field and the cure.
    """
    check_size(body)
    sent = {key: value for key, value in body.items() if value is not None and key not in _UNUSED}
    known = CompletionRequest.model_fields.keys() | _SAMPLING | _PASSED
    if unknown := sorted(sent.keys() - known):
        raise BadRequest(unknown_field(unknown[0], known), field=unknown[0])
    try:
        return CompletionRequest.model_validate(sent)
    except ValidationError as error:
        raise BadRequest.from_validation(error, CompletionRequest) from None


def chat_request(
    asked: CompletionRequest, offered: Sequence[str], character: Callable[[str], Character]
) -> dict[str, Any]:
    """The ChatRequest, as data, that a completion asks for.

    Args:
        offered: names of the language models.
        character: loads a character by name; raises BadRequest where there is none. It may block.

    Raises:
        BadRequest: the last message is not the user's, or there is no such character.
    """
    *before, last = asked.messages
    if last.role != "user":
        place = f"messages.{len(before)}.role"
        raise BadRequest("the last message must be the user's", field=place)
    beside = asked.__pydantic_extra__
    given = {name: beside[name] for name in _PASSED & beside.keys()}
    if "persona" not in given:
        persona, story = character(asked.model)
        given["persona"] = persona.model_dump(mode="json")
        if story:  # as objects: reading thousands of entries again would take a while
            given["story"] = [*story, *given.get("story", [])]
    elif asked.model in offered:
        given["model"] = {"name": asked.model}
    elif asked.model != ANY_MODEL:
        known = ", ".join([ANY_MODEL, *offered])
        raise BadRequest(
            f"is not offered here; with a persona, choose among: {known}", field="model"
        )
    if asked.user and "user_id" not in given:
        given["user_id"] = asked.user
    if last.name and "user_name" not in given:
        given["user_name"] = last.name
    return {
        "message": last.content,
        "history": [_line(message) for message in before],
        "gen": _sampling(asked),
        **given,
    }


def _line(message: CompletionMessage) -> dict[str, Any]:
    """A message as a line of the history."""
    roles = {"user": "user", "assistant": "character"}
    role = roles.get(message.role, "system")
    if role == "character" and (message.name or "").lower() == "narrator":
        return {"role": "narrator", "content": message.content}
    return {"role": role, "content": message.content, "name": message.name}


def _sampling(asked: CompletionRequest) -> dict[str, Any]:
    gen = {name: value for name, value in asked.__pydantic_extra__.items() if name in _SAMPLING}
    length = asked.max_completion_tokens or asked.max_tokens
    if length is not None:
        gen["max_new_tokens"] = length
    if asked.stop:
        gen["stop"] = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    return gen


def completion(response: dict[str, Any], model: str) -> dict[str, Any]:
    """A ChatResponse as a chat completion; the whole response stands beside it as `iyagi`."""
    text = "".join(piece["text"] for piece in response["response_contents"])
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": None,
        "finish_reason": _finish_reason(response),
    }
    return {
        **_head("chat.completion", model),
        "choices": [choice],
        "usage": _usage(response),
        "iyagi": response,
    }


async def completion_stream(
    events: AsyncIterator[dict[str, Any]], model: str, *, include_usage: bool = False
) -> AsyncIterator[str]:
    """The events of a turn as server-sent events, each a whole `data: ...` with its blank line.

    The chunk that ends the reply carries the whole ChatResponse as `iyagi`. An error of the turn is
    raised: its sender knows how to tell it (`error_event`).
    """
    head = _head("chat.completion.chunk", model)

    def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _sse({**head, "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    async for event in events:
        if event["type"] == "token":
            yield chunk({"content": event["text"]})
        elif event["type"] == "final":
            response = event["response"]
            yield chunk({}, _finish_reason(response), iyagi=response)
            if include_usage:
                yield _sse({**head, "choices": [], "usage": _usage(response)})
    yield "data: [DONE]\n\n"


def error_event(error: dict[str, Any]) -> str:
    """A failure, `{code, message, field, retryable}`, as the last server-sent event."""
    return _sse(error_body(error))


def error_body(error: dict[str, Any]) -> dict[str, Any]:
    """A failure as OpenAI's clients read it."""
    kind = "server_error" if error["retryable"] else "invalid_request_error"
    told = {"message": error["message"], "code": error["code"], "param": error["field"]}
    return {"error": {**told, "type": kind}}


def model_list(names: Sequence[str]) -> dict[str, Any]:
    """What `/v1/models` answers."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "iyagi"} for name in names]
    return {"object": "list", "data": data}


def _head(kind: str, model: str) -> dict[str, Any]:
    name = f"chatcmpl-{uuid.uuid4().hex}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": model}


def _finish_reason(response: dict[str, Any]) -> str:
    """`stop`, `length`, or `error` for a reply that broke off."""
    return str((response.get("model_info") or {}).get("finish_reason") or "stop")


def _usage(response: dict[str, Any]) -> dict[str, Any] | None:
    usage = response.get("usage")
    if not usage:
        return None
    counted = {key: usage[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return counted | {"prompt_tokens_details": {"cached_tokens": usage.get("cached_tokens") or 0}}


def _sse(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
