"""One job's outputs as an HTTP response.

The job runs in a task of its own while the connection is watched: who hangs up ends the work,
before the first output and without streaming, too. A stream that has nothing to say sends a comment
every 15 seconds, since proxies cut what is silent for 60; one that has failed ends with an event
that says so.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from openai_api.answer import error_event
from server.errors import Ending, error_response, note
from server.life import Life
from worker.output import Output, cleaned

KEEP_ALIVE = 15.0
"""Seconds of silence: proxies cut after 60 to 100, and some programs after 30."""

FIRST_OUTPUT = 10.0
"""Seconds for which the status waits for the first output, to tell what is wrong with a request."""

SEND_SECONDS = 60.0
"""For the network to take one event: a client that reads nothing for so long has gone."""


class Format(NamedTuple):
    """How a stream is written.

    Args:
        media_type: of the response.
        event: an output as text.
        error: a failure `{code, message, field, retryable}`, after so many events, as text.
        comment: what says nothing, between events.
        at_once: the stream begins before its first event, and every failure is one.
    """

    media_type: str
    event: Callable[[Any], str]
    error: Callable[[dict[str, Any], int], str]
    comment: str = ": keep-alive\n\n"
    at_once: bool = False


def _as_json(output: object) -> str:
    return json.dumps(cleaned(output), ensure_ascii=False)


def _sse(output: object) -> str:
    return f"data: {_as_json(output)}\n\n"


OPENAI = Format("text/event-stream", cleaned, lambda error, _: error_event(error))
EVENTS = Format(
    "text/event-stream", _sse, lambda error, seq: _sse({"seq": seq, "type": "error", **error})
)
LINES = Format(
    "application/x-ndjson",
    lambda output: f"{_as_json(output)}\n",
    lambda error, _: f"{_as_json({'type': 'error', 'error': error})}\n",
    comment="\n",
    at_once=True,
)


class _NotTaken(Exception):
    """The client has gone without a word: the network takes no more."""


class Answer(Response):
    """The outputs of a job.

    Args:
        life: of the server.
        outputs: of the job, from its dispatcher.
        format: of a stream; None for the one output as JSON.
    """

    def __init__(
        self, life: Life, outputs: AsyncGenerator[Output, None], format: Format | None = None
    ) -> None:
        super().__init__()
        self._life, self._outputs, self._format = life, outputs, format
        self._begun = self._was_cut = False
        self._sent = 0  # events
        self._spoke = time.monotonic()
        self._work: asyncio.Task[None] | None = None

    def cut(self) -> None:
        """Ends the work with an error that says so."""
        self._was_cut = True
        if self._work:
            self._work.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response; notes in the scope's state how it went."""
        state = scope.setdefault("state", {})
        state["outcome"] = "hung_up"  # unless it is told below
        try:
            self._life.enter(self)
            gone = asyncio.create_task(_hung_up(receive))
            self._work = asyncio.create_task(self._send_all(scope, receive, send))
            try:
                await self._watch(gone, send)
                if not gone.done() or self._work.done():
                    state["outcome"] = await self._told(scope, receive, send)
            finally:
                gone.cancel()
                self._work.cancel()
                await asyncio.wait({gone, self._work})
                self._life.leave(self)
        except Ending as error:
            state["outcome"] = "refused"
            await error_response(error, scope)(scope, receive, send)

    async def _watch(self, gone: asyncio.Task[None], send: Send) -> None:
        """Waits until the work has ended or the client has gone."""
        assert self._work
        tasks = {gone, self._work}
        while True:
            due = self._spoke + (KEEP_ALIVE if self._begun else FIRST_OUTPUT)
            wait = max(0.0, due - time.monotonic()) if self._format else None
            done, _ = await asyncio.wait(tasks, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            if self._format and time.monotonic() - self._spoke > FIRST_OUTPUT:
                await self._say(self._format.comment, send)

    async def _told(self, scope: Scope, receive: Receive, send: Send) -> str:
        """What became of the work; a failure of it is sent."""
        assert self._work
        error: BaseException | None
        if self._work.cancelled() or self._was_cut:
            error = Ending("the server is ending, so this reply broke off; send it again")
        else:
            error = self._work.exception()
        if error is None:
            return "ok"
        if isinstance(error, _NotTaken):
            return "hung_up"
        assert isinstance(error, Exception)
        if not self._begun:
            await error_response(error, scope)(scope, receive, send)
        elif self._format:
            told = note(error, scope)
            await self._say(self._format.error(told, self._sent), send, more=False)
        return "failed"

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._outputs) as outputs:
            if self._format and self._format.at_once:
                await self._say("", send)
            if self._format is None:
                output = cleaned(await anext(outputs))
                self._begun = True
                return await JSONResponse(output)(scope, receive, send)
            async for output in outputs:
                await self._say(self._format.event(output), send)
                self._sent += 1
        await self._say("", send, more=False)

    async def _say(self, text: str, send: Send, *, more: bool = True) -> None:
        """Sends a part of the stream, with its head before the first one."""
        self._spoke = time.monotonic()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if not self._begun:
                    self._begun = True
                    assert self._format
                    await send(_head(self._format.media_type))
                body = text.encode("utf-8")
                await send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            raise _NotTaken from None


def _head(media_type: str) -> dict[str, Any]:
    headers = [
        (b"content-type", f"{media_type}; charset=utf-8".encode()),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),  # nginx sends what it gets at once
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
