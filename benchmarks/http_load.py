"""Many streams through the HTTP server: `python -m benchmarks.http_load [--term]`; prints JSON.

The server runs as `python -m server`. The language model is a server in a process of its own: its
first token takes 200 ms (`FIRST`), then one comes every 200 ms (`--each`), 300 in all (`--pieces`):
a minute, at the pace of reading.
The clients are in this process: 200 (`--streams`), each with one streaming turn after the other for
60 s (`--seconds`). They start evenly over the length of one reply, so that turns begin as evenly
as with as many people.

    ends                how streams ended: done, or with what error
    alone_ms            our own time to the first token of one stream alone: from the request to the
                        first word at the client, less what the model says it took (p50, p95)
    together_ms         the same with so many streams at once
    ratio_p95           of the second to the first
    turn_ms             processor time of the server for a turn of a few tokens, alone
    token_ms            the same for one more token, of many streams
    server_cores        processor time of the server in a second, of many streams

With `--term` the server gets a SIGTERM in the middle: each open stream must end with `[DONE]` or an
error event, and the process with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIRST = 0.2
"""Seconds to the model's first token."""

SHORT = 8
"""Tokens of a reply of one stream alone: time to the first token is what is asked."""

SAID = re.compile(rb'"content": "(\d+)')
"""The model's first word: its microseconds."""

WORDS = ("lantern", "swings", "above", "quiet", "harbour", "ferry", "waits", "guest", "night")


class _Replies:
    """Writes all replies that are open, in one step every few milliseconds."""

    def __init__(self, pieces: int, each: float) -> None:
        self._pieces, self._each = pieces, each
        self._open: list[tuple[float, asyncio.StreamWriter, int, asyncio.Event]] = []
        draw = random.Random(1)
        words = (f"{draw.choice(WORDS)}{'.' if n % 12 == 11 else ''} " for n in range(997))
        self._words = [_event(word) for word in words]
        self._end = _event("so.", "stop") + _part("data: [DONE]\n\n") + b"0\r\n\r\n"

    async def write(self, writer: asyncio.StreamWriter, tokens: int) -> None:
        """A reply; returns behind its last token, or when nobody listens."""
        begun, pieces = time.monotonic(), max(2, min(tokens, self._pieces))
        await asyncio.sleep(FIRST)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        writer.write(_event(f"{1e6 * (time.monotonic() - begun):.0f} "))
        is_over = asyncio.Event()
        self._open.append((time.monotonic(), writer, pieces - 1, is_over))
        await is_over.wait()

    async def run(self) -> None:
        """Writes what is due."""
        written: dict[int, int] = {}
        while True:
            await asyncio.sleep(0.005)
            now, left = time.monotonic(), []
            for reply in self._open:
                begun, writer, pieces, is_over = reply
                done = written.get(id(is_over), 0)
                due = min(pieces, int((now - begun) / self._each))
                for n in range(done, due):
                    writer.write(self._end if n == pieces - 1 else self._words[n * 31 % 997])
                written[id(is_over)] = due
                if due < pieces and not writer.is_closing():
                    left.append(reply)
                else:
                    del written[id(is_over)]
                    is_over.set()
            self._open = left


async def _complete(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: _Replies
) -> None:
    """Completions over one connection."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while not writer.is_closing():
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if head.startswith("get "):  # what models there are: it does not tell
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                continue
            length = int(head.partition("content-length:")[2].split(maxsplit=1)[0])
            asked = json.loads(await reader.readexactly(length))
            await replies.write(writer, asked["max_tokens"])
    writer.close()


def _event(text: str, end: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": end}
    return _part(f"data: {json.dumps({'choices': [choice]})}\n\n")


def _part(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def _model(to: Connection, pieces: int, each: float) -> None:
    async def main() -> None:
        replies = _Replies(pieces, each)
        server = await asyncio.start_server(
            lambda r, w: _complete(r, w, replies), "127.0.0.1", 0, backlog=1000
        )
        to.send(server.sockets[0].getsockname()[1])
        await replies.run()

    asyncio.run(main())


@contextmanager
def model(pieces: int, each: float) -> Iterator[int]:
    """The port of a language model in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_model, args=(there, pieces, each), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


