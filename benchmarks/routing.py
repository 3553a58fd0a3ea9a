"""How well the router decides: `python -m benchmarks.routing FILE... [--json]`.

FILE is a `*.route.jsonl` (one turn per line: history, message, label narrator|character), a
`*.chat.jsonl` (ordinary conversation: every message is a turn that wants no narrator) or a `*.txt`
(scenes whose lines say who should answer them; lab/scenes.ko.txt tells the form).

Shown per file: n, narrator share, balanced accuracy (mean of both recalls), narrator F1, AUC of the
narrator's probability, narrator rate, and microseconds per decision beyond the embedding (median,
nothing cached). Plain accuracy is not shown: "always the character" would win it.

Two kinds of label exist. Turns that readers judged (they carry `transcript` beside `label`) say who
should answer. Transcripts say who spoke next, and there a game master's persons count as narrator;
these are decided with `narrator_plays_people`. `--people` sets it for all files.

`--second-opinion CONFIDENCE` asks the language model of the settings (`IYAGI_LLM=openai`, ...)
where the evidence is less sure, as the `route` node does; `asked` and `decided` count how often,
and the accuracies are those of the decisions after it. AUC stays that of the evidence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from embedding.backends import e5, minilm
from embedding.embedder import Embedder
from language.script import Script, script_of
from routing import Decision, Exemplars, Line, RouterInput, decide
from routing.decide import column_of
from routing.evidence import LINES_READ
from routing.exemplars import exemplars_of
from schemas.request import ChatRequest

Item = tuple[RouterInput, bool]
"""A turn and whether its label is narrator."""
Figure = float | str | None
People = Literal["auto", "narrator", "character"]


def read_items(path: Path, people: People = "auto") -> list[Item]:
    """The labelled turns of one file, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".txt":
        return [item for scene in scenes(lines) for item in scene]
    records = [json.loads(line) for line in lines if line.strip()]
    if records and "messages" in records[0]:
        return [item for record in records for item in _chat_items(record)]
    return [(_route_turn(record, people), record["label"] == "narrator") for record in records]


def scenes(lines: Sequence[str]) -> Iterator[list[Item]]:
    """The labelled turns of each scene of a text: whoever speaks a marked line is its user."""
    told: list[Line] = []
    items: list[Item] = []
    for line in lines:
        if line.startswith("== "):
            yield items
            told, items = [], []
        elif line.startswith("| "):
            told.append(Line("narrator", "", line[2:]))
        elif marked := _MARKED.fullmatch(line):
            mark, who, text = marked.groups()
            if mark:
                items.append((_scene_turn(who, text, told), mark == "n "))
            told.append(Line("character", who, text))
    yield items


_MARKED = re.compile(r"([nc] )?([^#].*?): (.+)")


def _scene_turn(who: str, text: str, told: Sequence[Line]) -> RouterInput:
    before = [line._replace(role="user") if line.speaker == who else line for line in told]
    other = (line.speaker for line in reversed(before) if line.role == "character")
    return RouterInput(text, before[-LINES_READ:], character=next(other, ""), user_name=who)


def _route_turn(record: dict[str, Any], people: People) -> RouterInput:
    plays = "transcript" not in record if people == "auto" else people == "narrator"
    return RouterInput(
        message=record["message"],
        history=[Line(h["role"], h["speaker"], h["text"]) for h in record["history"]],
        character=record["character"] or "",
        user_name=record["user"],
        narrator_plays_people=plays,
    )


def _chat_items(record: dict[str, Any]) -> Iterator[Item]:
    """Conversations between people, and running dialogues that end in a query, turn by turn."""
    for query in record["queries"]:
        if "context" in query and record["queries"][0]["category"] == "dialogue":
            said = [(c["speaker"], c["text"]) for c in query["context"]]
            user = next((speaker for speaker, _ in said if speaker != "Assistant"), "User")
            yield from _turns_of([*said, (user, query["text"])], only=user)
    if record["queries"] and record["queries"][0]["category"] == "dialogue":
        return  # the messages are one-line memories there, not a conversation
    for session in sorted({m["session"] for m in record["messages"]}):
        yield from _turns_of(
            [(m["speaker"], m["text"]) for m in record["messages"] if m["session"] == session]
        )


def _turns_of(said: Sequence[tuple[str, str]], only: str | None = None) -> Iterator[Item]:
    """Every line as the message of a turn whose speaker is the user."""
    for i, (user, message) in enumerate(said):
        if only is None or user == only:
            before = said[max(0, i - LINES_READ) : i]
            lines = [
                Line("user" if who == user else "character", who, text) for who, text in before
            ]
            other = next((who for who, _ in reversed(before) if who != user), "")
            yield RouterInput(message, lines, character=other, user_name=user), False


