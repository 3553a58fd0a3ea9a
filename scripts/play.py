"""A whole story in the terminal, from its beginning: `python -m scripts.play --help`.

One line is one message; `/narrate ...` lets the narrator tell, `/as NAME ...` lets NAME speak, an
empty line ends. Lines may be piped in: `python -m scripts.play < lines.txt`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cards.load import load_json
from schemas.errors import BadRequest, IyagiError
from schemas.terminal import in_terminal
from scripts.turn import MOCK


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m scripts.play",
        description="Play a story through; without options, the mock story from its beginning.",
        allow_abbrev=False,
    )
    parse.add_argument(
        "--request", type=Path, default=MOCK / "sample_request.json", help="persona and story"
    )
    parse.add_argument("--story", type=Path, help="take the story's events from this file")
    parse.add_argument("--position", type=int, default=0, help="where the story stands (default 0)")
    parse.add_argument("--llm", choices=["scripted", "openai", "llamacpp", "huggingface"])
    return parse


def opening(args: argparse.Namespace) -> dict[str, Any]:
    """The payload before the first message.

    Raises:
        BadRequest: a file is at fault, or there is no story.
    """
    from graph.next_turn import first_payload

    payload = load_json(args.request)
    if not isinstance(payload, dict):
        raise BadRequest("must hold a JSON object", field=args.request.name)
    if args.story:
        payload["story"] = load_json(args.story)
    if not payload.get("story"):
        raise BadRequest("holds no story; give one with --story FILE", field=args.request.name)
    return first_payload(payload, position=args.position)


async def play(payload: dict[str, Any], lines: Iterable[str]) -> dict[str, Any]:
    """Plays the lines and prints each turn; gives the payload after the last one."""
    from graph.app import drain, handle_chat
    from graph.next_turn import next_payload

    lines = iter(lines)
    while message := (await asyncio.to_thread(next, lines, "")).strip():
        payload = {**payload, "message": message}
        response = await handle_chat(payload)
        print(told(response), flush=True)
        payload = next_payload(payload, response)
    await drain()
    return payload


def told(response: dict[str, Any]) -> str:
    """A turn for the reader: the reply, who gave it and why, and where the story stands."""
    text = "".join(piece["text"] for piece in response["response_contents"]).strip()
    name = next((piece["speaker"] for piece in response["response_contents"]), "")
    parts = [f"{name}: {text}" if text else f"error: {response['error']}"]
    parts.append(f"  [{response['meta']['route']['reason']}]")
    if story := response["meta"].get("story"):
        parts.append(f"  [story {story['position_after']}, distance {story['distance']:.2f}]")
        parts.append(f"  [{story['why']}]")
    return "\n".join(parts) + "\n"


def _typed(prompt: str) -> Iterable[str]:
    """Lines of standard input; a terminal is asked for each."""
    if not sys.stdin.isatty():
        yield from (line for line in sys.stdin if line.strip())
        return
    while True:
        try:
            yield input(prompt)
        except EOFError:
            return


def main(argv: Sequence[str] | None = None) -> int:
    """0 played, 1 the machine failed, 2 the input is at fault."""
    args = parser().parse_args(argv)
    if args.llm:
        os.environ["IYAGI_LLM"] = args.llm
    try:
        payload = opening(args)
        if greeting := payload["persona"].get("first_message"):
            print(f"{payload['persona']['name']}: {greeting}\n")
        asyncio.run(play(payload, _typed(f"{payload.get('user_name') or 'You'}> ")))
    except IyagiError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2 if error.code in ("bad_request", "settings") else 1
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(in_terminal(main))
