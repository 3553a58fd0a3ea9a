"""`langgraph dev` as `make studio` starts it, on a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

from graph.settings import ROOT

# Python runs it at the start of the server: every address that is asked for is written down.
WATCHER = """
import os, sys
def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    with open(os.environ["WATCHED"], "a", encoding="utf-8") as file:
        file.write(f"{host}\\n")
sys.addaudithook(watch)
"""


class StudioServer:
    """The server, its address, its log and the hosts that it talked to."""

    def __init__(self, home: Path) -> None:
        (home / "sitecustomize.py").write_text(WATCHER, encoding="utf-8")
        self._log, self._hosts = home / "log", home / "hosts"
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                _recipe(port),
                shell=True,
                cwd=ROOT,
                env={
                    **_clean(),
                    "IYAGI_INDEX_DIR": str(home / "indexes"),
                    "LANGGRAPH_DISABLE_FILE_PERSISTENCE": "true",
                    "PYTHONPATH": str(home),
                    "WATCHED": str(self._hosts),
                },
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def hosts(self) -> set[str]:
        """Hosts it looked up or connected to."""
        return (
            set(self._hosts.read_text(encoding="utf-8").split()) if self._hosts.exists() else set()
        )

    def wait(self, seconds: float = 60) -> None:
        """Until it answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ok").is_success:
                    return
            time.sleep(0.1)
        raise AssertionError(f"the server did not start:\n{self.log[-3000:]}")

    def stop(self) -> None:
        """Ends it and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _recipe(port: int) -> str:
    """The command that `make studio` would run, with this Python's tools."""
    here = Path(sys.executable).parent
    told = subprocess.run(
        [
            "make",
            "--dry-run",
            "--no-print-directory",
            "studio",
            f"STUDIO_PORT={port}",
            f"BIN={here}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return "env -u" + told.stdout.rpartition("env -u")[2]


def _clean() -> dict[str, str]:
    """This process's environment without what would configure the server."""
    prefixes = ("LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
