"""What hostile input costs, and who waits for it: `python -m benchmarks.hostile [--json]`.

Every case of `benchmarks.hostile_cases` is a job that keeps the limits of a request, or is refused
by them, answered by the dispatcher of a worker with the scripted model and the bundled embedder:

    cpu_s         processor seconds of one job, from the job to its last output, all threads
    after_s       the same of what follows the reply (vectors, memory), cut at 3 s
    places        of ours where most of it was spent; where it was, for a case that was stopped
    blocked_ms    the longest time for which the event loop did nothing else
    wait_ms_p99   of harmless turns, `/v1/models` and `/health` that come while a case is at work,
                  for the cases that take half a second or more

A case that takes longer than `--seconds` of processor time is stopped, and counts as so long. The
other rows, each in processes of their own:

    chroma        turns without memory, with a Chroma server that hangs and with one that works
    outage        results that did not arrive after an outage of the job server
    resident      megabytes after stories and sessions of the largest size, each another
"""

from __future__ import annotations

import argparse
import json
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.hostile_cases import KINDS, Size, cases
from benchmarks.hostile_child import AFTER
from benchmarks.hostile_faults import chroma, outage, resident
from benchmarks.metrics import percentile
from benchmarks.speed_cold import ROOT, environment

Figures = dict[str, Any]

START = 60.0
"""Seconds until a child is ready."""

BUSY = 0.5
"""Processor seconds from which a case is run again beside harmless requests."""


