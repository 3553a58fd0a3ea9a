"""The benchmarks that ask a language model, with the one that reads nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import answers, engine, reply_quality, tokens


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IYAGI_ENV_FILE", "")
    monkeypatch.setenv("IYAGI_LLM", "scripted")
    monkeypatch.setenv("IYAGI_INDEX_DIR", str(tmp_path))


def chat(path: Path) -> Path:
    """A long chat of two that says once where the ladder is."""
    told = {1: "The ladder leans behind the old cider mill."}
    lines = [
        {
            "id": f"m{row}",
            "speaker": ("Ann", "Ben")[row % 2],
            "text": told.get(row, f"Line {row} is about the weather of a day in week {row}. " * 6),
            "session": 1,
        }
        for row in range(80)
    ]
    asked = {"text": "Where is the ladder?", "relevant": ["m1"], "category": "direct"}
    file = path / "some.chat.jsonl"
    file.write_text(
        json.dumps({"id": "x", "language": "en", "messages": lines, "queries": [asked]})
    )
    return file


def test_what_was_recalled_reaches_the_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.main([str(chat(tmp_path)), "--context", "2048", "--json"])
    rows = json.loads(capsys.readouterr().out)["some.chat.jsonl"]
    assert rows["nothing"]["prompt"] == rows["newest"]["prompt"] == 0
    assert rows["ours"]["prompt"] == rows["gold"]["prompt"] == 1
    assert rows["ours"]["notes_tokens"] > 0 == rows["nothing"]["notes_tokens"]
    assert rows["ours"]["words"] > 0.5, "the scripted reply quotes the best memory"


def test_a_server_that_tells_nothing_of_its_cache(capsys: pytest.CaptureFixture[str]) -> None:
    engine.main(["--turns", "2", "--places", "after_history", "--json"])
    row = json.loads(capsys.readouterr().out)["after_history"]
    assert row["cached"] is None
    assert row["prompt"] > 1000
    assert row["first_ms"] > 0


def test_replies_that_are_the_same_again_are_seen(capsys: pytest.CaptureFixture[str]) -> None:
    reply_quality.main(["--turns", "2", "--languages", "ko", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert rows["ko read"]["empty"] == rows["ko read"]["language"] == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("...", "empty"),
        ("I will wait here.", "language"),
        ("지난 대화: 그래.", "notes"),
        ("그래 나는 여기 있을게", "repeats"),
        ("*웃는다 그래.", "marks"),
    ],
)
def test_each_fault_of_a_reply(text: str, fault: str) -> None:
    found = reply_quality.faults(text, "ko", ["그래 나는 여기 있을게"])
    assert [name for name, is_so in found.items() if is_so] == [fault]


def test_the_formats_of_a_kind_of_tokenizer() -> None:
    assert "chatml" in tokens.formats_of("qwen")
    narrator, character, *_ = tokens.prompts("ko", "chatml")
    assert narrator.startswith("<|im_start|>system")
    assert narrator.endswith("내레이터:") and character.endswith("구봉숙:")
