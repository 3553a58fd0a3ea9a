"""Gives each job to what answers it, within the deadline of a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from graph.pipeline import Pipeline
from schemas.errors import BadRequest, LLMError
from schemas.request import ChatRequest
from schemas.response import ChatResponse
from worker import characters
from worker.events import Event, paced, within
from worker.health import EventLoopLag
from worker.openai_api import (
    CompletionRequest,
    chat_request,
    completion,
    completion_stream,
    model_list,
    read_completion,
)
from worker.output import Output, shortened

T = TypeVar("T")

WARM_UP = {
    "message": "Is anybody there?",
    "persona": {"name": "Keeper"},
    "history": [{"role": "character", "content": "The lamp is lit."}],
    "story": [{"id": "lamp", "order": 0, "text": "The lamp is lit."}],
    "gen": {"max_new_tokens": 1},
}

CHAT = "/v1/chat/completions"

_BODIES = {
    CHAT: "a JSON object with `model` and `messages`",
    "/forget": "a JSON object with the chat's ids",
    "/v1/models": None,
    "/schema": None,
    "/health": None,
}
"""Known routes, and the body that each needs."""


class Job(NamedTuple):
    """What a job asks for; the parts of the body are checked where they are used."""

    route: str
    """Empty for a request of our own."""
    body: dict[str, Any]


def read_job(job: object) -> Job:
    """Which of the known shapes a job has.

    Raises:
        BadRequest: names the field and the cure.
    """
    payload = job.get("input") if isinstance(job, dict) else None
    if not isinstance(payload, dict):
        raise BadRequest("must be a JSON object with `message` and `persona`", field="input")
    if "openai_route" in payload or "openai_input" in payload:
        place, route, body_place = "openai_route", payload.get("openai_route"), "openai_input"
        route = route or CHAT
    elif "route" in payload:
        place, route, body_place = "route", payload["route"], "body"
    else:
        return Job("", payload)
    if not isinstance(route, str) or route not in _BODIES:
        raise BadRequest(f"unknown; known are {', '.join(_BODIES)}", field=place)
    body, needed = payload.get(body_place), _BODIES[route]
    if needed and not (isinstance(body, dict) and body):
        raise BadRequest(f"must be {needed}", field=body_place)
    return Job(route, body if isinstance(body, dict) else {})


def hears_events(job: object) -> bool:
    """Whether an OpenAI client reads the job's outputs as server-sent events."""
    try:
        route, body = read_job(job)
    except BadRequest:
        return False
    return route == CHAT and body.get("stream") is True


