"""The shape of what `benchmarks.speed` reports; never a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.speed import Peers, table
from benchmarks.speed_child import Child, chat, next_turn
from benchmarks.speed_cold import environment, environment_mb
from benchmarks.speed_plot import draw
from benchmarks.speed_table import markdown
from graph.settings import ROOT
from schemas.request import ChatRequest

FIGURES: dict[str, Any] = {
    "cold_start_s": {"iyagi": 1.0, "iyagi_again": 0.9, "peer": 2.0, "peer_torch": 11.0},
    "turn_ms": {
        "20": {"iyagi": 5.0, "iyagi_new": 30.0, "peer": 150.0},
        "1000": {"iyagi": 9.0, "iyagi_new": 400.0, "peer": 6000.0},
    },
    "spread": {},
}


class Fake:
    """A build that answers at once and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def turn(self, request: dict[str, Any]) -> dict[str, float]:
        self.asked.append(request)
        return {"generate": 1.0, "total": 3.0}

    async def settle(self) -> None:
        pass

    def model_takes(self, seconds: float) -> None:
        pass


def test_chats_are_requests_and_share_no_message() -> None:
    one, other = chat(300, "a"), chat(300, "b")
    assert ChatRequest.model_validate(one).history
    assert chat(300, "a") == one
    texts = [{line["content"] for line in request["history"]} for request in (one, other)]
    assert len(texts[0]) == 300
    assert not texts[0] & texts[1]


async def test_a_known_chat_goes_on_and_a_new_one_is_new() -> None:
    build = Fake()
    child = Child(build)
    found = await child.do({"do": "turns", "messages": 20, "turns": 2, "known": True})
    assert {name: len(values) for name, values in found.items()} == {
        "wall_ms": 2,
        "cpu_ms": 2,
        "parts_ms": 2,
    }
    assert [len(request["history"]) for request in build.asked] == [20, 22, 24]
    assert build.asked[2]["history"][:22] == build.asked[1]["history"]
    await child.do({"do": "turns", "messages": 20, "turns": 1, "known": False})
    assert build.asked[3]["history"] != build.asked[0]["history"]


async def test_turns_at_once_count_what_is_not_the_models() -> None:
    task = {"do": "together", "messages": 20, "at_once": 3, "turns": 2, "model_s": 0.0}
    found = await Child(Fake()).do(task)
    assert found["turns"] == 6
    assert found["overhead_ms"] == [2.0] * 6


async def test_memory_is_read_ten_times_on_the_way() -> None:
    build = Fake()
    found = await Child(build).do({"do": "many", "messages": 20, "chats": 3, "turns": 30})
    assert len(found["rss_mb"]) == 11
    assert min(found["rss_mb"]) > 0
    assert max(len(request["history"]) for request in build.asked) == 20 + 2 * 9


def test_the_next_turn_may_be_sent() -> None:
    assert ChatRequest.model_validate(next_turn(chat(20, "a"), 1)).history[-1].role == "character"


def test_the_environment_is_weighed_by_package() -> None:
    size = environment_mb()
    assert size["total"] > 100
    assert "onnxruntime" in size["largest"]
    assert size["missing"] == []


def test_what_is_measured_sees_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IYAGI_LLM", "openai")
    monkeypatch.setenv("RUNPOD_POD_ID", "mine")
    found = environment(Path("somewhere"))
    assert found["IYAGI_LLM"] == "scripted"
    assert "RUNPOD_POD_ID" not in found


def test_the_picture_is_svg_and_names_who_is_in_it() -> None:
    picture = draw(FIGURES)
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}polyline")) == 3
    assert "Iyagi, chat never seen" in picture
    assert "the same on torch" not in picture.split("</text>")[-2]


def test_the_table_leaves_the_spread_to_the_json() -> None:
    text = table(FIGURES)
    assert "cold_start_s" in text
    assert "spread" not in text


def test_peers_are_those_that_can_run() -> None:
    assert list(Peers.of(None, "model").commands) == ["peer"]
    assert Peers.of("python-with-torch", "model").commands["peer_torch"] == [
        "python-with-torch",
        "model",
    ]


@pytest.mark.slow
def test_the_smallest_run_reports_everything(tmp_path: Path) -> None:
    picture = tmp_path / "speed.svg"
    command = [sys.executable, "-m", "benchmarks.speed", "--smallest", "--json"]
    done = subprocess.run(
        [*command, "--svg", str(picture)],
        cwd=ROOT,
        env={**os.environ, "LANGSMITH_TRACING": "false"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    figures = json.loads(done.stdout)
    assert {"iyagi", "iyagi_again", "peer"} <= set(figures["cold_start_s"])
    assert {"iyagi", "iyagi_new", "iyagi_p95", "peer"} <= set(figures["turn_ms"]["20"])
    assert set(figures["worker_ready_s"]) == {"iyagi", "iyagi_again", "first_job"}
    assert {"embed", "generate"} <= set(figures["nodes_ms"]["20"])
    assert figures["import_ms"]["total"] > 0
    assert figures["throughput"]["1"]["peer"] > 0
    assert 0 < figures["throughput"]["2"]["iyagi_share"] < 2
    assert figures["memory_mb"]["iyagi"]["after"] > 0
    low, high = figures["spread"]["turn_ms"]["20"]["iyagi"]
    assert low <= figures["turn_ms"]["20"]["iyagi"] <= high
    ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    rows = markdown(figures).splitlines()
    assert rows[0] == "| | Iyagi | LangChain + Chroma |"
    assert all(row.count("|") == 4 for row in rows)
    assert len(rows) > 10
