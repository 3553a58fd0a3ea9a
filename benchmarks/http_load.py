"""Many streams through the HTTP server: `python -m benchmarks.http_load [--json] [--term]`.

The server runs as `python -m server`, the language model is a server of a process of its own that
writes a token every 50 ms, and the clients are in this process. Each client has one chat after the
other, streaming, with a short history.

    errors              streams that did not end with `[DONE]`, or had a status other than 200
    alone_ms            our own time to the first token of one stream alone: what the client waited,
                        less what the model took (p50, p95)
    together_ms         the same with so many streams at once
    ratio_p95           of the second to the first

With `--term` the server gets a SIGTERM in the middle: each open stream must end with `[DONE]` or an
error event, and the process with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
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
FIRST, EACH, PIECES = 0.2, 0.05, 200
"""Seconds to the model's first token and between two of them; tokens of a reply."""

WORDS = ("lantern", "swings", "above", "quiet", "harbour", "ferry", "waits", "guest", "night")


async def _complete(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Completions over one connection."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if head.startswith("get "):  # what models there are: it does not tell
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                continue
            length = int(head.partition("content-length:")[2].split(maxsplit=1)[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            begun = time.monotonic()
            for n in range(PIECES):
                await asyncio.sleep(begun + FIRST + n * EACH - time.monotonic())
                end = "stop" if n == PIECES - 1 else None
                text = f"{WORDS[n % len(WORDS)]} "
                choice = {"index": 0, "text": text, "finish_reason": end}
                _write(writer, f"data: {json.dumps({'choices': [choice]})}\n\n")
            _write(writer, "data: [DONE]\n\n")
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    writer.close()


def _write(writer: asyncio.StreamWriter, text: str) -> None:
    data = text.encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def _model(to: Connection) -> None:
    async def main() -> None:
        server = await asyncio.start_server(_complete, "127.0.0.1", 0, backlog=1000)
        to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def model() -> Iterator[int]:
    """The port of a language model in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_model, args=(there,), daemon=True)
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
            process.kill()
            process.wait()


@dataclass
class Heard:
    """What the clients heard."""

    firsts: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


def _body(client: int, turn: int) -> bytes:
    messages = [{"role": "system", "content": "You are Nell, who keeps lost property."}]
    for n in range(8):
        role = ("user", "assistant")[n % 2]
        messages.append({"role": role, "content": f"{client} {n} " + " ".join(WORDS)})
    messages.append({"role": "user", "content": f"Where is lantern {client}-{turn}?"})
    return json.dumps({"model": "iyagi", "messages": messages, "stream": True}).encode()


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
        first, end = None, "broke off"
        async for line in reader:
            if first is None and b'"content": "' in line and b'"content": ""' not in line:
                first = time.monotonic() - begun - FIRST
                heard.firsts.append(1000 * first)
            if line.startswith(b"data: [DONE]"):
                end = "done"
            elif line.startswith(b'data: {"error"'):
                end = "error event"
        heard.ends[end] += 1
        return end == "done"
    except OSError:
        heard.ends["broke off"] += 1
        return False
    finally:
        writer.close()


async def _client(port: int, client: int, until: float, heard: Heard, delay: float = 0.0) -> None:
    await asyncio.sleep(delay)
    turn = 0
    while time.monotonic() < until and await _stream(port, _body(client, turn), heard):
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
        return {}
    cuts = statistics.quantiles(times, n=20)
    return {"p50": round(statistics.median(times), 1), "p95": round(cuts[-1], 1)}


async def measure(
    process: subprocess.Popen[bytes], port: int, options: argparse.Namespace
) -> dict[str, Any]:
    """The figures."""
    await _ready(port)
    alone, together = Heard(), Heard()
    await _client(port, 0, time.monotonic() + options.alone, alone)
    begun, cpu = time.monotonic(), _processor_seconds(process.pid)
    until = begun + options.seconds
    whole = FIRST + EACH * PIECES
    clients = [
        asyncio.create_task(_client(port, n, until, together, n / options.streams * whole))
        for n in range(options.streams)
    ]
    if options.term:
        await asyncio.sleep(options.seconds / 2)
        process.send_signal(signal.SIGTERM)
    _, hanging = await asyncio.wait(clients, timeout=options.seconds + 30)
    took = time.monotonic() - begun
    used = 0.0 if options.term else _processor_seconds(process.pid) - cpu
    figures: dict[str, Any] = {
        "streams": options.streams,
        "turns": sum(together.ends.values()),
        "ends": dict(together.ends),
        "hanging": len(hanging),
        "alone_ms": _percentiles(alone.firsts),
        "together_ms": _percentiles(together.firsts),
        "ratio_p95": round(
            _percentiles(together.firsts)["p95"] / _percentiles(alone.firsts)["p95"], 2
        ),
        "server_cores": round(used / took, 2),
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
    parse.add_argument("--alone", type=float, default=20, help="seconds of one stream alone")
    parse.add_argument("--term", action="store_true", help="SIGTERM in the middle")
    parse.add_argument("--profile", metavar="FILE", help="profile the server into this file")
    options = parse.parse_args()
    prefix = [sys.executable]
    if options.profile:
        prefix += ["-m", "cProfile", "-o", options.profile]
    with model() as model_port, server(model_port, options.streams, prefix) as (process, port):
        print(json.dumps(asyncio.run(measure(process, port, options)), indent=1))


if __name__ == "__main__":
    main()