class Children:
    """A `benchmarks.hostile_child`, and the next one where it was stopped."""

    def __init__(self, index: Path, seconds: float, share: float) -> None:
        self._index, self._seconds, self._share = index, seconds, share
        self._process: subprocess.Popen[bytes] | None = None
        self._log = index / "errors.txt"

    def ask(self, name: str, **task: Any) -> Figures:
        """What a case costs; at least `seconds` where it was stopped."""
        process = self._process or self._start()
        assert process.stdin
        process.stdin.write(json.dumps({"case": name, **task}).encode() + b"\n")
        process.stdin.flush()
        answer = self._line(process, 30 * self._seconds)
        if answer is not None:
            if answer["after_s"] >= AFTER:  # it still works on: the next case would count that
                self.stop()
            return answer
        self.stop()
        return {
            "name": name,
            "outcome": "stopped",
            **dict.fromkeys(("cpu_s", "wall_s"), self._seconds),
            "after_s": 0.0,
            "blocked_ms": 1000 * self._seconds,
            "waits_ms": {"turn": [1000 * self._seconds]},
            "places": _where(self._log.read_text(encoding="utf-8", errors="replace")),
        }

    def stop(self) -> None:
        """Ends the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.hostile_child",
                str(self._seconds),
                str(self._share),
            ],
            cwd=ROOT,
            env=environment(self._index),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("wb"),
            bufsize=0,
        )
        if self._line(self._process, START) is None:
            raise RuntimeError("the measured process did not start")
        return self._process

    @staticmethod
    def _line(process: subprocess.Popen[bytes], seconds: float) -> Figures | None:
        assert process.stdout
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([process.stdout], [], [], seconds)[0]:
                return None
            piece = process.stdout.read(1_000_000)
            if not piece:
                return None
            line += piece
        found: Figures = json.loads(line)
        return found


def _where(stacks: str) -> list[str]:
    """The innermost place of ours of each thread that was at work."""
    found = []
    for stack in stacks.split("hread 0x")[1:]:
        frames = re.findall(r'File "(.+)", line (\d+) in (.+)', stack)
        ours = [
            f"{Path(file).relative_to(ROOT)}:{line} {name}"
            for file, line, name in frames
            if Path(file).is_relative_to(ROOT) and ".venv" not in file and "hostile" not in file
        ]
        found += [" < ".join(ours[:3])] if ours else []
    return found


@contextmanager
def children(seconds: float, share: float) -> Iterator[Children]:
    """Processes one after the other, with an empty index."""
    with tempfile.TemporaryDirectory() as index:
        found = Children(Path(index), seconds, share)
        try:
            yield found
        finally:
            found.stop()


def turns(names: list[str], seconds: float, share: float) -> Figures:
    """The cases of these names: each alone, then the busy ones beside harmless requests."""
    rows = []
    with children(seconds, share) as child:
        child.ask(names[0])  # what the first job of a process finds is loaded now
        for name in names:
            row = child.ask(name)
            if row["cpu_s"] >= BUSY and row["outcome"] != "stopped":
                row["waits_ms"] = child.ask(name, beside=True)["waits_ms"]
            rows.append(row)
            told = f"\n{row['cpu_s']:.1f} s {name}\n" if row["cpu_s"] >= 1 else "."
            print(told, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return summary(rows, seconds)


def summary(rows: list[Figures], seconds: float) -> Figures:
    """The figures of all cases, the worst first."""
    waits = [wait for row in rows for times in row["waits_ms"].values() for wait in times]
    for row in rows:
        times = [wait for found in row["waits_ms"].values() for wait in found]
        row["waits_ms"] = round(max(times), 1) if times else 0.0
        row |= {name: round(row[name], 3) for name in ("cpu_s", "after_s", "wall_s")}
        row["blocked_ms"] = round(row["blocked_ms"], 1)
    rows.sort(key=lambda row: -row["cpu_s"])
    return {
        "cases": len(rows),
        "limit_s": seconds,
        "cpu_s_max": rows[0]["cpu_s"],
        "cpu_s_p50": percentile([row["cpu_s"] for row in rows], 0.5),
        "cpu_s_p99": percentile([row["cpu_s"] for row in rows], 0.99),
        "blocked_ms_max": max(row["blocked_ms"] for row in rows),
        "wait_ms_p99": round(percentile(waits, 0.99), 1) if waits else 0.0,
        "faults": [f"{row['name']}: {row['outcome']}" for row in rows if "fault" in row["outcome"]],
        "stopped": sum(row["outcome"] == "stopped" for row in rows),
        "rows": rows,
    }


def table(figures: Figures, worst: int) -> str:
    """The figures for people: those of all cases, and the worst of them."""
    lines = []
    if found := figures.get("turns"):
        told = {name: value for name, value in found.items() if name not in ("rows", "faults")}
        lines += [f"{name:>16}  {value:g}" for name, value in told.items()]
        lines += [f"{'fault':>16}  {fault}" for fault in found["faults"]]
        lines.append(f"\n{'cpu_s':>8} {'after_s':>8} {'blocked':>8} {'wait':>8}  case")
        for row in found["rows"][:worst]:
            over = ">" if row["outcome"] == "stopped" else " "
            lines.append(
                f"{over}{row['cpu_s']:7.2f} {row['after_s']:8.2f} {row['blocked_ms']:8.0f} "
                f"{row['waits_ms']:8.0f}  {row['name']} ({row['outcome']})"
            )
            lines += [f"{'':36}{eater}" for eater in row["places"]]
    for part in ("chroma", "outage", "resident"):
        for name, value in figures.get(part, {}).items():
            lines.append(f"{part:>10}  {name:<24} {value}")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    first = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser("python -m benchmarks.hostile", description=first)
    parser.add_argument("--parts", default="turns,chroma,outage,resident", help="split by commas")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of cases, split by commas")
    parser.add_argument("--only", default="", help="cases with these words in their name")
    parser.add_argument("--every", type=int, default=1, help="one of so many cases")
    parser.add_argument("--seconds", type=float, default=10.0, help="for one case")
    parser.add_argument("--share", type=float, default=1.0, help="of the limits of a request")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds")
    parser.add_argument("--chats", type=int, default=100, help="stories, and sessions, kept")
    parser.add_argument("--worst", type=int, default=25, help="cases in the table")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    parts, figures = given.parts.split(","), Figures()
    if "turns" in parts:
        made = cases(Size.share(given.share), given.kinds.split(","))
        names = [case.name for case in made if given.only in case.name][:: given.every]
        figures["turns"] = turns(names, given.seconds, given.share)
    if "chroma" in parts:
        figures["chroma"] = chroma(given.seconds)
    if "outage" in parts:
        figures["outage"] = outage(given.outage)
    if "resident" in parts:
        figures["resident"] = resident(given.chats, given.share)
    print(json.dumps(figures, indent=2) if given.json else table(figures, given.worst))


if __name__ == "__main__":
    main()
