"""`python -m scripts.play` with piped lines."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from scripts.play import main


def test_piped_lines_carry_the_story_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (
        "*I walk in.* I am here for the concertina I left on the boat in April.\n/narrate Rain.\n"
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "story 50" in out and "e05 reached" in out and "directive (slash)" in out


def test_a_request_without_a_story_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"persona": {"name": "하늘"}, "message": ""}', encoding="utf-8")
    assert main(["--request", str(path)]) == 2
    assert "--story" in capsys.readouterr().err
