"""The process: how it starts, what it is asked meanwhile, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from graph.settings import ROOT
from tests.llm.fake_openai_server import FakeServer
from tests.server.conftest import WREN, dispatched
from tests.server.test_server_hangup import busy
from tests.server.test_server_routes import completion, events
from tests.support import ask, free_port
from tests.worker.job_server import Background
from tests.worker.worker_process import settings

KEY = "sk-of-this-server"


class Process:
    """`python -m server`, and its log."""

    def __init__(self, log: Path, port: int, *args: str, env: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server", *args],
                cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.web = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ping(self) -> int:
        """The status; waits until there is one."""
        for _ in range(300):
            with suppress(httpx.TransportError):
                return self.web.get("/ping").status_code
            assert self.process.poll() is None, self.log
            time.sleep(0.1)
        raise AssertionError(self.log)

    def ready(self) -> Process:
        while self.ping() != 200:
            time.sleep(0.05)
        return self

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        for _ in range(100):
            if "ending" in self.log or self.process.poll() is not None:
                return
            time.sleep(0.02)

    def ended(self, seconds: float = 20) -> int:
        return self.process.wait(seconds)

    def close(self) -> None:
        self.web.close()
        self.process.kill()
        self.process.wait()


Run = Callable[..., Process]


@pytest.fixture
def serve(llm: FakeServer, tmp_path: Path) -> Iterator[Run]:
    """`serve(*args, env={}, **settings)`: a server of the test's own."""
    running: list[Process] = []
    (tmp_path / "characters").mkdir()
    (tmp_path / "characters" / "Wren.json").write_text(json.dumps(WREN), encoding="utf-8")

    def make(*args: str, port: int = 0, env: dict[str, str] | None = None, **more: Any) -> Process:
        port = port or free_port()
        if not env or "PORT" not in env:
            args = (*args, f"--port={port}")
        all_env = {**settings(tmp_path, llm.url, **more), **(env or {})}
        running.append(Process(tmp_path / f"log{len(running)}", port, *args, env=all_env))
        return running[-1]

    yield make
    for process in running:
        process.close()


