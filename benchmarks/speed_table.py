"""The table of lab/speed.md, of the JSON that `benchmarks.speed --json` prints.

python -m benchmarks.speed_table figures.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUILDS = {"iyagi": "Iyagi", "peer": "LangChain + Chroma", "peer_torch": "the same on torch"}


def markdown(figures: Mapping[str, Any]) -> str:
    """A row for each figure, a column for each build."""
    builds = [name for name in BUILDS if name in figures["cold_start_s"]]
    lines = [f"| | {' | '.join(BUILDS[name] for name in builds)} |", "|---|" + "--:|" * len(builds)]

    def row(title: str, found: Mapping[str, Any], suffix: str = "") -> None:
        shown = (found.get(name + suffix, "") for name in builds)
        lines.append(f"| {title} | {' | '.join(map(_shown, shown))} |")

    row("start to first reply, nothing known, s", figures["cold_start_s"])
    row("the same, started before, s", figures["cold_start_s"], "_again")
    row("processor seconds of a start", figures["cold_start_cpu_s"])
    ready = figures["worker_ready_s"]
    row("worker asks for a job, nothing known, s", ready)
    row("the same, started before, s", ready, "_again")
    for messages, found in figures["turn_ms"].items():
        row(f"turn, {int(messages):,} messages known, p50, ms", found)
        row("… p95, ms", found, "_p95")
        row("… never seen, ms", found, "_new")
    for at_once, found in figures["throughput"].items():
        if at_once != "model_2s":
            row(f"turns a second, {at_once} at once", found)
            row("… of what the processor time of one allows on all cores", found, "_share")
    for at_once, found in figures["throughput"]["model_2s"].items():
        title = f"ours of a turn beside a model of 2 s, {at_once} at once, p50 / p95, ms"
        row(title, {"iyagi": f"{_shown(found['p50'])} / {_shown(found['p95'])}"})
    memory = figures["memory_mb"]
    row("resident at rest, MB", {name: memory[name]["at_rest"] for name in builds})
    after = {name: f"{memory[name]['after']:.0f} ({memory[name]['turns']:,})" for name in builds}
    row("resident after so many turns, MB", after)
    row("base environment on disk, MB", {"iyagi": figures["environment_mb"]["total"]})
    return "\n".join(lines)


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
