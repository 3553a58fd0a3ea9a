"""Which of the known shapes a job has. Pure: the parts are checked where they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from schemas.errors import BadRequest

Question = Literal["/v1/models", "/schema", "/health"]

_CHAT = "/v1/chat/completions"
_FORGET = "/forget"
_QUESTIONS: tuple[Question, ...] = ("/v1/models", "/schema", "/health")


@dataclass(frozen=True, slots=True)
class ChatJob:
    """A native request."""

    payload: dict[str, Any]
    streaming: bool


@dataclass(frozen=True, slots=True)
class CompletionJob:
    """The body of an OpenAI chat completion."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ForgetJob:
    """A chat whose standing memory shall be gone."""

    body: dict[str, Any]


Job = ChatJob | CompletionJob | ForgetJob | Question


def read_job(job: object) -> Job:
    """What a job asks for.

    Raises:
        BadRequest: names the field and the cure.
    """
    payload = job.get("input") if isinstance(job, dict) else None
    if not isinstance(payload, dict):
        raise BadRequest("must be a JSON object with `message` and `persona`", field="input")
    if "openai_route" in payload or "openai_input" in payload:
        route = payload.get("openai_route") or _CHAT
        return _routed("openai_route", route, "openai_input", payload.get("openai_input"))
    if "route" in payload:
        return _routed("route", payload["route"], "body", payload.get("body"))
    streaming = payload.get("stream", False)
    if not isinstance(streaming, bool):
        raise BadRequest("must be true or false", field="stream")
    return ChatJob({key: value for key, value in payload.items() if key != "stream"}, streaming)


def _routed(field: str, route: object, body_field: str, body: object) -> Job:
    for question in _QUESTIONS:
        if route == question:
            return question
    if route not in (_CHAT, _FORGET):
        known = ", ".join((_CHAT, _FORGET, *_QUESTIONS))
        raise BadRequest(f"unknown; known are {known}", field=field)
    if route == _FORGET:
        if not isinstance(body, dict):
            raise BadRequest("must be a JSON object with the chat's ids", field=body_field)
        return ForgetJob(body)
    if not isinstance(body, dict) or not body:
        raise BadRequest("must be a JSON object with `model` and `messages`", field=body_field)
    return CompletionJob(body)


def hears_events(job: object) -> bool:
    """Whether an OpenAI client reads the job's outputs as server-sent events."""
    try:
        read = read_job(job)
    except BadRequest:
        return False
    return isinstance(read, CompletionJob) and read.body.get("stream") is True
