"""The GPU image's entrypoint, with a `vllm` that is a few lines of Python."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graph.settings import ROOT, Settings
from schemas.errors import SettingsError
from scripts import serve_gpu
from tests.support import ask, free_port
from tests.worker.job_server import JobServer

FAKE_VLLM = """#!{python}
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

json.dump(sys.argv[1:], open(os.environ["VLLM_SEEN"], "w"))
if os.environ.get("VLLM_DIES"):
    sys.exit(7)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        data = b"".join(
            b"data: "
            + json.dumps({{"choices": [{{"index": 0, "text": t, "finish_reason": f}}]}}).encode()
            + b"\\n\\n" for t, f in [("Good evening.", None), ("", "stop")]) + b"data: [DONE]\\n\\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class Entrypoint:
    """The process, its server's port, and what it wrote."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.log, self.port = log, free_port()
        env = {**env, "IYAGI_VLLM_PORT": str(self.port)}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.serve_gpu"],
                cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def vllm(self) -> int:
        """Its process id."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return int(children[0])

    def serving(self) -> bool:
        """Whether its vllm still listens."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def vllm(tmp_path: Path) -> dict[str, str]:
    """An environment with the fake on its path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "vllm"
    fake.write_text(FAKE_VLLM.format(python=sys.executable), encoding="utf-8")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("IYAGI_", "RUNPOD_"))}
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "VLLM_SEEN": str(tmp_path / "seen")}
    return kept | path


@pytest.fixture
def start(own_jobs: JobServer, vllm: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    started: list[Entrypoint] = []

    def make(**more: str) -> Entrypoint:
        env = {
            **vllm,
            **own_jobs.env(),
            "IYAGI_INDEX_DIR": str(tmp_path / "indexes"),
            "IYAGI_LLM_MODELS": "org/name",
            "IYAGI_WARM_UP": "false",
            **more,
        }
        started.append(Entrypoint(env, tmp_path / "log"))
        return started[-1]

    yield make
    for entrypoint in started:
        if entrypoint.process.poll() is None:
            os.killpg(entrypoint.process.pid, signal.SIGKILL)
        entrypoint.process.wait()


def test_it_serves_jobs_and_ends_with_sigterm(
    own_jobs: JobServer, start: Any, tmp_path: Path
) -> None:
    entrypoint = start(IYAGI_VLLM_ARGS="--max-model-len 4096 --quantization 'fp8'")
    [response] = own_jobs.submit(ask("안녕하세요?")).result(40)
    assert entrypoint.serving()
    assert response["response_contents"][0]["text"] == "Good evening."
    assert response["model_info"]["name"] == "org/name"
    seen = json.loads((tmp_path / "seen").read_text(encoding="utf-8"))
    assert seen[:4] == ["serve", "org/name", "--served-model-name", "org/name"]
    assert seen[4:8] == ["--host", "127.0.0.1", "--port", str(entrypoint.port)]
    assert seen[-2:] == ["--quantization", "fp8"]
    entrypoint.process.send_signal(signal.SIGTERM)
    assert entrypoint.process.wait(20) == 0
    assert not entrypoint.serving(), "vllm has ended too"


def test_a_server_that_dies_ends_the_worker(own_jobs: JobServer, start: Any) -> None:
    entrypoint = start()
    own_jobs.submit({"route": "/health"}).result(40)
    os.kill(entrypoint.vllm(), signal.SIGKILL)
    assert entrypoint.process.wait(20) == 1
    assert "vllm serve has ended" in entrypoint.log.read_text(encoding="utf-8")


def test_it_fails_fast_and_loud(vllm: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(_env_file=None, llm_models=("org/name",), vllm_port=free_port())
    assert serve_gpu.run(settings, {**vllm, "VLLM_DIES": "1"}) == 1
    assert "ended with exit code 7 before it was ready" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="forbids the download"):
        serve_gpu.run(settings, {**vllm, "HF_HUB_OFFLINE": "1"})


def test_weights_are_looked_for_in_the_cache_then_the_image_then_the_volume(
    tmp_path: Path,
) -> None:
    places = (tmp_path / "cache", tmp_path / "baked", tmp_path / "volume")
    assert serve_gpu.weights("org/name", places) is None
    old, new = (places[0] / "models--org--name" / "snapshots" / n for n in ("b", "a"))
    folders = [places[2] / "org--name", places[1] / "org--name", old, new]
    for age, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "config.json").touch()
        os.utime(folder, (age, age))
        assert serve_gpu.weights("org/name", places) == folder
    assert serve_gpu.weights("../../etc", places) is None
