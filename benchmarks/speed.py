"""How fast, and how much memory, against the usual build: `python -m benchmarks.speed [--json]`.

All in one run, Iyagi and its peers by turns, so that what disturbs one disturbs the others; every
figure is a median. `peer` is `benchmarks/peer_langchain.py` with our embedder and our fake model;
`peer_torch` the same with sentence-transformers, where `--torch-python` names an interpreter that
has the extra. Turns include the fake model, which takes a few milliseconds.

    cold_start_s      new process to the first byte of the reply to the mock request; `iyagi` finds
                      an empty index folder, `iyagi_again` the one of the start before
    worker_ready_s    new process until it asks for a job, `first_job` until that is answered
    import_ms         by package, of a whole turn in the terminal
    turn_ms           by messages of the chat: `iyagi` where it is known, `iyagi_new` where none of
                      it was ever seen; `peer`, of which `peer_embedding` is spent on vectors
    turn_cpu_ms       the same in processor time, which other work on the machine disturbs less
    throughput        turns a second, by turns at once, what is done after a reply included;
                      `iyagi_share` of what the processor time of one at a time would allow on all
                      cores; `model_2s` is the time that is ours while 64 users, who read for two
                      seconds, talk to a model that writes for two seconds
    memory_mb         resident: after the first turn, and after many turns over many chats
    environment_mb    on disk, of what requirements.lock names
    spread            least and greatest of what is above, of `turn_ms` with the 95th percentile
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.metrics import percentile
from benchmarks.speed_cold import ROOT, environment, environment_mb, first_reply, imports, worker
from benchmarks.speed_plot import draw

Figures = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    starts: int
    histories: tuple[int, ...]
    turns: int
    """Of Iyagi for each history; of a chat never seen, and of the peers, one in ten."""
    at_once: tuple[int, ...]
    chats: int
    """For memory, ten turns each."""


FULL = Size(5, (20, 200, 1000, 5000), 50, (1, 2, 4, 8, 16, 32, 64), 1000)
QUICK = Size(2, (20, 200, 1000), 10, (1, 8), 10)
SMALLEST = Size(1, (20,), 2, (1, 2), 2)


@dataclass(frozen=True)
class Peers:
    """The interpreters and models of what is compared, by name."""

    commands: Mapping[str, list[str]]

    @classmethod
    def of(cls, torch_python: str | None, model: str) -> Peers:
        """All that can run here."""
        commands = {"peer": [sys.executable]}
        if torch_python:
            commands["peer_torch"] = [torch_python, model]
        return cls(commands)


class Asked:
    """A `benchmarks.speed_child` that is ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.answer()

    def ask(self, do: str, **task: Any) -> Figures:
        """The answer to a task."""
        assert self._process.stdin
        print(json.dumps({"do": do, **task}), file=self._process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Figures:
        """The next line of the child."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measured process ended with {self._process.wait()}")
        found: Figures = json.loads(line)
        return found


@contextmanager
def child(name: str, python: str, *model: str) -> Iterator[Asked]:
    """A build in a process of its own, with an empty index."""
    with tempfile.TemporaryDirectory() as index:
        process = subprocess.Popen(
            [python, "-m", "benchmarks.speed_child", name, *model],
            cwd=ROOT,
            env=environment(Path(index)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Asked(process)
        finally:
            process.kill()
            process.communicate()


def cold(size: Size, peers: Peers) -> Figures:
    """Starts of the terminal and of the worker, and the imports of a turn."""
    us = [sys.executable, "-m", "handler", "--stream"]
    samples: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    ready: list[float] = []
    job: list[float] = []

    def start(name: str, command: list[str], index: Path) -> None:
        took = first_reply(command, index)
        samples.setdefault(name, []).append(took.seconds)
        cpu.setdefault(name, []).append(took.cpu_seconds)

    for _ in range(size.starts):
        with tempfile.TemporaryDirectory() as folder:
            start("iyagi", us, Path(folder))
            start("iyagi_again", us, Path(folder))
            for name, (python, *model) in peers.commands.items():
                flags = ["--model", *model] if model else []
                command = [python, "-m", "benchmarks.peer_langchain", *flags]
                start(name, command, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            asked, answered = worker(Path(folder))
            ready.append(asked.seconds)
            job.append(answered)
            again, _ = worker(Path(folder))
            samples.setdefault("worker_again", []).append(again.seconds)
    with tempfile.TemporaryDirectory() as folder:
        times = imports(["-m", "handler", "--json"], Path(folder))
    again_s = samples.pop("worker_again")
    workers = {"iyagi": ready, "iyagi_again": again_s, "first_job": job}
    return {
        "cold_start_s": _medians(samples, 2),
        "cold_start_cpu_s": _medians(cpu, 2),
        "worker_ready_s": _medians(workers, 2),
        "import_ms": {"total": round(sum(times.values())), **dict(list(times.items())[:15])},
        "spread": {"cold_start_s": _spread(samples, 2), "worker_ready_s": _spread(workers, 2)},
    }


def turns(size: Size, iyagi: Asked, peers: Mapping[str, Asked]) -> Figures:
    """The time of a turn by messages in the chat."""
    result: Figures = {"turn_ms": {}, "turn_cpu_ms": {}, "nodes_ms": {}, "spread": {"turn_ms": {}}}
    rounds = max(2, size.turns // 10)
    for messages in size.histories:
        wall: dict[str, list[float]] = {}
        cpu: dict[str, list[float]] = {}
        parts: dict[str, list[float]] = {}

        def take(name: str, asked: Asked, count: int, known: bool, of: int = messages) -> None:
            found = asked.ask("turns", messages=of, turns=count, known=known)
            wall.setdefault(name, []).extend(found["wall_ms"])  # noqa: B023 - used at once
            cpu.setdefault(name, []).extend(found["cpu_ms"])  # noqa: B023
            for turn in found["parts_ms"]:
                for part, took in turn.items():
                    if part == "embedding" or (known and part != "total"):
                        key = f"{name}_{part}" if part == "embedding" else part
                        parts.setdefault(key, []).append(took)  # noqa: B023

        for _ in range(rounds):
            take("iyagi", iyagi, max(1, size.turns // rounds), known=True)
            take("iyagi_new", iyagi, 1, known=False)
            for name, asked in peers.items():
                take(name, asked, 1, known=False)
        key = str(messages)
        embedding = {name: took for name, took in parts.items() if name.endswith("_embedding")}
        result["turn_ms"][key] = {
            **_medians(wall | embedding, 1),
            "iyagi_p95": round(percentile(wall["iyagi"], 0.95), 1),
        }
        result["turn_cpu_ms"][key] = _medians(cpu, 1)
        result["nodes_ms"][key] = _medians(
            {name: took for name, took in parts.items() if name not in embedding}, 2
        )
        result["spread"]["turn_ms"][key] = _spread(wall, 1)
    return result


def together(size: Size, iyagi: Asked, peer: Asked) -> Figures:
    """Turns a second of so many chats at once, and what is ours beside a model that takes time."""
    rates: dict[str, Figures] = {}
    messages = 200 if size.chats > 2 else 20
    for at_once in size.at_once:
        share = {"messages": messages, "at_once": at_once, "model_s": 0.0}
        us = iyagi.ask("together", turns=max(1, 128 // at_once if size.chats > 2 else 1), **share)
        rates[str(at_once)] = {"iyagi": round(us["turns"] / us["wall_s"], 1)}
        rates[str(at_once)]["iyagi_cpu_ms"] = round(1000 * us["cpu_s"] / us["turns"], 1)
        allowed = (os.cpu_count() or 1) / (rates["1"]["iyagi_cpu_ms"] / 1000)
        rates[str(at_once)]["iyagi_share"] = round(rates[str(at_once)]["iyagi"] / allowed, 2)
        if at_once in (1, 8):
            them = peer.ask("together", turns=1, **share)
            rates[str(at_once)]["peer"] = round(them["turns"] / them["wall_s"], 1)
    seconds = 2.0 if size.chats > 2 else 0.1
    rates["model_2s"] = {}
    for at_once in (1, size.at_once[-1]):
        task = {"messages": messages, "at_once": at_once, "turns": 3, "model_s": seconds}
        ours = iyagi.ask("together", pause_s=seconds, **task)["overhead_ms"]
        rates["model_2s"][str(at_once)] = {
            "p50": round(percentile(ours, 0.5), 1),
            "p95": round(percentile(ours, 0.95), 1),
        }
    return {"throughput": rates}


def memory(size: Size, commands: Peers) -> Figures:
    """Resident megabytes of fresh processes."""
    sizes: Figures = {}
    with child("iyagi", sys.executable) as iyagi:
        found = iyagi.ask("many", messages=20, chats=1, turns=1)["rss_mb"]
        sizes["iyagi"] = {"at_rest": found[-1]}
        found = iyagi.ask("many", messages=20, chats=size.chats, turns=10 * size.chats)["rss_mb"]
        sizes["iyagi"] |= {"turns": 10 * size.chats, "after": found[-1], "on_the_way": found}
    for name, (python, *model) in commands.commands.items():
        with child(name, python, *model) as peer:
            rest = peer.ask("many", messages=20, chats=1, turns=1)["rss_mb"][-1]
            count = max(2, size.chats // 20)
            found = peer.ask("many", messages=20, chats=count, turns=count)["rss_mb"]
            sizes[name] = {"at_rest": rest, "turns": count, "after": found[-1]}
    return {"memory_mb": sizes}


def measure(size: Size, peers: Peers) -> Figures:
    """All figures of one run."""
    machine: Figures = {
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "load_before": round(os.getloadavg()[0], 1),
    }
    started = cold(size, peers)
    with ExitStack() as stack:
        iyagi = stack.enter_context(child("iyagi", sys.executable))
        others = {
            name: stack.enter_context(child(name, *command))
            for name, command in peers.commands.items()
        }
        turned = turns(size, iyagi, others)
        busy = together(size, iyagi, others["peer"])
    spread = started.pop("spread") | turned.pop("spread")
    figures = started | turned | busy | memory(size, peers)
    machine["load_after"] = round(os.getloadavg()[0], 1)
    return {**figures, "environment_mb": environment_mb(), "spread": spread, "machine": machine}


def _medians(samples: Mapping[str, list[float]], digits: int) -> dict[str, float]:
    return {name: round(statistics.median(took), digits) for name, took in samples.items()}


def _spread(samples: Mapping[str, list[float]], digits: int) -> dict[str, list[float]]:
    return {
        name: [round(min(took), digits), round(max(took), digits)] for name, took in samples.items()
    }


def table(figures: Figures) -> str:
    """The figures as lines of text."""
    lines = []
    for name, part in figures.items():
        if name == "spread":
            continue
        lines.append(name)
        for key, value in part.items():
            shown = value
            if isinstance(value, dict):
                shown = "  ".join(f"{what} {number}" for what, number in value.items())
            lines.append(f"    {key:14}{shown}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measures; prints a table or JSON, and draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    parser.add_argument("--svg", type=Path, help="draw the figures into this file")
    parser.add_argument("--torch-python", help="an interpreter with the extra `huggingface`")
    parser.add_argument("--torch-model", help="its model; default: the shape of all-MiniLM-L6-v2")
    options = parser.parse_args(argv)
    size = SMALLEST if options.smallest else QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        if options.torch_python and not options.torch_model:
            command = [options.torch_python, "-m", "benchmarks.peer_langchain"]
            subprocess.run(
                [*command, "--write-untrained", folder], cwd=ROOT, check=True, capture_output=True
            )
        figures = measure(size, Peers.of(options.torch_python, options.torch_model or folder))
    print(json.dumps(figures) if options.json else table(figures))
    if options.svg:
        options.svg.parent.mkdir(parents=True, exist_ok=True)
        options.svg.write_text(draw(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
