"""Gives each job to what answers it, within the deadline of a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from graph.pipeline import Pipeline
from language.normal import nfc
from openai_api.answer import chunks, completion, model_entry, model_list, text_of
from openai_api.errors import NotFound, UnknownModel
from openai_api.read import Asked, ChatBody, PromptBody, read_chat, read_prompt, streams
from openai_api.scene import CONTINUE
from openai_api.translate import ANY_MODEL, Work, chat_work, prompt_work, unknown_model
from schemas.errors import BadRequest, LLMError
from schemas.request import ChatRequest
from schemas.response import ChatResponse
from worker import characters
from worker.events import Event, merged, paced, within
from worker.health import EventLoopLag
from worker.output import Output, shortened

T = TypeVar("T")

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
_SHARE = 4
"""Of a model's context, one part of so many is the most that a reply may take where a client asks
for more: the rest is for the chat. Clients ask for 16,000 tokens of any model."""


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
                outputs = self._turn(body)
            case "/v1/chat/completions":
                outputs = self._chat(body)
            case "/v1/completions":
                outputs = self._prompts(body)
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
                return {"forgotten": await self._in_time(self.pipeline.forget(body))}
            case "/v1/models":
                return model_list(await self._in_time(asyncio.to_thread(self._listed)))
            case "/v1/models/{id}":
                return await self._in_time(asyncio.to_thread(self._entry, body["id"]))
            case "/schema":
                return {
                    "request": ChatRequest.model_json_schema(),
                    "response": ChatResponse.model_json_schema(),
                }
        return self.health()

    def _listed(self) -> list[dict[str, Any]]:
        """What a client can name as its model."""
        folder = [model_entry(name, text) for name, text in characters.listed(self._characters)]
        taken = {entry["id"] for entry in folder}
        models = [name for name in (*self._offered(), ANY_MODEL) if name not in taken]
        return [*folder, *map(model_entry, dict.fromkeys(models))]

    def _entry(self, name: str) -> dict[str, Any]:
        """One of them, whatever the case of its name."""
        listed = self._listed()
        folded = nfc(nfc(name).casefold())
        for known in (nfc(name), folded):
            for entry in listed:
                if known in (entry["id"], nfc(entry["id"].casefold())):
                    return entry
        raise unknown_model([entry["id"] for entry in listed])

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

    async def _chat(self, body: dict[str, Any]) -> AsyncGenerator[Output, None]:
        """A chat completion: turns of a chat, or plain work."""

        def reading() -> tuple[ChatBody, Work]:
            asked = read_chat(body)
            user = str(asked.beside.get("user_id") or asked.user_id or "")
            narrated = partial(self.pipeline.services.conversations.narrated, user_id=user)
            return asked, chat_work(asked, self._offered(), self._find, narrated)

        asked, work = await self._read(reading)
        outputs = self._answers([work], asked)
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    async def _prompts(self, body: dict[str, Any]) -> AsyncGenerator[Output, None]:
        """A completion of texts."""

        def reading() -> tuple[PromptBody, list[Work]]:
            asked = read_prompt(body)
            return asked, prompt_work(asked, self._offered(), self._find)

        asked, works = await self._read(reading)
        echoed = [text if asked.echo else "" for text in asked.prompts for _ in range(asked.n)]
        outputs = self._answers(works, asked, echoed)
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    async def _read(self, reading: Callable[[], T]) -> T:
        """What a request asks for, which may block on the disk, or be long."""

        def read() -> T:
            try:
                return reading()
            except UnknownModel:
                raise unknown_model([entry["id"] for entry in self._listed()]) from None

        return await self._in_time(asyncio.to_thread(read))

    async def _answers(
        self, works: Sequence[Work], asked: Asked, prompts: Sequence[str] | None = None
    ) -> AsyncGenerator[Output, None]:
        """The choices of one completion, at once or as events."""
        model = asked.model
        each = [(work, self._bounded(payload)) for work in works for payload in work.payloads()]
        replies = [self._reply(*one, live=asked.stream) for one in each]
        async with aclosing(merged(replies)) as events:
            if asked.stream:
                told = chunks(
                    events,
                    model,
                    choices=len(each),
                    include_usage=asked.include_usage,
                    prompts=prompts,
                )
                async for text in told:
                    yield text
                return
            finals = {row: event async for row, event in events if event["type"] == "final"}
        yield completion([finals[row]["response"] for row in range(len(each))], model, prompts)

    async def _reply(
        self, work: Work, payload: dict[str, Any], *, live: bool
    ) -> AsyncGenerator[Event, None]:
        """The events of one reply, refusals in the client's words."""
        try:
            source = self._work(payload) if work.plain else self._chat_turn(payload, live=live)
            async with aclosing(source) as events:
                async for event in events:
                    yield event
        except BadRequest as error:
            raise work.in_words_of_the_client(error) from None

    async def _work(self, payload: dict[str, Any]) -> AsyncGenerator[Event, None]:
        """Plain work of the model; what failed before it wrote anything is raised."""
        async with aclosing(paced(self.pipeline.complete(payload), self._deadline)) as events:
            async for event in events:
                if event["type"] == "final" and (error := event["response"].get("error")):
                    if not event["response"]["text"]:
                        raise LLMError(error, retryable=event["response"]["retryable"])
                    self.on_failure()
                yield event

    async def _chat_turn(
        self, payload: dict[str, Any], *, live: bool
    ) -> AsyncGenerator[Event, None]:
        """A turn of a client that names no chat: it is known again by what was said."""
        payload = await self._in_time(asyncio.to_thread(self._recognised, payload))
        async with aclosing(self._events(payload, live=live)) as events:
            async for event in events:
                if event["type"] == "final" and event["response"]["responded_as"] == "narrator":
                    await asyncio.to_thread(self._heard_narration, payload, event["response"])
                yield event

    def _bounded(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload with a reply that leaves the model room for the chat."""
        wanted = payload.get("gen", {}).get("max_new_tokens")
        name = payload.get("model", {}).get("name")
        if wanted is None:
            return payload
        layout = self.pipeline.services.models.choose(name).layout
        most = max(layout.max_new_tokens, layout.context_length // _SHARE)
        if wanted <= most:
            return payload
        return {**payload, "gen": {**payload["gen"], "max_new_tokens": most}}

    def _recognised(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload with the id of the chat that it goes on with, where memory is kept for the
        user and the client names no chat. Blocks on the disk."""
        kept, user_id = self.pipeline.services.readers["latin"].memory, payload.get("user_id")
        if kept is None or payload.get("session_id") is not None or not isinstance(user_id, str):
            return payload
        lines = [(line["role"], line["content"]) for line in payload["history"]]
        if payload["message"] != CONTINUE:
            lines.append(("user", payload["message"]))
        character = str(payload["persona"]["name"])
        conversations = self.pipeline.services.conversations
        return {**payload, "session_id": conversations.session_of(user_id, character, lines)}

    def _heard_narration(self, payload: dict[str, Any], response: dict[str, Any]) -> None:
        """Remembers that a reply is the narrator's: a client sends it back as the character's."""
        start = payload.get("reply_start") or ""
        self.pipeline.services.conversations.heard_narration(
            f"{start}{text_of(response)}", payload.get("user_id") or "", continued=bool(start)
        )

    def _find(self, name: str) -> characters.Character | None:
        return characters.find(name, self._characters)

    async def _events(self, payload: object, *, live: bool = True) -> AsyncGenerator[Event, None]:
        """The turn's events, gathered for the network."""
        turn = self.pipeline.stream(payload, live=live)
        async with aclosing(paced(turn, self._deadline)) as events:
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
