"""The benchmark of the prefix cache, in small."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.prompt_cache import LAYOUTS, Server, main, measure

COLUMNS = {
    "prefix_hit",
    "uncached_tokens_per_turn",
    "p95",
    "rebuild_turns",
    "history_tokens_kept",
}


def test_our_layout_beats_the_usual_ones() -> None:
    small = {name: measure(3072, 40, 1, LAYOUTS[name]) for name in LAYOUTS}
    ours, top, depth = (
        small[name] for name in ("after_history_blocks", "top_sliding", "depth4_sliding")
    )
    assert ours["prefix_hit"] > 2 * top["prefix_hit"]
    assert ours["prefix_hit"] > depth["prefix_hit"] + 0.2
    assert ours["uncached_tokens_per_turn"] < 0.6 * depth["uncached_tokens_per_turn"]
    assert ours["history_tokens_kept"] > 0.65 * top["history_tokens_kept"]


def test_the_server_reuses_whole_blocks_of_the_common_prefix() -> None:
    server = Server()
    words = [f"w{number}" for number in range(60)]
    assert server.ask(" ".join(words[:40]), " ".join(words[40:50])) == (40, 0)
    assert server.ask(" ".join([*words[:45], "other"]), "x") == (46, 32)
    assert server.ask(" ".join([*words[:45], "other"]), "x") == (46, 32)


def test_the_command_prints_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prompt_cache", "--turns", "4", "--seeds", "1", "--json"])
    main()
    results = json.loads(capsys.readouterr().out)
    assert set(results) == set(LAYOUTS)
    assert all(set(row) == COLUMNS for row in results.values())
