"""A chat with an Iyagi server over HTTP: `python -m scripts.chat_client --url http://127.0.0.1:8000`.

`Chat` is what a backend needs, and a pattern to copy. It brings the whole chat with each request,
returns to the worker that has the chat in its cache, and sends again what may be sent again.

    async with connect("https://ENDPOINT.api.runpod.ai", key) as http:
        chat = Chat(http, {"persona": {"name": "Mara"}, "user_id": "u1", "session_id": "c1"})
        async for event in chat.stream("Good evening."):
            if event["type"] == "token":
                print(event["text"], end="", flush=True)

In the terminal one line is one message, and an empty line ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from graph.next_turn import next_payload
from schemas.errors import IyagiError
from schemas.terminal import in_terminal

WORKER = "X-Runpod-Worker-Id"
"""Who answered, in a reply of Runpod's load balancer; in a request, who shall answer. The plain id
is a wish: where that worker is away or has no room, another one answers. `strict` would wait for it
or fail, and gain nothing: any worker can answer any request."""

AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may be sent again, where the server does not say."""
TRIES = 4
LONGEST = 60.0
"""Seconds before another try at most, whatever the server asks for."""
SILENCE = 330.0
"""Seconds without a byte after which a reply is given up: Runpod's load balancer does so then."""
KEPT = 1_000
"""Newest lines of a chat to send, several times what a prompt holds word for word. What was said
before, the server remembers where standing memory is on."""


