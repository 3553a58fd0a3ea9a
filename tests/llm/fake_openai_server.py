"""A loopback HTTP server that behaves as told, byte by byte, and counts what is open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any


class Peer:
    """One request, as seen by the behaviour that answers it."""

    def __init__(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        self._writer = writer
        self.body = body

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)  # each write in a packet of its own, more or less

    async def head(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", "Transfer-Encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, **chunk: Any) -> None:
        await self.send(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    async def text(self, text: str | None, finish_reason: str | None = None) -> None:
        await self.event(choices=[{"index": 0, "text": text, "finish_reason": finish_reason}])

    async def end(self, done: bool = True) -> None:
        if done:
            await self.send(b"data: [DONE]\n\n")
        await self.raw(b"0\r\n\r\n")

    async def hang_up(self) -> None:
        self._writer.transport.abort()


Behaviour = Callable[[Peer], Awaitable[None]]


def say(
    *pieces: str,
    finish: str = "stop",
    usage: dict[str, Any] | None = None,
    pause: float = 0.0,
) -> Behaviour:
    """A well-behaved server."""

    async def behave(peer: Peer) -> None:
        await peer.head(content_type="text/event-stream")
        for piece in pieces:
            await peer.text(piece)
            await asyncio.sleep(pause)
        await peer.text("", finish)
        if usage and "stream_options" in peer.body:
            await peer.event(choices=[], usage=usage)
        await peer.end()

    return behave


def refuse(status: int, message: str = "no", **headers: str) -> Behaviour:
    """An error status with a JSON body."""

    async def behave(peer: Peer) -> None:
        await peer.head(status, content_type="application/json", **headers)
        await peer.send(json.dumps({"error": {"message": message}}).encode())
        await peer.raw(b"0\r\n\r\n")

    return behave


async def too_many_stops(peer: Peer) -> None:
    """What vLLM says from 0.28 on."""
    fault = {"type": "too_long", "loc": ["body", "stop"], "msg": "List should have at most 4 items"}
    await peer.head(400, content_type="application/json")
    await peer.send(json.dumps({"detail": [fault]}).encode())
    await peer.raw(b"0\r\n\r\n")


async def loading(peer: Peer) -> None:
    """llama.cpp before its model is loaded."""
    error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
    await peer.head(503, content_type="application/json")
    await peer.send(json.dumps({"error": error}).encode())
    await peer.raw(b"0\r\n\r\n")


def lists(*entries: dict[str, Any], owned_by: str = "vllm") -> Behaviour:
    """The answer of `/v1/models`."""

    async def behave(peer: Peer) -> None:
        data = [{"object": "model", "owned_by": owned_by, **entry} for entry in entries]
        await peer.head(content_type="application/json")
        await peer.send(json.dumps({"object": "list", "data": data}).encode())
        await peer.raw(b"0\r\n\r\n")

    return behave


def strange(kind: str, body: bytes) -> Behaviour:
    """Something that is no stream of completions."""

    async def behave(peer: Peer) -> None:
        await peer.head(content_type=kind)
        await peer.send(body)
        await peer.raw(b"0\r\n\r\n")

    return behave


async def die(peer: Peer) -> None:
    """Hangs up before anything was said."""
    await peer.hang_up()


async def mute(peer: Peer) -> None:
    """Takes the request and says nothing."""
    await asyncio.sleep(30)


class FakeServer:
    """Answers the requests with its behaviours in turn; the last one answers all further ones.

    `/v1/models` is no request: `models` answers it. Of stop strings it takes as few as any server.
    """

    def __init__(self) -> None:
        self.models: Behaviour = refuse(404)
        self.asked_for_models = 0
        self.most_stops = 4
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.open_streams = 0
        self.most_streams = 0
        self.busy, self._idle = asyncio.Event(), asyncio.Event()
        self._behaviours: Iterator[Behaviour] = iter(())
        self._last: Behaviour = say("hello")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def will(self, *behaviours: Behaviour) -> None:
        self._behaviours, self._last = iter(behaviours), behaviours[-1]

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_closed(self, within: float = 1.0) -> bool:
        """Whether no stream is open any more, soon."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within)
        return self.open_streams == 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection can take another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.splitlines()[1:])
        }
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        body, path = json.loads(content or b"{}"), head.split()[1]
        if head.startswith("GET") and path == "/v1/models":
            self.asked_for_models += 1
            return await _until_left(reader, self.models(Peer(writer, body)))
        self.headers.append(headers)
        self.paths.append(path)
        self.requests.append(body)
        behave = next(self._behaviours, self._last)
        if len(body.get("stop", ())) > self.most_stops:
            behave = too_many_stops
        self.open_streams += 1
        self.most_streams = max(self.most_streams, self.open_streams)
        self.busy.set()
        self._idle.clear()
        try:
            return await _until_left(reader, behave(Peer(writer, body)))
        finally:
            self.open_streams -= 1
            if not self.open_streams:
                self.busy.clear()
                self._idle.set()


async def _until_left(reader: asyncio.StreamReader, behaviour: Awaitable[None]) -> bool:
    """Runs the behaviour; false as soon as the client has closed the connection."""
    answering = asyncio.ensure_future(behaviour)
    leaving = asyncio.ensure_future(reader.read(1))
    try:
        done, _ = await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering in done:
            answering.result()
        return answering in done
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)
