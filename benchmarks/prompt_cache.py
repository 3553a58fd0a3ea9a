"""How much of each prompt an engine with a prefix cache has to compute again.

    python -m benchmarks.prompt_cache [--context 8192] [--turns 100] [--seeds 20] [--json]

A simulated chat over the real `build_prompt`: a card that makes the system block 800 tokens, user
messages of 20-60 and replies of 80-200 tokens, and each turn 0-4 events of 60 tokens from a pool
of 30 and 3 memories of 80 from a pool of 400. Every word is unique and counts as one token, so
two prompts share a prefix only where their text is the same. One warm server holds the last
prompt and its reply; it reuses whole blocks of 16 tokens.

Columns: share of prompt tokens reused, tokens computed per turn (mean and 95th percentile), share
of turns that keep no more than the system block, and tokens of verbatim history per turn.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from prompts.build import build_prompt
from prompts.tokens import remembered
from schemas.rag import DialogueTurn, PromptBuildInput, PromptLayout, RAGChunk
from schemas.request import Persona

BLOCK = 16
SYSTEM = 800
RESERVE = 300

TOKEN = re.compile(r"<\|\w+\|>|\w+|[^\w\s]")

LAYOUTS: dict[str, dict[str, object]] = {
    "top_sliding": {"place": "before_history", "keep": 1.0},
    "depth4_sliding": {"place": "depth", "keep": 1.0},
    "after_history_sliding": {"keep": 1.0},
    "top_blocks": {"place": "before_history"},
    "depth4_blocks": {"place": "depth"},
    "after_history_blocks": {},
}
"""The two usual layouts, ours (last), and what lies between."""


def tokenize(text: str) -> list[str]:
    """Words and marks; a mark of the format is one token."""
    return TOKEN.findall(text)


count = remembered(lambda text: len(tokenize(text)))


@dataclass
class Server:
    """One warm slot with a prefix cache."""

    held: list[str] = field(default_factory=list)

    def ask(self, prompt: str, reply: str) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them were reused."""
        tokens = tokenize(prompt)
        common = 0
        for old, new in zip(self.held, tokens, strict=False):
            if old != new:
                break
            common += 1
        self.held = tokens + tokenize(reply)
        return len(tokens), min(common // BLOCK * BLOCK, len(tokens) - 1)


class Chat:
    """A chat whose words never repeat, and what is retrieved each turn."""

    def __init__(self, seed: int) -> None:
        """The same seed makes the same chat."""
        self._draw = random.Random(seed)
        self._words = (f"w{number}" for number in range(10**9))
        self.events = [_chunk("story", n, self.text(60)) for n in range(30)]
        self.memories = [_chunk("chat", n, self.text(80)) for n in range(400)]

    def text(self, low: int, high: int | None = None) -> str:
        """A text of that many tokens."""
        size = self._draw.randint(low, high or low)
        return " ".join(next(self._words) for _ in range(size))

    def retrieved(self) -> tuple[list[RAGChunk], list[RAGChunk]]:
        """Memories and events of one turn, in the order of an imagined score."""
        events = self._draw.sample(self.events, self._draw.randint(0, 4))
        return self._draw.sample(self.memories, 3), events


def _chunk(source: Literal["chat", "story"], number: int, text: str) -> RAGChunk:
    key = "row" if source == "chat" else "order"
    return RAGChunk(id=f"{source}{number:03}", source=source, text=text, meta={key: number})


def simulate(layout: PromptLayout, seed: int, turns: int) -> Iterator[tuple[int, int, int, int]]:
    """For each turn: tokens of the prompt, reused, of its system block, of verbatim history."""
    chat, server = Chat(seed), Server()
    persona = Persona(name="Sera", language="en")
    bare = PromptBuildInput(persona=persona, user_message="w", user_name="Min", layout=layout)
    rules = build_prompt(bare, count=count).meta["tokens"]["system"]
    persona = persona.model_copy(update={"description": chat.text(SYSTEM - rules)})
    history: list[DialogueTurn] = []
    for _ in range(turns):
        message, reply = chat.text(20, 60), chat.text(80, 200)
        memories, events = chat.retrieved()
        given = PromptBuildInput(
            persona=persona,
            history=history,
            user_message=message,
            user_name="Min",
            chat_context=memories,
            story_context=events,
            layout=layout,
        )
        output = build_prompt(given, count=count)
        if layout.keep == 1:  # who slides, gives the history all that this turn's notes leave
            sections = output.meta["tokens"]
            notes = sections["memories"] + sections["story"] + sections["frame"]
            exact = layout.model_copy(update={"volatile_tokens": notes})
            output = build_prompt(given.model_copy(update={"layout": exact}), count=count)
        if not all(item["delivered"] for item in output.meta["items"]):
            raise AssertionError("the simulation's notes do not fit: raise volatile_tokens")
        tokens = output.meta["tokens"]
        total, reused = server.ask(output.prompt, reply)
        yield total, reused, tokens["system"], tokens["history"] + tokens["message"]
        history = [
            *history,
            DialogueTurn(role="user", name="Min", content=message),
            DialogueTurn(role="character", name="Sera", content=reply),
        ]


def measure(context: int, turns: int, seeds: int, knobs: dict[str, object]) -> dict[str, float]:
    """The columns for one layout, over all seeds."""
    layout = PromptLayout.model_validate(
        {
            "context_length": context,
            "max_new_tokens": RESERVE,
            "volatile_tokens": 540,  # 4 x 60, 3 x 80, their bullets and headings
            **knobs,
        }
    )
    rows = [row for seed in range(seeds) for row in simulate(layout, seed, turns)]
    computed = [total - reused for total, reused, _, _ in rows]
    rebuilt = [reused <= system for at, (_, reused, system, _) in enumerate(rows) if at % turns]
    return {
        "prefix_hit": round(sum(row[1] for row in rows) / sum(row[0] for row in rows), 4),
        "uncached_tokens_per_turn": round(statistics.mean(computed), 1),
        "p95": statistics.quantiles(computed, n=20)[-1],
        "rebuild_turns": round(statistics.mean(rebuilt), 4),
        "history_tokens_kept": round(statistics.mean(row[3] for row in rows), 1),
    }


def main() -> None:
    """Measures every layout and prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--context", type=int, default=8192, help="context length in tokens")
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    results = {
        name: measure(options.context, options.turns, options.seeds, knobs)
        for name, knobs in LAYOUTS.items()
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    columns = list(next(iter(results.values())))
    print(" " * 22, *(f"{column:>24}" for column in columns))
    for name, row in results.items():
        print(f"{name:22}", *(f"{row[column]:24,}" for column in columns))


if __name__ == "__main__":
    main()
