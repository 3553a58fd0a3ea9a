"""The page and its turns, beside the routes of the server.

    GET  /                          the page
    GET  /api/start?lang=ko         a chat to begin with, and the characters of the folder
    GET  /api/characters/{name}     a character with its lore and story; ?user=&chat= as below
    POST /api/read?user=&chat=  a dropped file: a card, lorebook, story or chat
    POST /api/save                  a chat as JSONL
    POST /api/turn                  a ChatRequest; the turn's events, a line of JSON each

All turns go through the worker's dispatcher, so what a client sees here it also sees on Runpod.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO, cast

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import TypeAdapter, ValidationError

from cards.characters.carriers import is_carrier
from cards.chats.writing import to_jsonl
from cards.files import MAX_CARRIER, MAX_FILE, MEGABYTE
from graph.settings import ROOT
from play.files import character_parts, read_dropped
from play.guard import Guard
from schemas.errors import BadRequest
from schemas.request import Message
from server.answer import LINES
from server.app import Parts, Terms, native
from server.app import make_app as make_server
from server.body import BODY_SECONDS, body_parts, read_object
from server.errors import HttpError
from server.guard import LOOPBACK
from worker import characters
from worker.dispatch import Dispatcher
from worker.output import cleaned

ASIDE = MEGABYTE
"""Bytes of a dropped file that are held in memory; of a larger one, the system's folder for
temporary files holds all."""

MOST_READ = 2
"""Dropped files that are read at once: one of 64 MB of text takes some 300 MB of memory."""

UPLOAD_SECONDS = BODY_SECONDS * MAX_CARRIER / MAX_FILE
"""For a card of 512 MB at the rate at which one of 64 MB has a minute."""

_PAGE = {"": "page.html", "page.css": "page.css", "page.js": "page.js"}
_MESSAGES = TypeAdapter(list[Message])


def make_app(
    dispatcher: Dispatcher,
    folder: Path,
    *,
    hosts: Collection[str] = LOOPBACK,
    in_network: bool = False,
    **more: Any,
) -> FastAPI:
    """The server's application with the page.

    Args:
        dispatcher: answers the turns.
        folder: of the characters.
        hosts: names that the server may be called by.
        in_network: it may also be called by an address of numbers.
        more: as of `server.app.make_app`.
    """
    terms = more.pop("terms", None) or Terms(hosts=hosts, in_network=in_network)
    return make_server(dispatcher, terms, page=with_page(folder), guard=Guard, **more)


def with_page(folder: Path) -> Callable[[FastAPI, Parts], None]:
    """What adds the page to an application; its characters are those of the folder."""

    def add(app: FastAPI, parts: Parts) -> None:
        _page_routes(app, folder)

        @app.post("/api/turn")
        async def turn(request: Request) -> Response:
            body = await read_object(request)
            return parts.answer(request, "page", native({**body, "stream": True}), LINES)

    return add


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

    reading = asyncio.Semaphore(MOST_READ)

    @app.post("/api/read")
    async def read(request: Request, user: str | None = None, chat: str = "") -> JSONResponse:
        with tempfile.SpooledTemporaryFile(ASIDE) as spooled:
            file = cast(BinaryIO, spooled)
            await _receive(request, file)
            async with reading:
                read = await asyncio.to_thread(read_dropped, file, user=user, chat=chat)
        return JSONResponse(cleaned(read))

    @app.post("/api/save")
    async def save(request: Request) -> PlainTextResponse:
        chat = await read_object(request)
        try:
            lines = _MESSAGES.validate_python(chat.get("history"))
        except ValidationError as error:
            raise BadRequest.from_validation(error, Message) from None
        user, character = (str(chat.get(key) or "")[:100] for key in ("user", "character"))
        return PlainTextResponse(
            to_jsonl(lines, user=user or "User", character=character or "Character")
        )


async def _receive(request: Request, file: BinaryIO) -> None:
    """Writes a dropped file to one of ours, on disk where it is large.

    Raises:
        BadRequest: it is larger than such a file may be.
        HttpError: as of `body_parts`.
    """
    most = MAX_FILE
    try:
        async with aclosing(body_parts(request, MAX_CARRIER, UPLOAD_SECONDS)) as parts:
            async for part in parts:
                file.write(part)
                if most == MAX_FILE and file.tell() > MAX_FILE:
                    file.seek(0)
                    most = MAX_CARRIER if is_carrier(file) else MAX_FILE
                    file.seek(0, io.SEEK_END)
                if file.tell() > most:
                    raise _too_large(most)
    except HttpError as error:
        raise (_too_large(MAX_CARRIER) if error.code == "too_large" else error) from None
    file.seek(0)


def _too_large(most: int) -> BadRequest:
    return BadRequest(f"is larger than {most // MEGABYTE} MB", field="the file")
