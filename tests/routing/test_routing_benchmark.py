"""`python -m benchmarks.routing` on two turns of our own, with and without the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.routing import main, read_items


@pytest.fixture
def turns(tmp_path: Path) -> Path:
    shared = {"character": "Mira", "user": "Robin", "transcript": "narrator"}
    line = {"role": "character", "speaker": "Mira", "text": "There you are."}
    turns = [
        {"message": "*waves* Hello, how are you today?", "label": "character"},
        {"message": "I push the door open. What do I see?", "label": "narrator"},
    ]
    path = tmp_path / "own.route.jsonl"
    rows = (json.dumps(shared | {"history": [line]} | turn) for turn in turns)
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def figures(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> dict[str, float]:
    assert main([str(path), "--json", *options]) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)[str(path)]
    return found


def test_the_figures_of_the_evidence(turns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(capsys, turns)
    assert found.items() >= {"n": 2, "narrator_share": 0.5, "balanced_accuracy": 1.0}.items()
    assert "asked" not in found


def test_the_model_is_asked_below_a_confidence(
    turns: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IYAGI_LLM", "scripted")
    silent = figures(capsys, turns, "--second-opinion", "1")
    assert (silent["asked"], silent["decided"], silent["balanced_accuracy"]) == (2, 0, 1.0)
    monkeypatch.setattr("llm.scripted.compose", lambda prompt, *_: "Narrator")
    told = figures(capsys, turns, "--second-opinion", "1")
    assert (told["asked"], told["decided"], told["narrator_rate"]) == (2, 2, 1.0)


def test_a_scene_whose_lines_say_who_should_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.txt"
    path.write_text(
        "# Own\n== Home\n| Rain.\nMira: Hello.\nc Robin: Are you ill, Mira?\nn Mira: *smiles*\n",
        encoding="utf-8",
    )
    found = figures(capsys, path)
    assert found.items() >= {"n": 2, "narrator_share": 0.5, "balanced_accuracy": 1.0}.items()
    (asks, _), (smiles, narrator) = read_items(path)
    assert [line.role for line in asks.history] == ["narrator", "character"]
    assert (asks.character, asks.user_name) == ("Mira", "Robin")
    assert narrator and [line.role for line in smiles.history] == ["narrator", "user", "character"]
