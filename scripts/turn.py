"""One turn in the terminal: `python -m handler --help`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cards.files import write_file
from cards.load import load_character, load_history, load_json, load_lore
from cards.lore.events import to_events
from cards.lore.lorebook import stack
from llm.presets import in_process, preset_for
from prompts.words import language_of
from schemas.errors import BadRequest, IyagiError, SettingsError
from schemas.request import ChatRequest

SMALLEST = "smollm2-135m"
"""The model of `make run`, from a Python package."""
LANGUAGE = {"en": "English", "ko": "Korean"}
GREETING = {"en": "Hello!", "ko": "안녕하세요?"}
MOCK = Path(__file__).resolve().parent.parent / "data" / "mock"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m handler",
        description="Answer one turn; without options, on the mock data in data/mock/.",
        allow_abbrev=False,
    )
    parse.add_argument(
        "--request",
        type=Path,
        help="a whole request (JSON); default: the mock one, or an empty one with --persona",
    )
    parse.add_argument(
        "--persona", type=Path, help="the character: a card (PNG, CHARX, JSON) or a persona (JSON)"
    )
    parse.add_argument(
        "--lore", type=Path, action="append", help="a lorebook, beside the card's own; repeatable"
    )
    parse.add_argument("--history", type=Path, help="the chat so far: JSONL, JSON or text")
    parse.add_argument("--story", type=Path, help="take the story's events from this file")
    parse.add_argument("--message", help="say this")
    parse.add_argument("--user-name", help="what the character calls you")
    parse.add_argument("--respond-as", choices=["auto", "narrator", "character"])
    parse.add_argument(
        "--llm",
        choices=["scripted", "openai", "llamacpp", "huggingface"],
        help="instead of IYAGI_LLM",
    )
    parse.add_argument(
        "--local",
        action="store_true",
        help="where IYAGI_LLM is not set, answer with the smallest real model, as make run does",
    )
    parse.add_argument("--stream", action="store_true", help="print the reply as it is written")
    parse.add_argument("--json", action="store_true", help="print the ChatResponse and no more")
    parse.add_argument("--html", type=Path, help="write the turn as a page, too")
    return parse


def build_payload(args: argparse.Namespace) -> dict[str, Any]:
    """The request that the options describe."""
    payload = _base(args)
    books = []
    notes: list[str] = []
    if args.persona:
        persona, book = load_character(args.persona, notes)
        payload["persona"] = persona.model_dump(mode="json", exclude_defaults=True)
        payload.setdefault("message", GREETING[language_of(persona, "")])
        books.append(book)
    for option in ("message", "respond_as", "user_name"):
        if (value := getattr(args, option)) is not None:
            payload[option] = value
    if args.story:
        payload["story"] = load_json(args.story)
    books += [load_lore(path, notes) for path in args.lore or ()]
    if lore := to_events(stack(*books)):
        told = payload.get("story", [])
        events = [event.model_dump(mode="json") for event in lore]
        payload["story"] = [*events, *told] if isinstance(told, list) else told
    if args.history:
        who = {"user": payload.get("user_name"), "character": _name(payload)}
        lines = load_history(args.history, **who, notes=notes)
        payload["history"] = [line.model_dump(mode="json", exclude_none=True) for line in lines]
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    said = payload.get("history")
    if not isinstance(said, list) or not any("timestamp" in line for line in said):
        payload.setdefault("timestamp", datetime.now().astimezone().isoformat(timespec="minutes"))
    if args.html:
        meta = payload.get("meta", {})
        payload["meta"] = {**meta, "debug": True} if isinstance(meta, dict) else meta
    return payload


def _base(args: argparse.Namespace) -> dict[str, Any]:
    """The request that the other options change; a new character starts with an empty one."""
    if args.persona and not args.request:
        return {}
    path = args.request or MOCK / "sample_request.json"
    payload = load_json(path)
    if not isinstance(payload, dict):
        raise BadRequest("must hold a JSON object", field=path.name)
    return payload


def _name(payload: dict[str, Any]) -> str | None:
    """The character's, if the request has one by now."""
    persona = payload.get("persona")
    name = persona.get("name") if isinstance(persona, dict) else None
    return name if isinstance(name, str) else None


