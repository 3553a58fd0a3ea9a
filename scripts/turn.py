"""One turn in the terminal: `python -m handler --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.errors import BadRequest, IyagiError

MOCK = Path(__file__).resolve().parent.parent / "data" / "mock"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m handler",
        description="Answer one turn; without options, on the mock data in data/mock/.",
        allow_abbrev=False,
    )
    parse.add_argument(
        "--request", type=Path, default=MOCK / "sample_request.json", help="a whole request (JSON)"
    )
    parse.add_argument("--persona", type=Path, help="take the persona from this file")
    parse.add_argument("--history", type=Path, help="take the chat so far from this file")
    parse.add_argument("--story", type=Path, help="take the story's events from this file")
    parse.add_argument("--message", help="say this")
    parse.add_argument("--respond-as", choices=["auto", "narrator", "character"])
    parse.add_argument(
        "--llm", choices=["scripted", "openai", "huggingface"], help="instead of IYAGI_LLM"
    )
    parse.add_argument("--stream", action="store_true", help="print the reply as it is written")
    parse.add_argument("--json", action="store_true", help="print the ChatResponse and no more")
    return parse


def read_json(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        BadRequest: the file cannot be read or is not JSON; says where.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadRequest(f"cannot be read: {error.strerror}", field=path.name) from None
    except UnicodeDecodeError:
        raise BadRequest("is not UTF-8; save it as UTF-8", field=path.name) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"is not JSON: {error.msg} at {place}", field=path.name) from None
    except RecursionError:
        raise BadRequest("is nested too deeply", field=path.name) from None


def build_payload(args: argparse.Namespace) -> dict[str, Any]:
    """The request that the options describe."""
    payload: Any = read_json(args.request)
    if not isinstance(payload, dict):
        raise BadRequest("must hold a JSON object", field=args.request.name)
    for part in ("persona", "history", "story"):
        if path := getattr(args, part):
            payload[part] = read_json(path)
    for option in ("message", "respond_as"):
        if (value := getattr(args, option)) is not None:
            payload[option] = value
    return dict(payload)


async def answer(payload: object, *, streaming: bool) -> dict[str, Any]:
    """Runs the turn, printing the reply as it grows if asked; gives the ChatResponse."""
    from graph import drain, stream_chat

    response: dict[str, Any] = {}
    async for event in stream_chat(payload):
        if event["type"] == "final":
            response = event["response"]
        elif event["type"] == "token" and streaming:
            print(event["text"], end="", flush=True)
    if streaming:
        print("\n")
    await drain()
    return response


def main(argv: Sequence[str] | None = None) -> int:
    """0 answered, 1 the model or the machine failed, 2 the input is at fault."""
    args = parser().parse_args(argv)
    if args.llm:
        os.environ["IYAGI_LLM"] = args.llm
    try:
        payload = build_payload(args)
        response = asyncio.run(answer(payload, streaming=args.stream))
    except IyagiError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2 if error.code in ("bad_request", "settings") else 1
    if args.json:
        print(json.dumps(response, ensure_ascii=False, indent=2))
    else:
        from scripts.show import show

        if not args.stream:
            print(f"{payload.get('user_name') or 'You'}\n{payload['message']}\n")
        show(response, with_reply=not args.stream)
    if response["error"]:
        print(f"error: {response['error']}", file=sys.stderr)
        return 1
    return 0
