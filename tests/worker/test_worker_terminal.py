"""The command line, as a person and a script use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from graph.settings import ROOT
from scripts.turn import main
from tests.support import ask


def run(*args: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "handler", *args],
        cwd=ROOT,
        env={**os.environ, "IYAGI_INDEX_DIR": str(tmp_path), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_turn_on_the_mock_data_shows_its_working(tmp_path: Path) -> None:
    done = run(tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    for part in ("character", "Recalled", "m011", "e13", "Prompt", "history", "Milliseconds"):
        assert part in done.stdout
    assert "no language model ran" in " ".join(done.stdout.split())


def test_json_is_the_response_and_no_more(tmp_path: Path) -> None:
    done = run("--json", "--message", "안녕하세요?", "--respond-as", "narrator", tmp_path=tmp_path)
    assert json.loads(done.stdout)["responded_as"] == "narrator"


def test_the_parts_of_a_request_come_from_files(tmp_path: Path) -> None:
    mock = ROOT / "data" / "mock"
    done = run(
        *("--persona", str(mock / "sample_persona.ko.json")),
        *("--history", str(mock / "sample_history.ko.json")),
        *("--story", str(mock / "sample_story.ko.json"), "--message", "별 보러 갈까요?", "--json"),
        tmp_path=tmp_path,
    )
    persona = json.loads((mock / "sample_persona.ko.json").read_text(encoding="utf-8"))
    response = json.loads(done.stdout)
    assert response["response_contents"][0]["speaker"] == persona["name"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b"{", "a.json: is not JSON"),
        ("a.json", b"\xff\xfe{}", "a.json: is not UTF-8"),
        ("a.json", b"[" * 100_000, "a.json: "),
        ("a.json", b"[]", "a.json: must hold a JSON object"),
        ("a.json", b'{"message": "hi"}', "persona: is required"),
        ("a.json", b'{"message": "hi", "persona": {"name": "x"}, "gen": {"temperature": NaN}}',
         "gen.temperature: must be a finite number"),
        ("a.json", b'{"message": "\\ud83d", "persona": {"name": "x"}}', "message: holds half"),
        ("none.json", None, "none.json: cannot be read"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_a_line(
    name: str, content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["--request", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {told}") and error.count("\n") == 1
    assert str(tmp_path) not in error


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    done = run(tmp_path=tmp_path, IYAGI_LLM="openai")
    assert done.returncode == 2
    assert done.stderr == "error: IYAGI_LLM=openai needs IYAGI_LLM_URL and IYAGI_LLM_MODELS\n"
    done = run(tmp_path=tmp_path, IYAGI_LLM_RETRIES="many")
    assert done.returncode == 2 and done.stderr.startswith("error: IYAGI_LLM_RETRIES: ")


def test_a_server_that_is_down_is_said_after_bounded_retries(tmp_path: Path) -> None:
    done = run(
        tmp_path=tmp_path, IYAGI_LLM="openai", IYAGI_LLM_URL="http://127.0.0.1:9/v1",
        IYAGI_LLM_MODELS="some/model", IYAGI_LLM_RETRIES="1",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "127.0.0.1" not in done.stderr and "Traceback" not in done.stderr
    assert "m011" in done.stdout, "what was found before is still shown"


@pytest.mark.parametrize(
    "options", ["--stream", "--json", "", f"--test_input '{json.dumps({'input': ask()})}'"]
)
def test_nobody_reads_on(options: str, tmp_path: Path) -> None:
    first = "head -c 1" if options else "true"
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m handler {options} | {first}"],
        cwd=ROOT,
        env={**os.environ, "IYAGI_INDEX_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b"" and len(done.stdout) == (1 if options else 0)
