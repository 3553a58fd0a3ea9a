"""How well chat memory finds the right messages.

    python -m benchmarks.chat_retrieval FILE.chat.jsonl... [--retriever hybrid|dense|bm25]
        [--no-context | --interrupted] [--cold SHARE] [--messages N]
        [--korean rules|kiwi] [--json]

`--interrupted` asks every question after six lines of another conversation. `--messages` is for
times: the first conversation is made N messages long, so the other measures mean nothing.
`--json` prints {"file": {"queries", "recall@10", "ndcg@10", "mrr", ..., "ms_p50", "ms_p95",
"by_category": {...}}}. The format of the files is told in `benchmarks/corpus.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.corpus import read_chats
from benchmarks.metrics import mean, measures, percentile, table
from benchmarks.retrievers import NAMES, Retriever
from graph.services import analyzer_of

COLUMNS = ("queries", "recall@5", "recall@10", "ndcg@10", "mrr", "ms_p50", "ms_p95")


def measure(path: Path, retriever: Retriever, **how: Any) -> dict[str, object]:
    """The measures of one file, averaged over its queries; `how` goes to `read_chats`."""
    rows: list[dict[str, float]] = []
    categories: dict[str, list[dict[str, float]]] = {}
    times: list[float] = []
    for case in read_chats(path, plain=retriever.name != "hybrid", **how):
        vectors = retriever.vectors(case)
        for question in case.questions:
            ranking, elapsed = retriever.find(case, question, vectors)
            rows.append(measures(ranking, question.gold))
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


def main() -> None:
    """Measure the files and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--retriever", choices=NAMES, default="hybrid")
    chat = parser.add_mutually_exclusive_group()
    chat.add_argument("--no-context", action="store_true", help="leave the running chat out")
    chat.add_argument("--interrupted", action="store_true", help="ask after another chat's lines")
    parser.add_argument("--cold", type=float, help="share of the messages with a vector")
    parser.add_argument(
        "--messages", type=int, default=0, help="make the first chat this long, for times"
    )
    parser.add_argument("--korean", choices=("rules", "kiwi"), default="rules")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    retriever = Retriever(arguments.retriever, cold=arguments.cold)
    results = {
        path.name: measure(
            path,
            retriever,
            context=not arguments.no_context,
            interrupted=arguments.interrupted,
            messages=arguments.messages,
            analyzer=analyzer_of(arguments.korean),
        )
        for path in arguments.files
    }
    print(json.dumps(results, indent=2) if arguments.json else table(results, COLUMNS))


if __name__ == "__main__":
    main()