class Dispatcher:
    """Answers jobs with a pipeline.

    Args:
        pipeline: answers the turns.
        characters_dir: the characters that OpenAI clients can name.
        deadline: seconds for one job.
        on_failure: called when a turn failed through no fault of its request.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        characters_dir: Path,
        deadline: float,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.pipeline = pipeline
        self.lag = EventLoopLag()
        self.on_failure = on_failure
        self._running: set[object] = set()
        self._characters = characters_dir
        self._deadline = deadline
        self._since = time.monotonic()

    @property
    def busy(self) -> int:
        """Jobs that are being answered."""
        return len(self._running)

    async def answer(self, job: object) -> AsyncGenerator[Output, None]:
        """What a job yields, in order.

        Raises:
            IyagiError: the job cannot be answered; what was yielded before stands.
        """
        ends = self._begin()
        try:
            async with aclosing(self._outputs(*read_job(job))) as outputs:
                async for output in outputs:
                    yield output
        except BadRequest:
            raise
        except Exception:
            self.on_failure()
            raise
        finally:
            ends()

    def _begin(self) -> Callable[..., None]:
        """Counts a job until what is given is called, or until the task ends that asked for the
        first output: it may leave the others, and this generator unclosed."""
        job, task = object(), asyncio.current_task()
        assert task is not None
        self._running.add(job)

        def ends(_: object = None) -> None:
            self._running.discard(job)

        task.add_done_callback(ends)
        return ends

    async def warm_up(self) -> None:
        """Answers a turn that nobody asked for, so that the first job finds all loaded."""
        async with aclosing(self.pipeline.stream(WARM_UP)) as events:
            async for event in events:
                if event["type"] == "final" and (error := event["response"]["error"]):
                    raise LLMError(error)
        await self.pipeline.drain()

    async def _outputs(self, route: str, body: dict[str, Any]) -> AsyncGenerator[Output, None]:
        match route:
            case "":
                async with aclosing(self._turn(body)) as outputs:
                    async for output in outputs:
                        yield output
            case "/v1/chat/completions":
                async with aclosing(self._completion(read_completion(body))) as outputs:
                    async for output in outputs:
                        yield output
            case "/forget":
                yield {"forgotten": await self._in_time(self.pipeline.forget(body))}
            case "/v1/models":
                folder = await self._in_time(asyncio.to_thread(characters.names, self._characters))
                yield model_list([*folder, *self._offered()])
            case "/schema":
                yield {
                    "request": ChatRequest.model_json_schema(),
                    "response": ChatResponse.model_json_schema(),
                }
            case "/health":
                yield self.health()

    async def _turn(self, payload: dict[str, Any]) -> AsyncGenerator[Output, None]:
        streaming = payload.get("stream", False)
        if not isinstance(streaming, bool):
            raise BadRequest("must be true or false", field="stream")
        payload = {key: value for key, value in payload.items() if key != "stream"}
        if not streaming:
            response = await self._response(payload)
            # The SDK would take a true `error` out and drop all else; `meta.error` tells it.
            yield {**response, "error": None}
            return
        async with aclosing(self._events(payload)) as events:
            seq = 0
            async for event in events:
                yield {"seq": seq, **event}
                seq += 1

    def health(self) -> dict[str, Any]:
        """What a monitor may want to know; nothing of any chat."""
        return {
            "status": "ok",
            "models": self._offered(),
            "jobs": self.busy,
            "uptime_s": round(time.monotonic() - self._since, 1),
            "loop_lag_ms": {
                "p50": round(self.lag.milliseconds(0.5), 1),
                "p99": round(self.lag.milliseconds(0.99), 1),
            },
        }

    async def _completion(self, asked: CompletionRequest) -> AsyncGenerator[Output, None]:
        reading = asyncio.to_thread(
            chat_request,
            asked,
            self._offered(),
            lambda name: characters.load(name, self._characters),
        )
        payload = await self._in_time(reading)
        if not asked.stream:
            yield completion(await self._response(payload), asked.model)
            return
        wants_usage = asked.stream_options.get("include_usage") is True
        async with aclosing(self._events(payload)) as events:
            async for text in completion_stream(events, asked.model, include_usage=wants_usage):
                yield text

    async def _events(self, payload: object) -> AsyncGenerator[Event, None]:
        """The turn's events, gathered for the network."""
        async with aclosing(paced(self.pipeline.stream(payload), self._deadline)) as events:
            async for event in events:
                if event["type"] == "final":
                    event = {**event, "response": self._checked(event["response"])}
                yield event

    async def _response(self, payload: object) -> dict[str, Any]:
        """The turn's response, at once."""
        return self._checked(await self._in_time(self.pipeline.chat(payload)))

    async def _in_time(self, work: Awaitable[T]) -> T:
        """What the work gives, within the deadline of a job."""
        async with within(self._deadline):
            return await work

    def _checked(self, response: dict[str, Any]) -> dict[str, Any]:
        """The response as it can be sent; a failure that left nothing to read is raised."""
        if response["error"]:
            if not response["response_contents"]:
                raise LLMError(response["error"], retryable=response["meta"]["error"]["retryable"])
            self.on_failure()
        return shortened(response)

    def _offered(self) -> list[str]:
        return [model.name for model in self.pipeline.services.models.offered]