def area_under_curve(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """Probability that a narrator turn scores above a character turn; None without both."""
    y = np.asarray(labels)
    positive, negative = int(y.sum()), int((~y).sum())
    if not positive or not negative:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # equal scores share their mean rank
    return float((rank[y].sum() - positive * (positive + 1) / 2) / (positive * negative))


def score(
    said: Sequence[bool], scores: Sequence[float], labels: Sequence[bool]
) -> dict[str, float | None]:
    """The figures of one file; what needs both labels is None where only one occurs."""
    p, y = np.asarray(said), np.asarray(labels)
    both = bool(y.any() and (~y).any())
    hits = int((p & y).sum())
    return {
        "n": len(y),
        "narrator_share": round(float(y.mean()), 4),
        "balanced_accuracy": round(float((p[y].mean() + (~p)[~y].mean()) / 2), 4) if both else None,
        "f1": round(2 * hits / int(p.sum() + y.sum()), 4) if both else None,
        "auc": round(area_under_curve(scores, labels) or 0.0, 4) if both else None,
        "narrator_rate": round(float(p.mean()), 4),
    }


class Learned:
    """The bundled embedders, and the exemplars under each."""

    def __init__(self) -> None:
        self.embedders: dict[Script, Embedder] = {"latin": minilm(), "cjk": e5()}
        self.exemplars = {
            script: asyncio.run(exemplars_of(script, embedder))
            for script, embedder in self.embedders.items()
        }

    def with_vectors(self, turns: Sequence[RouterInput]) -> list[tuple[RouterInput, Exemplars]]:
        """The turns with the vectors of their messages, embedded in batches, and what these are
        compared with."""
        scripts = [script_of([*(line.text for line in t.history), t.message]) for t in turns]
        made: list[tuple[RouterInput, Exemplars]] = [(t, self.exemplars["latin"]) for t in turns]
        for script, embedder in self.embedders.items():
            rows = [row for row, its in enumerate(scripts) if its == script]
            vectors = embedder.encode_queries([turns[row].message for row in rows]) if rows else ()
            for row, vector in zip(rows, vectors, strict=True):
                made[row] = (replace(turns[row], vector=vector), self.exemplars[script])
        return made


def measure_file(
    path: Path, people: People, learned: Learned, ask_below: float = 0.0
) -> dict[str, Figure]:
    """Decide every turn of a file; the clock runs for the decision alone."""
    items = read_items(path, people)
    decisions, seconds = [], []
    known = learned.with_vectors([turn for turn, _ in items])
    for turn, exemplars in known:
        start = time.perf_counter()
        decision = decide(turn, exemplars)
        seconds.append(time.perf_counter() - start)
        decisions.append(decision)
    turns = [turn for turn, _ in known]
    asked: dict[str, Figure] = {}
    if ask_below:
        decisions, asked = asyncio.run(_ask(turns, decisions, ask_below))
    said = [decision.speaker == "narrator" for decision in decisions]
    scores = [decision.narrator_probability for decision in decisions]
    figures = score(said, scores, [label for _, label in items])
    columns = Counter(map(column_of, turns))
    timed: dict[str, Figure] = {
        "us_p50": round(float(np.median(seconds)) * 1e6, 1),
        "column": columns.most_common(1)[0][0],
    }
    return {**figures, **timed, **asked}


async def _ask(
    turns: Sequence[RouterInput], decisions: Sequence[Decision], below: float
) -> tuple[list[Decision], dict[str, Figure]]:
    """The decisions after the model of the settings was asked about the unsure ones."""
    from graph.services import make_services
    from graph.settings import load_settings
    from nodes.route import with_opinion
    from nodes.second_opinion import second_opinion
    from schemas.rag import Lore
    from schemas.state import Context

    model = make_services(load_settings()).models.offered[0]
    places = asyncio.Semaphore(8)
    decided = 0

    async def after(turn: RouterInput, decision: Decision) -> Decision:
        nonlocal decided
        if decision.confidence >= below:
            return decision
        async with places:
            opinion = await second_opinion(_request(turn), Lore(), model, Context())
        decided += opinion.decided is not None
        return with_opinion(decision, opinion)

    found = await asyncio.gather(*map(after, turns, decisions))
    asked = sum(decision.confidence < below for decision in decisions)
    return list(found), {"asked": asked, "decided": decided}


def _request(turn: RouterInput) -> ChatRequest:
    """The turn as a request: a card without words, as the files have none."""
    lines = [
        {"role": role, "name": name or None, "content": text} for role, name, text in turn.history
    ]
    return ChatRequest.model_validate(
        {
            "message": turn.message,
            "persona": {"name": turn.character or "Character"},
            "user_name": turn.user_name or None,
            "history": lines,
        }
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or with --json one object {file: figures}."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--people", choices=["auto", "narrator", "character"], default="auto",
                        help="who speaks for minor persons (default: as labelled)")  # fmt: skip
    parser.add_argument("--second-opinion", type=float, default=0.0, metavar="CONFIDENCE",
                        help="ask the model of the settings below this confidence")  # fmt: skip
    options = parser.parse_args(arguments)
    learned = Learned()
    try:
        results = {
            str(p): measure_file(p, options.people, learned, options.second_opinion)
            for p in options.files
        }
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(
            f"benchmarks.routing: {error!r}; give *.route.jsonl or *.chat.jsonl files\n"
        )
        return 2
    sys.stdout.write(
        json.dumps(results, ensure_ascii=False) + "\n" if options.json else _table(results)
    )
    return 0


def _cell(figure: Figure) -> str:
    if figure is None:
        return "–"
    return figure if isinstance(figure, str) else f"{figure:g}"


def _table(results: dict[str, dict[str, Figure]]) -> str:
    names = ["n", "narrator_share", "balanced_accuracy", "f1", "auc", "narrator_rate", "us_p50"]
    names += ["column", *(n for n in ("asked", "decided") if any(n in f for f in results.values()))]
    rows = [["file", *names]]
    for file, figures in results.items():
        cells = [_cell(figures[name]) for name in names]
        rows.append([Path(file).name, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