@contextmanager
def server(model_port: int, streams: int, prefix: list[str]) -> Iterator[tuple[Any, int]]:
    """The server's process and its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = 18080
        env = {
            "IYAGI_INDEX_DIR": folder,
            "IYAGI_LLM": "openai",
            "IYAGI_LLM_URL": f"http://127.0.0.1:{model_port}/v1",
            "IYAGI_LLM_MODELS": "benchmark",
            "IYAGI_LLM_CONCURRENCY": str(streams),
            "IYAGI_DRAIN": "1",
            "IYAGI_LOG_LEVEL": "WARNING",
        }
        command = [*prefix, "-m", "server", f"--port={port}"]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env})
        try:
            yield process, port
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass
class Heard:
    """What the clients heard."""

    firsts: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


def _body(client: int, turn: int, tokens: int) -> bytes:
    messages = [{"role": "system", "content": "You are Nell, who keeps lost property."}]
    for n in range(8):
        role = ("user", "assistant")[n % 2]
        messages.append({"role": role, "content": f"{client} {n} " + " ".join(WORDS)})
    messages.append({"role": "user", "content": f"Where is lantern {client}-{turn}?"})
    body = {"model": "iyagi", "messages": messages, "stream": True, "max_tokens": tokens}
    return json.dumps(body).encode()


async def _stream(port: int, body: bytes, heard: Heard) -> bool:
    """One turn; whether there may be another."""
    begun = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        heard.ends["refused"] += 1
        return False
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        head += f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status = (await reader.readline()).split()[1:2]
        if status != [b"200"]:
            heard.ends[f"status {(status or [b'none'])[0].decode()}"] += 1
            return False
        first, last = True, b""
        while part := await reader.read(65536):
            if first and (said := SAID.search(last + part)):
                first = False
                heard.firsts.append(1000 * (time.monotonic() - begun) - int(said[1]) / 1000)
            last = (last + part)[-65536 if first else -1000 :]
        end = "done" if b"data: [DONE]" in last else "broke off"
        if b'data: {"error"' in last:
            end = "error event"
        heard.ends[end] += 1
        return end == "done"
    except OSError:
        heard.ends["broke off"] += 1
        return False
    finally:
        writer.close()


async def _client(
    port: int, client: int, until: float, heard: Heard, tokens: int, delay: float = 0.0
) -> None:
    await asyncio.sleep(delay)
    turn = 0
    while time.monotonic() < until and await _stream(port, _body(client, turn, tokens), heard):
        turn += 1


async def _ready(port: int) -> None:
    while True:
        with suppress(OSError, IndexError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            status = (await reader.readline()).split()[1]
            writer.close()
            if status == b"200":
                return
        await asyncio.sleep(0.2)


def _percentiles(times: list[float]) -> dict[str, float]:
    if len(times) < 2:
        raise SystemExit("too few turns to tell anything; measure for longer")
    cuts = statistics.quantiles(times, n=20)
    return {"p50": round(statistics.median(times), 1), "p95": round(cuts[-1], 1)}


async def measure(
    process: subprocess.Popen[bytes], port: int, options: argparse.Namespace
) -> dict[str, Any]:
    """The figures."""
    await _ready(port)
    warm, alone, together = Heard(), Heard(), Heard()
    await _client(port, -1, time.monotonic() + 2, warm, SHORT)
    cpu = _processor_seconds(process.pid)
    await _client(port, 0, time.monotonic() + options.alone, alone, SHORT)
    short = (_processor_seconds(process.pid) - cpu) / sum(alone.ends.values())
    begun, cpu = time.monotonic(), _processor_seconds(process.pid)
    until = begun + options.seconds
    whole = FIRST + options.each * options.pieces
    clients = [
        asyncio.create_task(
            _client(port, n, until, together, options.pieces, n / options.streams * whole)
        )
        for n in range(options.streams)
    ]
    if options.term:
        await asyncio.sleep(options.seconds / 2)
        process.send_signal(signal.SIGTERM)
    _, hanging = await asyncio.wait(
        clients, timeout=options.seconds + options.pieces * options.each + 30
    )
    took = time.monotonic() - begun
    used = 0.0 if options.term else _processor_seconds(process.pid) - cpu
    turns = sum(together.ends.values())
    more = max(0.0, used / turns - short) / max(1, options.pieces - SHORT)
    figures: dict[str, Any] = {
        "streams": options.streams,
        "turns": turns,
        "ends": dict(together.ends),
        "hanging": len(hanging),
        "alone_ms": _percentiles(alone.firsts),
        "together_ms": _percentiles(together.firsts),
        "ratio_p95": round(
            _percentiles(together.firsts)["p95"] / _percentiles(alone.firsts)["p95"], 2
        ),
        "server_cores": round(used / took, 2),
        "turn_ms": round(1000 * short, 1),
        "token_ms": round(1000 * more, 3),
        "load_average": os.getloadavg()[0],
    }
    if options.term:
        figures["exit_code"] = await asyncio.to_thread(process.wait, 30)
    return figures


def _processor_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def main() -> None:
    """Measures, and prints JSON."""
    parse = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parse.add_argument("--streams", type=int, default=200)
    parse.add_argument("--seconds", type=float, default=60)
    parse.add_argument("--pieces", type=int, default=300, help="tokens of a reply")
    parse.add_argument("--each", type=float, default=0.2, help="seconds from token to token")
    parse.add_argument("--alone", type=float, default=20, help="seconds of one stream alone")
    parse.add_argument("--term", action="store_true", help="SIGTERM in the middle")
    parse.add_argument("--profile", metavar="FILE", help="profile the server into this file")
    options = parse.parse_args()
    prefix = [sys.executable]
    if options.profile:
        prefix += ["-m", "cProfile", "-o", options.profile]
    with (
        model(options.pieces, options.each) as model_port,
        server(model_port, options.streams, prefix) as (process, port),
    ):
        print(json.dumps(asyncio.run(measure(process, port, options)), indent=1))


if __name__ == "__main__":
    main()
