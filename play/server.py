"""The page and its turns, and OpenAI's routes for the programs that people already use.

    GET  /                          the page
    GET  /api/start?lang=ko         a chat to begin with, and the characters of the folder
    GET  /api/characters/{name}     a character with its lore and story; ?user=&chat= as below
    POST /api/read?name=&user=&chat=  a dropped file: a card, lorebook, story or chat
    POST /api/save                  a chat as JSONL
    POST /api/turn                  a ChatRequest; the turn's events, a line of JSON each
    GET  /v1/models                 the characters, and the language models on offer
    POST /v1/chat/completions       answers as the character that `model` names

All turns go through the worker's dispatcher, so what a client sees here it also sees on Runpod.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import TypeAdapter, ValidationError

from cards.chatlog import to_jsonl
from cards.files import MAX_FILE, MEGABYTE, parse_object
from graph.settings import ROOT
from openai_api.answer import error_body, error_event
from play.files import character_parts, read_dropped
from play.guard import LOOPBACK, Guard
from schemas.errors import BadRequest, IyagiError
from schemas.request import Message
from worker import characters
from worker.dispatch import Dispatcher
from worker.output import Output, cleaned, failure

_PAGE = {"": "page.html", "page.css": "page.css", "page.js": "page.js"}
_STATUS = {
    "bad_request": 400,
    "model_not_found": 404,
    "not_found": 404,
    "too_large": 413,
    "llm": 502,
    "deadline": 504,
}
_MESSAGES = TypeAdapter(list[Message])


def make_app(
    dispatcher: Dispatcher,
    folder: Path,
    *,
    hosts: Collection[str] = LOOPBACK,
    in_network: bool = False,
) -> FastAPI:
    """The application.

    Args:
        dispatcher: answers the turns.
        folder: of the characters.
        hosts: names that the server may be called by.
        in_network: it may also be called by an address of numbers.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await dispatcher.pipeline.drain()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.add_middleware(Guard, hosts=hosts, in_network=in_network)
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(IyagiError, _failed)
    _page_routes(app, folder)
    _turn_routes(app, dispatcher)
    return app


def _page_routes(app: FastAPI, folder: Path) -> None:
    def file(name: str) -> Callable[[], FileResponse]:
        return lambda: FileResponse(Path(__file__).with_name(name))

    for path, name in _PAGE.items():
        app.get(f"/{path}", response_model=None)(file(name))

    @app.get("/api/start")
    def start(lang: str = "en") -> JSONResponse:
        name = "sample_request.ko.json" if lang.startswith("ko") else "sample_request.json"
        request = json.loads((ROOT / "data" / "mock" / name).read_text(encoding="utf-8"))
        return JSONResponse({"request": request, "characters": characters.names(folder)})

    @app.get("/api/characters/{name}")
    def character(name: str, user: str | None = None, chat: str = "") -> JSONResponse:
        persona, story = characters.load(name, folder)
        return JSONResponse(character_parts(persona, story, user, chat))

    @app.post("/api/read")
    async def read(
        request: Request, name: str = "", user: str | None = None, chat: str = ""
    ) -> JSONResponse:
        content = await _body(request)
        read = await asyncio.to_thread(read_dropped, content, name, user=user, chat=chat)
        return JSONResponse(cleaned(read))

    @app.post("/api/save")
    async def save(request: Request) -> PlainTextResponse:
        chat = parse_object(await _body(request))
        try:
            lines = _MESSAGES.validate_python(chat.get("history"))
        except ValidationError as error:
            raise BadRequest.from_validation(error, Message) from None
        user, character = (str(chat.get(key) or "")[:100] for key in ("user", "character"))
        return PlainTextResponse(
            to_jsonl(lines, user=user or "User", character=character or "Character")
        )


def _turn_routes(app: FastAPI, dispatcher: Dispatcher) -> None:
    @app.post("/api/turn")
    async def turn(request: Request) -> Response:
        payload = parse_object(await _body(request))
        outputs = dispatcher.answer({"input": {**payload, "stream": True}})
        return StreamingResponse(_lines(outputs), media_type="application/x-ndjson")

    @app.get("/v1/models")
    async def models() -> JSONResponse:
        return JSONResponse(await _only(dispatcher, {"openai_route": "/v1/models"}))

    @app.post("/v1/chat/completions")
    async def completions(request: Request) -> Response:
        body = parse_object(await _body(request))
        asked = {"openai_route": "/v1/chat/completions", "openai_input": body}
        if body.get("stream") is not True:
            return JSONResponse(cleaned(await _only(dispatcher, asked)))
        outputs = dispatcher.answer({"input": asked})
        first = await anext(outputs)  # what is wrong with the request is told by the status
        return StreamingResponse(_events(first, outputs), media_type="text/event-stream")


async def _body(request: Request) -> bytes:
    """The request's body, of which no more is read than a file may have.

    Raises:
        BadRequest: it is larger.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_FILE:
            raise BadRequest(f"is larger than {MAX_FILE // MEGABYTE} MB", field="the file")
    return bytes(content)


async def _only(dispatcher: Dispatcher, job: dict[str, Any]) -> Output:
    """The one output of a job."""
    async with aclosing(dispatcher.answer({"input": job})) as outputs:
        return await anext(outputs)


async def _lines(outputs: AsyncGenerator[Output, None]) -> AsyncIterator[str]:
    """Events as lines of JSON; the last may be `{"type": "error", "error": {...}}`."""
    try:
        async with aclosing(outputs):
            async for output in outputs:
                yield json.dumps(cleaned(output), ensure_ascii=False) + "\n"
    except Exception as error:  # noqa: BLE001 - the status is sent; the page shows the line
        yield json.dumps({"type": "error", "error": failure(error)}, ensure_ascii=False) + "\n"


async def _events(first: Output, outputs: AsyncGenerator[Output, None]) -> AsyncIterator[str]:
    """Server-sent events of a completion; an error is the last of them."""
    try:
        async with aclosing(outputs):
            yield cleaned(first)
            async for output in outputs:
                yield cleaned(output)
    except Exception as error:  # noqa: BLE001 - the status is sent; the client reads the event
        yield error_event(failure(error))


async def _failed(_: Request, error: Exception) -> JSONResponse:
    told = failure(error)
    return JSONResponse(error_body(told), _STATUS.get(told["code"], 500))
