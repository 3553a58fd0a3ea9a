"""How well story retrieval finds the right event, and whether it tells what it must not.

    python -m benchmarks.story_retrieval FILE.story.jsonl... [--retriever hybrid|dense|bm25]
        [--cold SHARE] [--korean rules|kiwi] [--json]

Recall is measured with the clock off: in these files `position` is the last relevant event, which
gives the answer away. The leak shares are measured with the clock and the characters on, over the
first `LEAK_DEPTH` found: events after `position`, and events whose `characters` lack the one who
asks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.corpus import Case, Question, read_stories
from benchmarks.metrics import mean, measures, percentile, table
from benchmarks.retrievers import NAMES, Retriever
from graph.services import analyzer_of
from retrieval.text import RULES
from schemas.protocols import Analyzer

LEAK_DEPTH = 3
COLUMNS = ("queries", "recall@1", "recall@3", "mrr", "future_leak", "unknown_leak", "ms_p50")


def measure(path: Path, retriever: Retriever, analyzer: Analyzer = RULES) -> dict[str, object]:
    """The measures of one file, averaged over its queries."""
    rows: list[dict[str, float]] = []
    categories: dict[str, list[dict[str, float]]] = {}
    times: list[float] = []
    for case in read_stories(path, analyzer):
        vectors = retriever.vectors(case)
        for question in case.questions:
            ranking, elapsed = retriever.find(case, question, vectors)
            told, _ = retriever.find(case, question, vectors, may_be_told(case, question))
            rows.append(measures(ranking, question.gold) | leaks(case, question, told))
            categories.setdefault(question.category, []).append(rows[-1])
            times.append(elapsed)
    return {
        "queries": len(rows),
        **mean(rows),
        "ms_p50": round(percentile(times, 0.5), 2),
        "ms_p95": round(percentile(times, 0.95), 2),
        "by_category": {
            name: {"queries": len(of_it), **mean(of_it)} for name, of_it in categories.items()
        },
    }


def may_be_told(case: Case, question: Question) -> np.ndarray:
    """(events,) bool: has happened, and the one who asks was there."""
    return np.array(
        [
            not _in_future(order, question) and not _unknown(present, question)
            for order, present in zip(case.orders, case.characters, strict=True)
        ],
        dtype=bool,
    )


def leaks(case: Case, question: Question, told: list[str]) -> dict[str, float]:
    """The shares of what was told, of the first `LEAK_DEPTH`, that must not be."""
    rows = [case.ids.index(event) for event in told[:LEAK_DEPTH]]
    shares = {"future_leak": 0.0, "unknown_leak": 0.0}
    for row in rows:
        shares["future_leak"] += _in_future(case.orders[row], question) / len(rows)
        shares["unknown_leak"] += _unknown(case.characters[row], question) / len(rows)
    return shares


def _in_future(order: int, question: Question) -> bool:
    return question.position is not None and order > question.position


def _unknown(present: list[str] | None, question: Question) -> bool:
    return (
        question.character is not None
        and present is not None
        and question.character.casefold() not in {name.casefold() for name in present}
    )


def main() -> None:
    """Measure the files and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--retriever", choices=NAMES, default="hybrid")
    parser.add_argument("--cold", type=float, help="share of the sentences with a vector")
    parser.add_argument("--korean", choices=("rules", "kiwi"), default="rules")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    retriever = Retriever(arguments.retriever, cold=arguments.cold)
    analyzer = analyzer_of(arguments.korean)
    results = {path.name: measure(path, retriever, analyzer) for path in arguments.files}
    print(json.dumps(results, indent=2) if arguments.json else table(results, COLUMNS))


if __name__ == "__main__":
    main()