class ChatError(Exception):
    """A turn that failed, in one line.

    Attributes:
        code: the server's word for it; `connection` where there was no answer.
        retryable: the same message may be sent again later.
    """

    def __init__(self, message: str, code: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code, self.retryable = code, retryable

    @classmethod
    def read(cls, error: object, instead: str, *, retryable: bool) -> ChatError:
        """From a server's `{"code", "message", "retryable"}`.

        Args:
            error: what the server said.
            instead: what to say of an answer that is none of Iyagi's.
            retryable: where the server does not say.
        """
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return cls(instead, "unknown", retryable=retryable)
        said = error.get("retryable")
        retryable = said if isinstance(said, bool) else retryable
        return cls(error["message"], str(error.get("code") or "unknown"), retryable=retryable)


def connect(url: str, key: str | None = None, server_key: str | None = None) -> httpx.AsyncClient:
    """Connections to a server, for any number of chats; to be closed at the end.

    Args:
        url: of the server.
        key: as `Authorization`: one of the server's, or Runpod's where its load balancer is asked.
        server_key: one of the server's (`IYAGI_API_KEYS`), behind the load balancer.

    Raises:
        ValueError: no address of a server.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError("url: must begin with http:// or https://, and name a host")
    headers = {"Authorization": f"Bearer {key}" if key else "", "X-API-Key": server_key or ""}
    return httpx.AsyncClient(
        base_url=address,
        headers={name: value for name, value in headers.items() if value},
        timeout=httpx.Timeout(SILENCE, connect=10.0),
        limits=httpx.Limits(max_connections=None),
    )


class Chat:
    """One chat; its turns come one after the other.

    Attributes:
        payload: the next request but for its message. Kept as JSON, it goes on another day.
        worker: who answered last, on Runpod. To lose it costs time and nothing else.
    """

    def __init__(
        self, http: httpx.AsyncClient, payload: Mapping[str, Any], worker: str | None = None
    ) -> None:
        """A chat without a `session_id` gets one; one that has not begun begins with the greeting.

        Args:
            http: a server, by `connect`.
            payload: a ChatRequest but for its message, or what was kept of an earlier chat.
            worker: what was kept of an earlier chat.
        """
        self._http, self.worker = http, worker
        self.payload = {"session_id": uuid.uuid4().hex, **payload}
        persona = payload["persona"]
        if not payload.get("history") and (greeting := persona.get("first_message")):
            line = {"role": "character", "name": persona["name"], "content": greeting}
            self.payload["history"] = [line]

    async def reply(self, message: str) -> dict[str, Any]:
        """The ChatResponse to a message. Raises as `stream` does, and where the model failed."""
        response: dict[str, Any] = {}
        async for event in self.stream(message):
            response = event.get("response", response)
        if response["error"]:
            raise ChatError(response["error"], "llm", retryable=True)
        return response

    async def stream(self, message: str) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a turn (`token` with its `text`, and others), the last one `final`.

        What fails before the server answers is sent again, `TRIES` times in all. A turn that fails
        leaves the chat as it was. To leave before the end (`contextlib.aclosing`) stops the work.

        Raises:
            ChatError: there is no reply, or only a part of it.
        """
        history = (self.payload.get("history") or [])[-KEPT:]
        asked = {**self.payload, "history": history, "message": message, "stream": True}
        answer = await self._send(asked)
        try:
            async for event in _events(answer):
                if event["type"] == "error":
                    error = event.get("error", event)
                    raise ChatError.read(error, "the reply broke off", retryable=True)
                if event["type"] == "final":
                    self.payload = next_payload(asked, event["response"])
                yield event
                if event["type"] == "final":
                    return
        except httpx.TransportError as error:
            raise _unreached(error) from None
        except (ValueError, KeyError, TypeError):
            raise ChatError("what answers is not Iyagi", "unknown", retryable=False) from None
        finally:
            await answer.aclose()
        raise ChatError("the reply broke off before its end", "connection", retryable=True)

    async def _send(self, asked: dict[str, Any]) -> httpx.Response:
        """An answer whose events can be read."""
        for tries in range(1, TRIES + 1):
            headers = {WORKER: self.worker} if self.worker else {}
            request = self._http.build_request("POST", "/chat", json=asked, headers=headers)
            pause = None
            try:
                answer = await self._http.send(request, stream=True)
                if answer.is_success:
                    self.worker = answer.headers.get(WORKER, self.worker)
                    return answer
                pause, busy = _retry_after(answer), answer.status_code == 429
                failure = await _refusal(answer)
            except httpx.TransportError as error:
                failure, busy = _unreached(error), False
            if not busy:  # another worker may do better
                self.worker = None
            if not failure.retryable or tries == TRIES:
                raise failure
            if pause is None:
                pause = random.uniform(0.5, 1) * 2**tries  # so that not all chats come back at once
            await asyncio.sleep(min(pause, LONGEST))
        raise AssertionError("unreachable")


async def _events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Server-sent events of one line each; other lines are comments that keep the line open.

    Lines are cut at line feeds: httpx's own way also cuts at signs that may stand in a text.
    """
    rest = b""
    async for data in answer.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


async def _refusal(answer: httpx.Response) -> ChatError:
    """Why a request was not answered.

    A 400 that is none of Iyagi's is the load balancer's: no worker was ready in time.
    """
    status = answer.status_code
    try:
        said = json.loads(await answer.aread())
    except ValueError:
        said = None
    finally:
        await answer.aclose()
    error = said.get("error") if isinstance(said, dict) else None
    ours = isinstance(error, dict)
    retryable = status in AGAIN or (status == 400 and not ours)
    return ChatError.read(error, f"the server answered HTTP {status}", retryable=retryable)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds to wait, where the server says so: as a number or as a date."""
    said = answer.headers.get("Retry-After", "")
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _unreached(error: httpx.TransportError) -> ChatError:
    """What failed on the way; the error's own words may hold an address."""
    name = type(error).__name__
    return ChatError(f"the server cannot be reached ({name})", "connection", retryable=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m scripts.chat_client",
        description="Chat with an Iyagi server; an empty line ends.",
        allow_abbrev=False,
    )
    parse.add_argument("--url", required=True, help="such as https://ENDPOINT.api.runpod.ai")
    parse.add_argument("--key-env", metavar="NAME", help="the environment variable with the key")
    parse.add_argument(
        "--server-key-env", metavar="NAME", help="the same for Iyagi's own key, behind Runpod's"
    )
    parse.add_argument(
        "--persona", type=Path, help="a card (PNG, CHARX, JSON) or a persona (JSON); default: Nell"
    )
    parse.add_argument("--session", help="id of the chat; default: a new one")
    parse.add_argument("--user", help="your id; with it the server may remember the chat")
    parse.add_argument("--user-name", help="what the character calls you")
    return parse


def opening(args: argparse.Namespace) -> dict[str, Any]:
    """The payload that the options describe.

    Raises:
        BadRequest: the card cannot be read.
    """
    from cards.load import load_character
    from cards.lore.events import to_events
    from scripts.turn import MOCK

    persona, lore = load_character(args.persona or MOCK / "sample_persona.json")
    payload = {
        "persona": persona.model_dump(mode="json", exclude_defaults=True),
        "story": [event.model_dump(mode="json") for event in to_events(lore)],
        "session_id": args.session,
        "user_id": args.user,
        "user_name": args.user_name,
    }
    return {name: value for name, value in payload.items() if value}


async def talk(http: httpx.AsyncClient, payload: dict[str, Any], lines: Iterator[str]) -> int:
    """Says the lines and prints the replies; gives 1 where the last one failed."""
    chat, failed = Chat(http, payload), False
    for line in chat.payload.get("history", []):
        print(f"{line['content']}\n")
    while message := await asyncio.to_thread(next, lines, ""):
        error: str | None
        try:
            async with aclosing(chat.stream(message)) as events:
                async for event in events:
                    if event["type"] == "token":
                        print(event["text"], end="", flush=True)
                    error = (event.get("response") or {}).get("error")
        except ChatError as refused:
            error = str(refused)
        print("\n", flush=True)
        if failed := bool(error):
            print(f"error: {error}", file=sys.stderr)
    return int(failed)


def _typed() -> Iterator[str]:
    """Lines of standard input until an empty one; a terminal is asked for each."""
    try:
        while line := input("> " if sys.stdin.isatty() else "").strip():
            yield line
    except EOFError:
        return


def _secret(name: str | None) -> str | None:
    """An environment variable that is to be there."""
    if name and not os.environ.get(name):
        raise ValueError(f"the environment variable {name} is not set")
    return os.environ[name] if name else None


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 the last turn failed, 2 the input is at fault."""
    args = parser().parse_args(argv)

    async def run() -> int:
        keys = (_secret(args.key_env), _secret(args.server_key_env))
        async with connect(args.url, *keys) as http:
            return await talk(http, opening(args), _typed())

    try:
        return asyncio.run(run())
    except (IyagiError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(in_terminal(main))
