"""The page in a network, the streams of every command, and settings that are empty."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from graph.settings import ROOT, Settings, load_settings
from play.__main__ import main
from play.guard import LOOPBACK, Guard
from schemas.errors import SettingsError


def status(host: str, *, origin: str | None = None, in_network: bool = True) -> int:
    """What a request to a page that may be called `attic.lan` is answered with."""
    inner = Starlette(routes=[Route("/", lambda _: PlainTextResponse("in"))])
    guard = Guard(inner, {*LOOPBACK, "attic.lan"}, in_network=in_network)
    headers = {"host": host} | ({"origin": origin} if origin else {})
    return TestClient(guard).get("/", headers=headers).status_code


@pytest.mark.parametrize(
    "host", ["192.168.0.7:8010", "10.0.0.2", "[fd00::7]:8010", "localhost:8010", "ATTIC.lan:8010"]
)
def test_in_a_network_the_page_is_found_by_address_and_by_given_names(host: str) -> None:
    assert status(host) == 200
    assert status(host, origin=f"http://{host}") == 200
    assert status(host, origin="http://evil.example") == 403


NAMES = ["evil.example:8010", "192.168.0.7.evil.example", "attic.lan.evil.example", "attic"]
NAMES += ["", "[", "[::1", "0x7f000001", "2130706433", "192.168.7", "1.2.3.4@evil.example:80:1"]


@pytest.mark.parametrize("host", NAMES)
def test_no_name_that_somebody_else_lets_point_here_gets_in(host: str) -> None:
    assert status(host) == 403


def test_alone_the_page_answers_to_no_address_of_the_network() -> None:
    assert status("192.168.0.7:8010", in_network=False) == 403
    assert status("127.0.0.1:8010", in_network=False) == 200


@pytest.mark.parametrize("port", ["0", "99999", "-1", "x", "80.5", "٨٠", "9" * 5000, ""])
def test_a_port_that_is_none_is_one_line(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--port={port}"])
    assert ended.value.code == 2
    *_, told = capsys.readouterr().err.strip().splitlines()
    assert "--port" in told and "Traceback" not in told


COMMANDS = sorted(
    path for folder in (".", "cards", "play", "scripts", "server")
    for path in (ROOT / folder).glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8").rpartition("\nif ")[2]
)  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_takes_any_stream(path: Path) -> None:
    last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
    assert isinstance(last, ast.If)
    # what becomes another program writes nothing itself
    ends = r"sys\.exit\(in_terminal\(.+\)\)|os\.execv\(.+\)"
    assert re.fullmatch(ends, ast.unparse(last.body[-1]))


def test_there_are_commands() -> None:
    assert {"handler.py", "build_index.py"} < {path.name for path in COMMANDS}


SAYS = """
import sys
from schemas.terminal import in_terminal
def run():
    for line in sys.stdin:
        print('\\uc548\\ub155', repr(line), '\\xe9' * 100_000)
    sys.stderr.write('\\uc624\\n')
sys.exit(in_terminal(run))
"""


def ran(code: str, redirected: str, env: dict[str, str] | None = None) -> tuple[int, bytes]:
    """The exit code and what stands on the streams."""
    command = f'"$0" -c "$1" {redirected}'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, sys.executable, code],
        input=b"caf\xe9\n", capture_output=True, cwd=ROOT,
        env={**os.environ, **(env or {})}, timeout=60,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "utf-8"},
    ],
    ids=["ascii", "C", "latin-1", "utf-8"],
)
def test_what_a_stream_cannot_write_or_read_is_escaped(env: dict[str, str]) -> None:
    code, told = ran(SAYS, "", env)
    assert code == 0 and b"caf" in told
    utf8 = "utf-8" in env.values()
    assert ("안녕".encode() if utf8 else rb"\uc548\ub155") in told


@pytest.mark.parametrize(
    ("redirected", "code"),
    [("| head -c 5", 1), ("2>&1 | head -c 5", 1), (">/dev/full", 1)]
    + [(closed, 0) for closed in (">&-", "2>&-", "<&-", "<&- >&- 2>&-")],
)
def test_a_stream_that_is_closed_ends_a_command_quietly(redirected: str, code: int) -> None:
    ended, told = ran(SAYS, redirected)
    assert ended == code
    if "full" in redirected:
        assert told == b"error: the output cannot be written: the disk is full\n"


def test_the_commands_themselves_do() -> None:
    # What is short is written before `head` has gone.
    run = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_module({!r}, run_name='__main__')"
    show = run.format("cards").replace(
        "sys.argv[1:]", "['cards', 'show', 'data/mock/sample_history.ko.json']"
    )
    assert ran(show, "| head -c 5")[0] in (0, 1)
    assert rb"\uc790" in ran(show, "", {"PYTHONIOENCODING": "ascii"})[1]


PATHS = {"llm_path", "llm_tokenizer", "index_dir", "characters_dir"}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_setting_is_none_but_of_a_path_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"IYAGI_{name.upper()}"
    usual = load_settings()
    for value, told in (("", "is empty"), (" ", "is empty" if name in PATHS else "holds spaces")):
        monkeypatch.setenv(variable, value)
        if value or name in PATHS:
            with pytest.raises(SettingsError, match=rf"^{variable}: {told}"):
                load_settings()
        else:
            assert load_settings() == usual
