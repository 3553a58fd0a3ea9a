"""How clean replies are: `python -m benchmarks.replies FILE.reply.jsonl... [--json]`.

One reply per line: `{"id", "dataset", "language", "user", "character", "raw", "impersonates",
"own_tag", "expected"}`. Shares per file, all to be 0:
  impersonation_left  of the lines with `impersonates`: a line still starts with the user's tag
  own_tag_left        of the lines with `own_tag`: a line still starts with the character's tag
  overcut             of the lines with `expected`: the text differs from it
  empty               of all lines: no text is left
and `us_p50`, the median time of a reply in microseconds.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from replies.reply import read_reply
from replies.tags import Cast
from schemas.response import ParsedReply

Item = dict[str, Any]


def measure(items: Sequence[Item]) -> dict[str, float | int]:
    """The figures of one file, its replies read as a character's."""
    texts: list[str] = []
    times: list[int] = []
    for item in items:
        _read(item)  # compiles the names: once per chat, not per reply
        begin = time.perf_counter_ns()
        texts.append(_read(item).text)
        times.append(time.perf_counter_ns() - begin)

    def share(wanted: Callable[[Item], bool], bad: Callable[[Item, str], bool]) -> float:
        found = [bad(item, text) for item, text in zip(items, texts, strict=True) if wanted(item)]
        return round(sum(found) / len(found), 6) if found else 0.0

    return {
        "n": len(items),
        "impersonation_left": share(
            lambda item: bool(item["impersonates"]), lambda item, text: _has_tag(text, item["user"])
        ),
        "own_tag_left": share(
            lambda item: bool(item["own_tag"]), lambda item, text: _has_tag(text, item["character"])
        ),
        "overcut": share(
            lambda item: item["expected"] is not None,
            lambda item, text: text != item["expected"],
        ),
        "empty": share(lambda item: True, lambda item, text: not text),
        "us_p50": round(statistics.median(times) / 1000, 1) if times else 0.0,
    }


def _read(item: Item) -> ParsedReply:
    return read_reply(item["raw"], Cast("character", (item["character"],), (item["user"],)))


def _has_tag(text: str, name: str) -> bool:
    """Whether a line starts with the name, in whatever marks, and a colon."""
    tag = re.compile(rf"[^\w\n]*{re.escape(name)}[^\w\n]*[:：]", re.IGNORECASE)
    return any(tag.match(line) for line in text.split("\n"))


def load(path: Path) -> list[Item]:
    """The lines of a file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _table(results: dict[str, dict[str, float | int]]) -> Iterator[str]:
    columns = ["n", "impersonation_left", "own_tag_left", "overcut", "empty", "us_p50"]
    width = max(map(len, results), default=4)
    yield "  ".join(["file".ljust(width), *columns])
    for name, figures in results.items():
        yield "  ".join([name.ljust(width), *(str(figures[c]).rjust(len(c)) for c in columns)])


def main(arguments: Iterable[str] | None = None) -> None:
    """Prints the figures of the named files."""
    parser = argparse.ArgumentParser(description="How clean replies are.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.reply.jsonl")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    results = {path.name: measure(load(path)) for path in options.files}
    print(json.dumps(results) if options.json else "\n".join(_table(results)))


if __name__ == "__main__":
    main()
