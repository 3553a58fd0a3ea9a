"""Gives each job to what answers it, within the deadline of a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from graph.pipeline import Pipeline
from openai_api.answer import model_list
from openai_api.errors import NotFound
from openai_api.read import streams
from schemas.errors import BadRequest, LLMError
from schemas.request import ChatRequest
from schemas.response import ChatResponse
from worker.completions import Completions
from worker.health import EventLoopLag
from worker.output import Output
from worker.turns import Turns

WARM_UP = {
    "message": "Is anybody there?",
    "persona": {"name": "Keeper"},
    "history": [{"role": "character", "content": "The lamp is lit."}],
    "story": [{"id": "lamp", "order": 0, "text": "The lamp is lit."}],
    "gen": {"max_new_tokens": 1},
}

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MODELS = "/v1/models"

_BODIES = {
    CHAT: "a JSON object with `model` and `messages`",
    COMPLETIONS: "a JSON object with `model` and `prompt`",
    MODELS: None,
    f"{MODELS}/{{id}}": None,
    "/forget": "a JSON object with the chat's ids",
    "/schema": None,
    "/health": None,
}
"""Known routes, and the body that each needs."""

_OF_MODEL = f"{MODELS}/{{id}}"


class Job(NamedTuple):
    """What a job asks for; the parts of the body are checked where they are used."""

    route: str
    """Empty for a request of our own."""
    body: dict[str, Any]


def read_job(job: object) -> Job:
    """Which of the known shapes a job has.

    Raises:
        BadRequest: names the field and the cure.
        NotFound: there is no such route; says which there are.
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
    known, name = _route(route)
    if known is None:
        raise NotFound(f"unknown; known are {', '.join(_BODIES)}", field=place)
    body, needed = payload.get(body_place), _BODIES[known]
    if needed and not (isinstance(body, dict) and body):
        raise BadRequest(f"must be {needed}", field=body_place)
    if known == _OF_MODEL:
        return Job(known, {"id": name})
    return Job(known, body if isinstance(body, dict) else {})


def _route(route: object) -> tuple[str | None, str]:
    """The known route that is meant, and the name behind it: platforms leave `/v1` out or encode a
    name, and a program may send a query."""
    if not isinstance(route, str):
        return None, ""
    path = route.partition("?")[0]
    if f"/v1{path}".startswith((CHAT, COMPLETIONS, MODELS)):
        path = f"/v1{path}"
    if path.startswith(f"{MODELS}/") and (name := unquote(path.removeprefix(f"{MODELS}/"))):
        return _OF_MODEL, name
    path = path.rstrip("/")
    return (path if path in _BODIES and path != _OF_MODEL else None), ""


def hears_events(job: object) -> bool:
    """Whether an OpenAI client reads the job's outputs as server-sent events."""
    try:
        route, body = read_job(job)
    except BadRequest:
        return False
    return route in (CHAT, COMPLETIONS) and streams(body)


class Dispatcher(Turns):
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
        super().__init__(pipeline, deadline, on_failure)
        self.lag = EventLoopLag()
        self._completions = Completions(self, characters_dir)
        self._running: set[object] = set()
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
                outputs = self._turn(body)
            case "/v1/chat/completions":
                outputs = self._completions.chat(body)
            case "/v1/completions":
                outputs = self._completions.prompts(body)
            case _:
                yield await self._told(route, body)
                return
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    async def _told(self, route: str, body: dict[str, Any]) -> Output:
        """The one output of a route that needs no model."""
        match route:
            case "/forget":
                return {"forgotten": await self.in_time(self.pipeline.forget(body))}
            case "/v1/models":
                return model_list(await self.in_time(asyncio.to_thread(self._completions.listed)))
            case "/v1/models/{id}":
                return await self.in_time(asyncio.to_thread(self._completions.entry, body["id"]))
            case "/schema":
                return {
                    "request": ChatRequest.model_json_schema(),
                    "response": ChatResponse.model_json_schema(),
                }
        return self.health()

    async def _turn(self, payload: dict[str, Any]) -> AsyncGenerator[Output, None]:
        streaming = payload.get("stream", False)
        if not isinstance(streaming, bool):
            raise BadRequest("must be true or false", field="stream")
        payload = {key: value for key, value in payload.items() if key != "stream"}
        if not streaming:
            response = await self.response(payload)
            # The SDK would take a true `error` out and drop all else; `meta.error` tells it.
            yield {**response, "error": None}
            return
        async with aclosing(self.events(payload)) as events:
            seq = 0
            async for event in events:
                yield {"seq": seq, **event}
                seq += 1

    def health(self) -> dict[str, Any]:
        """What a monitor may want to know; nothing of any chat."""
        return {
            "status": "ok",
            "models": self.offered,
            "jobs": self.busy,
            "uptime_s": round(time.monotonic() - self._since, 1),
            "loop_lag_ms": {
                "p50": round(self.lag.milliseconds(0.5), 1),
                "p99": round(self.lag.milliseconds(0.99), 1),
            },
        }
