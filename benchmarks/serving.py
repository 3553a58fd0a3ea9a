"""What the worker adds to the language model: `python -m benchmarks.serving [--json]`.

Jobs go through `handler.handler`, as the SDK calls it, to a server that writes each reply in two
seconds and runs in a process of its own.

    load_ratio                  64 jobs handed over at once, with as many replies written at a time
                                as the settings allow (32): wall time over that of the writing
    loop_lag_ms_p99             meanwhile, how late the event loop comes to what is due
    first_token_overhead_ms     one chat that goes on: 500 messages whose vectors are known, then
                                turn after turn what the user asked and what the worker answered;
                                from the call of the handler until the server has the request
                                (p50, p95)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

REPLY_SECONDS = 2.0
PIECES = 40
SHORT = 8
"""Pieces of a reply where only its beginning is measured."""

HISTORY = 500
FIRST = 3
"""Turns that load the model and fill the caches."""

WORDS = ("ferry", "lantern", "harbour", "fog", "compass", "night", "keeper", "letter", "promise")


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: Connection
) -> None:
    """Completions over one connection; tells when each request was there."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split(maxsplit=1)[0])
            body = json.loads(await reader.readexactly(length))
            to.send(time.monotonic())
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            pieces = body["max_tokens"]
            draw = random.Random(body["prompt"])
            began = time.monotonic()
            for n in range(pieces):
                due = began + (n + 1) * REPLY_SECONDS / PIECES  # so that sleeps do not add up
                await asyncio.sleep(due - time.monotonic())
                _write(
                    writer, _event(f"{draw.choice(WORDS)} ", "stop" if n == pieces - 1 else None)
                )
            _write(writer, "data: [DONE]\n\n")
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _event(text: str, finish_reason: str | None) -> str:
    choice = {"index": 0, "text": text, "finish_reason": finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def _write(writer: asyncio.StreamWriter, text: str) -> None:
    data = text.encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def _serve(to: Connection) -> None:
    """The server's process: sends its port, then the time of every request."""

    async def main() -> None:
        server = await asyncio.start_server(
            lambda r, w: _answer(r, w, to), "127.0.0.1", 0, backlog=1000
        )
        to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def model_server() -> Iterator[tuple[int, Connection]]:
    """The port of a fresh server, and where its times arrive."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv(), here
    finally:
        process.terminate()
        process.join()


def request(history: int, seed: int = 0, pieces: int = PIECES) -> dict[str, Any]:
    """A job's input with a chat of so many messages, always the same one."""
    draw = random.Random(0)
    roles = ("user", "character")
    lines = [
        {"role": roles[n % 2], "content": f"{n}: " + " ".join(draw.choices(WORDS, k=25))}
        for n in range(history)
    ]
    return {
        "message": f"Where did I put the {WORDS[seed % len(WORDS)]} on day {seed}?",
        "persona": {"name": "Nell", "description": "Keeps the lost property office."},
        "history": lines,
        "gen": {"max_new_tokens": pieces},
        "stream": True,
    }


async def run(given: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Answers one job; the time at which it was picked up, and the response."""
    from handler import handler

    picked_up = time.monotonic()
    outputs = [output async for output in handler({"id": "benchmark", "input": given})]
    if not isinstance(outputs[-1], dict) or outputs[-1].get("type") != "final":
        raise RuntimeError(str(outputs[-1]))
    return picked_up, outputs[-1]["response"]


async def converse(turns: int, times: Connection) -> list[float]:
    """One chat of so many turns; the milliseconds until the server had each request."""
    from graph.app import drain, pipeline

    chat = request(HISTORY, pieces=SHORT)
    chat["session_id"] = "benchmark"
    known = [line["content"] for line in chat["history"]]
    await pipeline.services.readers["latin"].embedder.aencode_passages(known)
    overheads = []
    for turn in range(turns):
        chat["message"] = request(0, turn)["message"]
        picked_up, response = await run(chat)
        overheads.append(1000 * (times.recv() - picked_up))
        await drain()
        said = "".join(piece["text"] for piece in response["response_contents"])
        chat["history"] += [
            {"role": "user", "content": chat["message"]},
            {"role": response["responded_as"], "content": said},
        ]
    return overheads


async def measure(jobs: int, turns: int, concurrency: int, times: Connection) -> dict[str, float]:
    """The figures, on a handler whose settings point to the server."""
    from handler import dispatcher

    overheads = (await converse(turns + FIRST, times))[FIRST:]
    watching = asyncio.create_task(dispatcher().lag.watch())
    started = time.monotonic()
    await asyncio.gather(*(run(request(20, seed)) for seed in range(jobs)))
    took = time.monotonic() - started
    watching.cancel()
    return {
        "jobs": jobs,
        "load_ratio": round(took / (REPLY_SECONDS * math.ceil(jobs / concurrency)), 3),
        "first_token_overhead_ms_p50": round(statistics.median(overheads), 1),
        "first_token_overhead_ms_p95": round(statistics.quantiles(overheads, n=20)[-1], 1),
        "loop_lag_ms_p99": round(dispatcher().lag.milliseconds(0.99), 1),
    }


def main() -> None:
    """Measures, and prints a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=32, help="replies at a time")
    parser.add_argument("--turns", type=int, default=20, help="turns with a long chat")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, model_server() as (port, times):
        os.environ |= {
            "IYAGI_INDEX_DIR": folder,
            "IYAGI_LLM": "openai",
            "IYAGI_LLM_URL": f"http://127.0.0.1:{port}/v1",
            "IYAGI_LLM_MODELS": "benchmark",
            "IYAGI_LLM_CONCURRENCY": str(options.concurrency),
        }
        load = asyncio.run(measure(options.jobs, options.turns, options.concurrency, times))
    if options.json:
        print(json.dumps({"load": load}))
        return
    for name, value in load.items():
        print(f"{name:30}{value:10,}")


if __name__ == "__main__":
    main()