async def answer(payload: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Runs the turn and prints it; gives the ChatResponse.

    What the turn leaves for the next one is written after that, so nobody waits for it.
    """
    from graph.app import drain, stream_chat

    gc.freeze()  # what is imported stays, and need not be looked through for garbage
    async for event in stream_chat(payload):
        if event["type"] == "final":
            response: dict[str, Any] = event["response"]
        elif event["type"] == "token" and args.stream:
            print(event["text"], end="", flush=True)
    tell(payload, response, args)
    sys.stdout.flush()
    await drain()
    return response


def tell(payload: dict[str, Any], response: dict[str, Any], args: argparse.Namespace) -> None:
    """Prints the turn in the way that the options want; what was streamed is not said again."""
    if args.stream:
        print("\n")
    if args.json:
        print(json.dumps(response, ensure_ascii=False, indent=2))
        return
    from scripts.show import show

    if not args.stream:
        print(f"{payload.get('user_name') or 'You'}\n{payload['message']}\n")
    show(response, with_reply=not args.stream)


def main(argv: Sequence[str] | None = None) -> int:
    """0 answered, 1 the model or the machine failed, 2 the input is at fault."""
    args = parser().parse_args(argv)
    if args.llm:
        os.environ["IYAGI_LLM"] = args.llm
    try:
        payload = build_payload(args)
        lacking = take_smallest(payload) if args.local and not args.llm else ""
        response = asyncio.run(answer(payload, args))
        if args.html:
            from play.single import single_page

            write_file(args.html, single_page(payload, response).encode(), force=True)
    except IyagiError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2 if error.code in ("bad_request", "settings") else 1
    if response["error"]:
        print(f"error: {response['error']}", file=sys.stderr)
        return 1
    if note := lacking or remark(response["model_info"]["name"], payload):
        print(f"note: {note}", file=sys.stderr)
    return 0


def take_smallest(payload: dict[str, Any]) -> str:
    """Sets the environment to the smallest real model, where the operator chose none and it is
    here; else says why `scripted` answers, or nothing where the operator chose a backend."""
    from graph.settings import load_settings

    settings = load_settings()
    chosen = settings.model_fields_set
    if "llm" in chosen:
        return ""
    if meant := [
        f"IYAGI_{it.upper()}" for it in ("llm_path", "llm_models", "llm_url") if it in chosen
    ]:
        return (
            f"no model wrote this: {' and '.join(meant)} needs IYAGI_LLM, which is not set; set it "
            "to llamacpp, openai or huggingface"
        )
    if note := speechless(SMALLEST, payload):  # in bytes, as it reads them, a card would not fit
        return f"no model wrote this: {note}"
    from llm.gguf import find
    from llm.llamacpp import runtime

    if not (find_spec("xllamacpp") and find(SMALLEST, settings.index_dir)):
        return (
            "no model wrote this: none could be installed (no network, or no wheel for this "
            "platform); try again: make run"
        )
    try:
        runtime()
    except SettingsError as error:
        return f"no model wrote this: {error.message}"
    os.environ |= {"IYAGI_LLM": "llamacpp", "IYAGI_LLM_MODELS": SMALLEST}
    return ""


def remark(model: str, payload: dict[str, Any]) -> str:
    """What to expect of this model with this character, where that is little."""
    if model in (SMALLEST, preset_for(SMALLEST).name):
        return (
            "this was SmolLM2-135M, the smallest of models: it writes English sentences and little "
            "sense; for a better one: make model"
        )
    return speechless(model, payload)


def speechless(model: str, payload: dict[str, Any]) -> str:
    """That a model of `make model` does not write the character's language, and which do; empty if
    it does. Of other models nobody knows: many write more than they were made for."""
    try:
        request = ChatRequest.model_validate(payload)
    except ValidationError:  # the turn says so, and better
        return ""
    language = language_of(request.persona, request.message)
    offered = in_process()
    if (preset := preset_for(model)) not in offered.values() or language in preset.languages:
        return ""
    able = ", ".join(name for name, row in offered.items() if language in row.languages)
    return f"{model} writes no {LANGUAGE[language]}; these do: {able} (make model)"
