"""Answers in the shapes that OpenAI's clients read."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal

Kind = Literal["chat.completion", "text_completion"]

DONE = "data: [DONE]\n\n"
"""The end of a stream that went well."""


def completion(
    responses: Sequence[dict[str, Any]], model: str, prompts: Sequence[str] | None = None
) -> dict[str, Any]:
    """Replies as the choices of one completion.

    Args:
        responses: ChatResponses, or answers of plain work (`text`), as data.
        model: what the client called it.
        prompts: for a text completion, what each text is echoed behind; may be empty texts.
    """
    kind: Kind = "chat.completion" if prompts is None else "text_completion"
    choices = []
    for row, response in enumerate(responses):
        text = text_of(response)
        if prompts is None:
            told: dict[str, Any] = {"message": _message(text, response)}
        else:
            told = {"text": prompts[row] + text}
        choices.append(
            {"index": row, **told, "logprobs": None, "finish_reason": _finish_reason(response)}
        )
    body = {**_head(kind, model), "choices": choices, "usage": _usage(responses)}
    turns = [response for response in responses if "response_contents" in response]
    return {**body, "iyagi": turns[0]} if turns else body


def _message(text: str, response: Mapping[str, Any]) -> dict[str, Any]:
    """A reply as a message that can be sent back as it is; the narrator's says so."""
    message = {"role": "assistant", "content": text, "refusal": None}
    narrates = response.get("responded_as") == "narrator"
    return {**message, "name": "narrator"} if narrates else message


async def chunks(
    events: AsyncIterator[tuple[int, dict[str, Any]]],
    model: str,
    *,
    choices: int = 1,
    include_usage: bool = False,
    prompts: Sequence[str] | None = None,
) -> AsyncIterator[str]:
    """The events of one or more replies as server-sent events, each a whole `data: ...` with its
    blank line.

    The chunk that ends the reply of a turn carries the whole ChatResponse as `iyagi`. An error of
    a turn is raised: its sender knows how to tell it (`error_event`).

    Args:
        events: each with the number of its reply.
        choices: how many replies there are.
        prompts: as for `completion`.
    """
    head = _head("chat.completion" if prompts is None else "text_completion", model, chunk=True)
    finals: list[dict[str, Any]] = []

    def chunk(row: int, text: str | None, reason: str | None = None, **more: Any) -> str:
        if prompts is None:
            told: dict[str, Any] = {"delta": {} if text is None else {"content": text}}
        else:
            told = {"text": text or ""}
        choice = {"index": row, **told, "logprobs": None, "finish_reason": reason}
        return _sse({**head, "choices": [choice], **more})

    for row in range(choices):
        if prompts is None:
            delta = {"role": "assistant", "content": ""}
            choice = {"index": row, "delta": delta, "logprobs": None, "finish_reason": None}
            yield _sse({**head, "choices": [choice]})
        elif prompts[row]:
            yield chunk(row, prompts[row])
    async for row, event in events:
        if event["type"] == "token":
            yield chunk(row, event["text"])
        elif event["type"] == "final":
            response = event["response"]
            finals.append(response)
            more = {"iyagi": response} if "response_contents" in response else {}
            yield chunk(row, None, _finish_reason(response), **more)
    if include_usage:
        yield _sse({**head, "choices": [], "usage": _usage(finals)})
    yield DONE


def text_of(response: Mapping[str, Any]) -> str:
    """What was written."""
    if "text" in response:
        return str(response["text"])
    return "".join(piece["text"] for piece in response["response_contents"])


def error_event(error: Mapping[str, Any]) -> str:
    """A failure, `{code, message, field, retryable}`, as the last server-sent event."""
    return _sse(error_body(error))


def error_body(error: Mapping[str, Any]) -> dict[str, Any]:
    """A failure as OpenAI's clients read it."""
    kind = "server_error" if error["retryable"] else "invalid_request_error"
    told = {"message": error["message"], "code": error["code"], "param": error["field"]}
    return {"error": {**told, "type": kind}}


def model_entry(name: str, greeting: str | None = None) -> dict[str, Any]:
    """One model of the list: a character with its greeting, if it has one, or a language model."""
    entry = {"id": name, "object": "model", "created": 0, "owned_by": "iyagi"}
    return {**entry, "greeting": greeting} if greeting else entry


def model_list(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What `/v1/models` answers."""
    return {"object": "list", "data": list(entries)}


def _head(kind: Kind, model: str, *, chunk: bool = False) -> dict[str, Any]:
    chat = kind == "chat.completion"
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk" if chat and chunk else kind,
        "created": int(time.time()),
        "model": model,
    }


def _finish_reason(response: Mapping[str, Any]) -> str:
    """`stop`, `length`, or `error` for a reply that broke off."""
    told = response.get("finish_reason")
    return str(told or (response.get("model_info") or {}).get("finish_reason") or "stop")


def _usage(responses: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The tokens of all replies together; each had its own prompt."""
    known = [usage for response in responses if (usage := response.get("usage"))]
    if not known:
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counted = {name: sum(usage[name] for usage in known) for name in names}
    cached = sum(usage.get("cached_tokens") or 0 for usage in known)
    return counted | {"prompt_tokens_details": {"cached_tokens": cached}}


def _sse(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
