"""Ten turns of one chat with the language model of the settings: `python -m benchmarks.engine
[--url http://127.0.0.1:8080/v1 --model NAME] [--language ko] [--turns 10] [--json]`.

The mock chat is played on through the whole pipeline, once for each place of the notes
(`IYAGI_PROMPT_PLACE`). Every run is another chat (its user has another name), so nothing of the run
before is cached. Shown, over all turns but the first:

    cached        share of the prompt's tokens that the server found in its cache, as it reports it
    first_ms      median milliseconds from the request to the first token
    cold_ms       the same of the first turn, of which nothing is cached
    tokens_s      tokens a second of the reply, as its words arrived
    ours_ms       median milliseconds of everything that is not the server's
    prompt        tokens of the prompt, on average
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from benchmarks.metrics import table
from graph.next_turn import next_payload
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import ROOT, Settings, load_settings

MESSAGES = {
    "en": ("Go on, I am listening.", "And then?", "*I pour the tea.* Who told you that?", "I see."),
    "ko": (
        "계속 말해 봐요, 듣고 있어요.",
        "그래서요?",
        "*차를 따른다.* 누가 그랬어요?",
        "그렇군요.",
    ),
}
REQUESTS = {"en": "sample_request.json", "ko": "sample_request.ko.json"}
COLUMNS = ("cached", "first_ms", "cold_ms", "tokens_s", "ours_ms", "prompt")
PLACES = get_args(Settings.model_fields["prompt_place"].annotation)
REPLY = 60
"""Tokens of a reply at most."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What was measured of a turn."""

    prompt: int
    cached: int | None
    first_ms: float
    tokens_s: float
    ours_ms: float


async def play(settings: Settings, language: str, turns: int, user: str) -> list[Turn]:
    """The turns of one chat."""
    pipeline = Pipeline(make_services(settings))
    file = ROOT / "data/mock" / REQUESTS[language]
    payload = json.loads(file.read_text(encoding="utf-8"))
    payload |= {"user_name": user, "respond_as": "character", "gen": {"max_new_tokens": REPLY}}
    played = []
    for row in range(turns):
        payload["message"] = MESSAGES[language][row % len(MESSAGES[language])]
        turn, answer = await measured(pipeline, payload)
        played.append(turn)
        payload = next_payload(payload, answer)
        print(".", end="", file=sys.stderr, flush=True)
    await pipeline.drain()
    return played


async def measured(pipeline: Pipeline, payload: dict[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """A turn, and the response."""
    started, first, last = time.perf_counter(), 0.0, 0.0
    async for event in pipeline.stream(payload):
        if event["type"] == "token":
            last = time.perf_counter()
            first = first or last
        elif event["type"] == "final":
            answer = event["response"]
    if answer["error"]:
        sys.exit(f"error: {answer['error']}")
    usage, timing = answer["usage"], answer["timing"]
    written = usage["completion_tokens"] - 1
    turn = Turn(
        prompt=usage["prompt_tokens"],
        cached=usage.get("cached_tokens"),
        first_ms=1000 * ((first or time.perf_counter()) - started),
        tokens_s=written / (last - first) if last > first else 0.0,
        ours_ms=timing["total"] - timing["nodes"]["generate"],
    )
    return turn, answer


def figures(turns: Sequence[Turn]) -> dict[str, object]:
    """The row of one run."""
    first, *later = turns
    told = [turn for turn in later if turn.cached is not None]
    prompts = sum(turn.prompt for turn in told)
    return {
        "cached": sum(turn.cached or 0 for turn in told) / prompts if prompts else None,
        "first_ms": round(statistics.median(turn.first_ms for turn in later)),
        "cold_ms": round(first.first_ms),
        "tokens_s": statistics.mean(turn.tokens_s for turn in later),
        "ours_ms": round(statistics.median(turn.ours_ms for turn in later)),
        "prompt": round(statistics.mean(turn.prompt for turn in turns)),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Plays and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of a server; with --model, instead of the settings")
    parser.add_argument("--model")
    parser.add_argument("--context", type=int, help="instead of IYAGI_LLM_CONTEXT")
    parser.add_argument("--language", choices=sorted(REQUESTS), default="en")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    if given.turns < 2 or bool(given.url) != bool(given.model):
        parser.error("two turns at least; --url and --model go together")
    settings = load_settings()
    if given.url:
        of_server = {"llm": "openai", "llm_url": given.url, "llm_models": (given.model,)}
        settings = settings.model_copy(update=of_server)
    if given.context:
        settings = settings.model_copy(update={"llm_context": given.context})
    rows = {}
    for number, place in enumerate(given.places):
        there = settings.model_copy(update={"prompt_place": place})
        user = ("Robin", "Quinn", "Avery")[number % 3]
        rows[place] = figures(asyncio.run(play(there, given.language, given.turns, user)))
    print(file=sys.stderr)
    print(json.dumps(rows) if given.json else table(rows, COLUMNS))


if __name__ == "__main__":
    main()
