"""Does memory reach the reply? `python -m benchmarks.answers FILE.chat.jsonl... [--llm openai]
[--context 4096] [--questions 25] [--json]`

Questions about a long chat are put to the character through the whole pipeline, with the model of
the settings (`IYAGI_LLM`, ...), under four conditions:

    nothing   the newest lines alone, with the room for notes left empty
    newest    the newest lines alone, as many as fit
    ours      the newest lines and what was recalled
    gold      as `nothing`, but the lines that hold the answer have just been said

Shown are, averaged over the questions: `prompt`, the share of the gold lines that stand in the
prompt; `words`, the share of the gold words that the reply says: words of the gold lines that are
neither in the question nor in every tenth line of the chat; `answered`, the share of replies that
say half of them or more; and tokens of the prompt and of its notes. With `--llm scripted`, which
reads nothing, `prompt` alone has a meaning. The format of the files is told in
`benchmarks/corpus.py`; the second speaker of a chat plays the character, the first the user.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus import read_lines
from benchmarks.metrics import mean, table
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import Settings, load_settings
from retrieval.text import tokens

CONDITIONS = ("nothing", "newest", "ours", "gold")
COLUMNS = ("questions", "prompt", "words", "answered", "prompt_tokens", "notes_tokens")
COMMON = 0.1
"""Share of a chat's lines from which a word says nothing."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a chat, with the lines that hold its answer and the words to be heard."""

    payload: dict[str, Any]
    gold: list[dict[str, str]]
    words: frozenset[str]


def read_questions(path: Path, most: int) -> list[Asked]:
    """Some questions of a file, at even steps, as requests with the whole chat as history."""
    asked: list[Asked] = []
    for chat in read_lines(path):
        lines = {it["id"]: it for it in chat["messages"]}
        speakers = [it["speaker"] for it in chat["messages"]]
        user, character = [name for name, _ in Counter(speakers).most_common(2)]
        common = Counter(term for it in lines.values() for term in set(tokens(it["text"])))
        history = [_line(it, user, character) for it in lines.values()]
        for query in chat["queries"]:
            gold = [lines[id] for id in query["relevant"] if id in lines]
            words = {term for it in gold for term in tokens(it["text"])} - set(
                tokens(query["text"])
            )
            telling = frozenset(t for t in words if common[t] <= COMMON * len(lines))
            payload = {
                "message": query["text"],
                "persona": {"name": character, "language": chat.get("language", "en")},
                "user_name": user,
                "history": history,
                "respond_as": "character",
                "gen": {"temperature": 0, "seed": SEED, "max_new_tokens": 80},
                "meta": {"debug": True},
            }
            if gold and telling:
                asked.append(Asked(payload, [_line(it, user, character) for it in gold], telling))
    random.Random(SEED).shuffle(asked)
    return asked[:most]


def _line(message: dict[str, Any], user: str, character: str) -> dict[str, str]:
    role = "user" if message["speaker"] == user else "character"
    return {
        "id": message["id"],
        "role": role,
        "name": message["speaker"],
        "content": message["text"],
    }


def request(asked: Asked, condition: str) -> dict[str, Any]:
    """The request of a question under a condition."""
    payload = asked.payload
    if condition == "ours":
        return payload
    history = payload["history"]
    if condition == "gold":
        told = {line["id"] for line in asked.gold}
        history = [line for line in history if line["id"] not in told] + asked.gold
    return {**payload, "history": history, "chat_rag_config": {"enabled": False}}


async def measure(path: Path, settings: Settings, most: int) -> dict[str, dict[str, float]]:
    """Of each condition, the means over the questions of a file."""
    pipeline = Pipeline(make_services(settings))
    crowded = settings.model_copy(update={"prompt_notes_tokens": 0})
    newest = Pipeline(make_services(crowded))
    rows: dict[str, list[dict[str, float]]] = {condition: [] for condition in CONDITIONS}
    for asked in read_questions(path, most):
        for condition in CONDITIONS:
            by = newest if condition == "newest" else pipeline
            answer = await by.chat(request(asked, condition))
            if answer["error"]:
                sys.exit(f"error: {answer['error']}")
            rows[condition].append(measured(asked, answer))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    await asyncio.gather(pipeline.drain(), newest.drain())
    return {name: {"questions": len(found), **mean(found)} for name, found in rows.items()}


def measured(asked: Asked, answer: dict[str, Any]) -> dict[str, float]:
    """The figures of one reply."""
    prompt = answer["meta"]["prompt"]
    said = set(tokens(" ".join(part["text"] for part in answer["response_contents"])))
    heard = len(asked.words & said) / len(asked.words)
    parts = prompt["tokens"]
    return {
        "prompt": sum(line["content"].strip() in prompt["text"] for line in asked.gold)
        / len(asked.gold),
        "words": heard,
        "answered": float(heard >= 0.5),
        "prompt_tokens": parts["total"],
        "notes_tokens": parts["memories"] + parts["frame"],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Asks and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--context", type=int, help="instead of IYAGI_LLM_CONTEXT")
    parser.add_argument("--llm", help="instead of IYAGI_LLM")
    parser.add_argument("--questions", type=int, default=25, help="of each file")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    changes = {"llm": given.llm, "llm_context": given.context}
    settings = load_settings().model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    results = {
        path.name: asyncio.run(measure(path, settings, given.questions)) for path in given.files
    }
    if given.json:
        print(json.dumps(results))
        return
    for name, rows in results.items():
        print(name)
        print(table(rows, COLUMNS))


if __name__ == "__main__":
    main()