class Caller(threading.Thread):
    """A request that waits for its answer; `heard` as far as it came."""

    def __init__(self, process: Process, path: str, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._asked = (str(process.web.base_url.join(path)), body)
        self.status, self.heard = 0, ""
        self.begun = threading.Event()
        self.start()

    def run(self) -> None:
        url, body = self._asked
        with (
            suppress(httpx.TransportError),  # it was ended at once
            httpx.stream("POST", url, json=body, timeout=60) as answer,
        ):
            self.status = answer.status_code
            for text in answer.iter_text():
                self.heard += text
                if "Once" in self.heard or "word" in self.heard:
                    self.begun.set()

    def done(self) -> str:
        self.join(20)
        assert not self.is_alive(), "it hangs"
        return self.heard


def test_sigterm_lets_replies_end_and_takes_no_more(
    serve: Run, llm: FakeServer, background: Background
) -> None:
    process = serve().ready()
    whole = Caller(process, "/v1/chat/completions", completion("it DRAWLS"))
    background.run(busy(llm))
    callers = [
        Caller(process, "/chat", ask("it DRAWLS", stream=True)),
        Caller(process, "/v1/chat/completions", completion("it DRAWLS", stream=True)),
    ]
    for caller in callers:
        assert caller.begun.wait(10)
    process.signal()
    assert process.ping() == 503
    assert process.web.get("/health").json()["state"] == "ending"
    for path, body in (("/chat", ask()), ("/v1/chat/completions", completion())):
        late = process.web.post(path, json=body)
        assert late.status_code == 503 and int(late.headers["retry-after"]) >= 1
        assert late.json()["error"]["code"] == "ending"
    assert events(callers[0].done())[-1]["type"] == "final"
    assert callers[1].done().endswith("data: [DONE]\n\n")
    assert "word29" in json.loads(whole.done())["choices"][0]["message"]["content"]
    assert process.ended() == 0
    assert "Traceback" not in process.log


def test_what_takes_longer_than_the_drain_ends_with_an_error(
    serve: Run, llm: FakeServer, background: Background
) -> None:
    process = serve(drain=0.5).ready()
    ours = Caller(process, "/chat", ask("HANGS", stream=True))
    openai = Caller(process, "/v1/chat/completions", completion("HANGS", stream=True))
    mute = Caller(process, "/v1/chat/completions", completion("MUTE", stream=True))
    whole = Caller(process, "/chat", ask("HANGS"))
    for caller in (ours, openai):
        assert caller.begun.wait(10)
    time.sleep(0.5)
    process.signal(signal.SIGINT)
    last = events(ours.done())[-1]
    assert (last["type"], last["code"], last["retryable"]) == ("error", "ending", True)
    for caller in (openai, mute):
        told = json.loads(caller.done().rstrip().rpartition("data: ")[2])
        assert told["error"]["code"] == "ending"
    assert whole.done() and whole.status == 503
    assert json.loads(whole.heard)["error"]["code"] == "ending"
    assert process.ended() == 0
    assert background.run(llm.all_closed(1.0)), "the model went on writing"


def test_a_body_that_is_on_its_way_when_the_server_ends_is_told_so(serve: Run) -> None:
    process = serve(port=(port := free_port())).ready()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sent:
        sent.sendall(b"POST /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{")
        time.sleep(0.2)
        process.signal()
        heard = b"".join(iter(lambda: sent.recv(65536), b""))
    assert heard.startswith(b"HTTP/1.1 503 ") and b'"ending"' in heard
    assert process.ended() == 0 and "Error" not in process.log


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(serve: Run, second: int) -> None:
    process = serve(drain=60).ready()
    caller = Caller(process, "/chat", ask("HANGS", stream=True))
    assert caller.begun.wait(10)
    process.signal()
    assert process.process.poll() is None
    process.signal(second)
    assert process.ended(2) == 128 + second


def test_the_server_is_asked_whether_it_is_ready_while_its_model_loads(
    serve: Run, background: Background
) -> None:
    port = free_port()
    process = serve("--wait=60", llm_url=f"http://127.0.0.1:{port}/v1")
    assert process.ping() == 204
    time.sleep(1.5)
    assert process.ping() == 204 and process.web.get("/ping").content == b""
    assert process.web.get("/health").json()["state"] == "warming_up"
    model = FakeServer()
    model.will(dispatched)
    background.run(model.start(port))
    process.ready()
    assert "Is anybody there?" in model.requests[0]["prompt"]
    process.signal()
    assert process.ended() == 0
    background.run(model.stop())


def test_without_a_wait_a_model_that_is_down_is_said_and_the_server_answers(serve: Run) -> None:
    process = serve(llm_url="http://127.0.0.1:9/v1").ready()
    assert "the warm-up turn had no reply" in process.log
    told = process.web.post("/chat", json=ask())
    assert told.status_code == 502 and told.json()["error"]["retryable"] is True


def test_it_serves_where_a_load_balancer_looks(serve: Run) -> None:
    port, health = free_port(), free_port()
    env = {"PORT": str(port), "PORT_HEALTH": str(health)}
    process = serve(port=port, env=env, api_keys=f"{KEY}, other-key-of-this").ready()
    assert httpx.get(f"http://127.0.0.1:{health}/ping").status_code == 200
    assert process.web.post("/chat", json=ask("hello")).status_code == 401
    for key in (KEY, "other-key-of-this"):
        headers = {"X-API-Key": key}
        assert process.web.post("/chat", json=ask("hello"), headers=headers).status_code == 200
    by_name = {"X-API-Key": KEY, "Host": "abc.api.runpod.ai"}
    assert process.web.get("/v1/models", headers=by_name).status_code == 200
    process.web.get("/none", headers={"Authorization": f"Bearer {KEY}", "X-Request-Id": "r-1"})
    process.signal()
    assert process.ended() == 0
    assert "no login" not in process.log and KEY not in process.log
    assert "POST /chat 200 ok" in process.log and "GET - 404 not_found" in process.log
    assert "request r-1" in process.log


def test_a_network_without_keys_is_warned_about_and_one_port_is_enough(serve: Run) -> None:
    port = free_port()
    process = serve(port=port, env={"PORT": str(port), "PORT_HEALTH": str(port)}).ready()
    assert process.web.post("/chat", json=ask("hello")).status_code == 200
    [warning] = [line for line in process.log.splitlines() if line.startswith("WARNING:")]
    assert "IYAGI_API_KEYS" in warning and "127.0.0.1" in warning


@pytest.mark.parametrize(
    ("env", "args", "told"),
    [
        ({"PORT": "x"}, [], "PORT: must be a number"),
        ({"PORT": "8000", "PORT_HEALTH": "0"}, [], "PORT_HEALTH: must be a number"),
        ({"IYAGI_RATE_LIMIT": "often"}, [], "IYAGI_RATE_LIMIT: is no rate; write such as 60/min"),
        ({"IYAGI_RATE_LIMIT": "0/minute"}, [], "IYAGI_RATE_LIMIT: is no rate"),
        ({"IYAGI_CORS_ORIGINS": "https://a/b"}, [], "IYAGI_CORS_ORIGINS: is no origin"),
        ({"IYAGI_API_KEYS": "sk-한글"}, [], "IYAGI_API_KEYS: holds a character that no key has"),
        ({"IYAGI_DRAIN": "-1"}, [], "IYAGI_DRAIN:"),
        ({}, ["--wait=soon"], "--wait"),
        ({}, ["--port=0"], "--port"),
    ],
)
def test_what_the_operator_did_wrong_is_one_line(
    env: dict[str, str], args: list[str], told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server", *args],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and "한글" not in done.stderr
