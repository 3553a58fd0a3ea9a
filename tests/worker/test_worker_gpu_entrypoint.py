"""The GPU image's entrypoint, with a `vllm` that is a few lines of Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from runpod.serverless.utils import rp_volume_cache

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
if root := os.environ.get("VLLM_CACHE_ROOT"):
    compiled = os.path.join(root, "torch_compile_cache", "graph")
    json.dump(os.path.exists(compiled), open(os.environ["VLLM_SEEN"] + ".compiled", "w"))
    os.makedirs(os.path.dirname(compiled), exist_ok=True)
    open(compiled, "w").close()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        model = {{"id": "org/name", "owned_by": "vllm", "max_model_len": 2048}}
        data = json.dumps({{"data": [model]}}).encode() if self.path == "/v1/models" else b""
        loads = os.environ.get("VLLM_LOADS")  # as long as there is such a file
        self.send_response(503 if loads and os.path.exists(loads) else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if len(asked.get("stop", ())) > int(os.environ.get("VLLM_MAX_STOP_STRINGS", 4)):
            self.send_error(400)
            return
        json.dump(len(asked["stop"]), open(os.environ["VLLM_SEEN"] + ".stops", "w"))
        time.sleep(float(os.environ.get("VLLM_SLOW", 0)))
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
        self.env = env = {**env, "IYAGI_VLLM_PORT": str(self.port)}
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

    def ping(self) -> int:
        """What the load balancer hears; 0 for nothing."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.env['PORT_HEALTH']}/ping").status_code
        except httpx.TransportError:
            return 0


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
    job = own_jobs.submit(ask("안녕하세요?", gen={"stop": ["끝.", "END"]}))
    [response] = job.result(40)
    assert entrypoint.serving()
    assert response["response_contents"][0]["text"] == "Good evening."
    assert response["model_info"]["name"] == "org/name"
    seen = json.loads((tmp_path / "seen").read_text(encoding="utf-8"))
    assert seen[:4] == ["serve", "org/name", "--served-model-name", "org/name"]
    assert seen[4:8] == ["--host", "127.0.0.1", "--port", str(entrypoint.port)]
    assert seen[-2:] == ["--quantization", "fp8"]
    assert json.loads((tmp_path / "seen.stops").read_text(encoding="utf-8")) > 4
    assert response["meta"]["prompt"]["tokens"]["budget"] < 2048
    entrypoint.process.send_signal(signal.SIGTERM)
    assert entrypoint.process.wait(20) == 0
    assert not entrypoint.serving(), "vllm has ended too"


def test_a_running_job_is_finished_after_sigterm(own_jobs: JobServer, start: Any) -> None:
    """Though a proxy is set, which knows nothing of this machine."""
    proxy = f"http://127.0.0.1:{free_port()}"
    entrypoint = start(VLLM_SLOW="2", HTTP_PROXY=proxy, http_proxy=proxy)
    job = own_jobs.submit(ask())
    seen = Path(entrypoint.env["VLLM_SEEN"] + ".stops")
    wait_until(seen.exists, 40)
    entrypoint.process.send_signal(signal.SIGTERM)
    [response] = job.result(20)
    assert response["response_contents"][0]["text"] == "Good evening."
    assert entrypoint.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_while_the_server_starts(start: Any, number: int, tmp_path: Path) -> None:
    entrypoint = start(VLLM_LOADS=str(tmp_path))
    wait_until(entrypoint.serving, 20)
    entrypoint.process.send_signal(number)
    assert entrypoint.process.wait(20) == 0
    assert not entrypoint.serving()


def balanced(start: Any, **more: str) -> Entrypoint:
    """The entrypoint on a load-balancing endpoint."""
    port = str(free_port())
    queue = {"RUNPOD_WEBHOOK_GET_JOB": ""}
    entrypoint: Entrypoint = start(
        PORT=port, PORT_HEALTH=port, IYAGI_WARM_UP="true", **queue, **more
    )
    return entrypoint


def test_a_load_balancer_hears_that_the_server_starts_then_that_it_is_ready(
    start: Any, tmp_path: Path
) -> None:
    loading = tmp_path / "loading"
    loading.touch()
    entrypoint = balanced(start, VLLM_LOADS=str(loading))
    wait_until(lambda: entrypoint.ping() == 204, 40)
    assert entrypoint.serving()
    loading.unlink()
    wait_until(lambda: entrypoint.ping() == 200, 40)
    url = f"http://127.0.0.1:{entrypoint.env['PORT']}/v1/chat/completions"
    said = {"role": "user", "content": "Good evening."}
    body = {"model": "iyagi", "messages": [said], "persona": {"name": "Mara"}}
    answer = httpx.post(url, json=body, timeout=20)
    assert answer.json()["choices"][0]["message"]["content"] == "Good evening."
    entrypoint.process.send_signal(signal.SIGTERM)
    assert entrypoint.process.wait(20) == 0
    assert not entrypoint.serving() and not entrypoint.ping()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_while_a_load_balancer_waits_for_it(
    start: Any, number: int, tmp_path: Path
) -> None:
    entrypoint = balanced(start, VLLM_LOADS=str(tmp_path))
    wait_until(lambda: entrypoint.ping() == 204, 40)
    entrypoint.process.send_signal(number)
    assert entrypoint.process.wait(20) == 0
    assert not entrypoint.serving() and not entrypoint.ping()


def test_a_server_that_never_starts_ends_the_worker_that_waits_for_it(start: Any) -> None:
    entrypoint = balanced(start, VLLM_DIES="1")
    assert entrypoint.process.wait(40) == 1
    assert not entrypoint.ping()


def test_a_worker_that_cannot_start_ends_the_wait_for_the_server(
    start: Any, tmp_path: Path
) -> None:
    """Though the server would load for a long time."""
    entrypoint = balanced(start, VLLM_LOADS=str(tmp_path), IYAGI_CHROMA_URL="no address")
    assert entrypoint.process.wait(40) == 2
    assert not entrypoint.serving()


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_server_that_dies_ends_the_worker(own_jobs: JobServer, start: Any) -> None:
    entrypoint = start()
    own_jobs.submit({"route": "/health"}).result(40)
    os.kill(entrypoint.vllm(), signal.SIGKILL)
    assert entrypoint.process.wait(20) == 1
    assert "vllm serve has ended" in entrypoint.log.read_text(encoding="utf-8")


def test_it_fails_fast_and_loud(
    vllm: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(_env_file=None, llm_models=("org/name",), vllm_port=free_port())
    asked = serve_gpu.Asked()
    monkeypatch.setenv("PATH", vllm["PATH"])  # which finds the program
    assert serve_gpu.run(settings, {**vllm, "VLLM_DIES": "1"}, asked) == 1
    assert "ended with exit code 7 before it was ready" in capsys.readouterr().err
    for offline in ("1", "true"):
        with pytest.raises(SettingsError, match="forbids the download"):
            serve_gpu.run(settings, {**vllm, "HF_HUB_OFFLINE": offline}, asked)
    unclosed = settings.model_copy(update={"vllm_args": "--quantization 'fp8"})
    with pytest.raises(SettingsError, match="IYAGI_VLLM_ARGS: no closing quotation"):
        serve_gpu.run(unclosed, vllm, asked)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SettingsError, match="no vllm here"):
        serve_gpu.run(settings, {**vllm, "PATH": "/nowhere"}, asked)


def test_what_vllm_compiled_is_kept_on_the_volume_for_the_next_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that finds it all, one that adds to it, and one with too much of it."""
    volume = tmp_path / "volume"
    volume.mkdir()

    def worker(name: str) -> tuple[serve_gpu.CompiledCode, Path]:
        root = tmp_path / "root"
        env = {"VLLM_CACHE_ROOT": str(root), "RUNPOD_ENDPOINT_ID": name}
        return serve_gpu.CompiledCode(env, volume), root / "torch_compile_cache"

    def stop(folder: Path) -> None:
        rp_volume_cache._join_pending_syncs()
        shutil.rmtree(folder.parent, ignore_errors=True)

    compiled, folder = worker("ep")
    compiled.fetch()
    assert not folder.exists()
    small, large = folder / "abc" / "rank_0" / "graph.py", folder / "abc" / "kernels"
    small.parent.mkdir(parents=True)
    small.write_text("graph", encoding="utf-8")
    large.write_bytes(b"k" * 300_000)
    compiled.keep()
    stop(folder)
    compiled, _ = worker("ep")
    compiled.fetch()
    assert small.read_text(encoding="utf-8") == "graph" and large.stat().st_size == 300_000
    monkeypatch.setattr(serve_gpu, "COMPILED", 300_000)
    (folder / "more").touch()
    compiled.keep()
    stop(folder)
    compiled.fetch()
    assert large.exists() and not (folder / "more").exists()
    stop(folder)
    worker("another endpoint")[0].fetch()
    assert not folder.exists()


def test_the_next_vllm_finds_what_one_compiled_before_it_was_ready(
    vllm: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, volume = tmp_path / "root", tmp_path / "volume"
    volume.mkdir()
    monkeypatch.setattr(serve_gpu, "MOUNTED", volume)
    monkeypatch.setattr(serve_gpu, "watch", lambda *_: 0)  # it ends as soon as it has begun
    monkeypatch.setenv("PATH", vllm["PATH"])
    settings = Settings(_env_file=None, llm_models=("org/name",), vllm_port=free_port())
    env = {**vllm, "VLLM_CACHE_ROOT": str(root), "RUNPOD_ENDPOINT_ID": "ep"}
    for found in (False, True):
        assert serve_gpu.run(settings, env, serve_gpu.Asked()) == 0
        rp_volume_cache._join_pending_syncs()
        shutil.rmtree(root)
        seen = Path(vllm["VLLM_SEEN"] + ".compiled").read_text(encoding="utf-8")
        assert json.loads(seen) is found


@pytest.mark.parametrize("place", ["", "volume/cache"])
def test_nothing_is_copied_where_vllm_writes_to_the_volume_or_is_not_told_where(
    place: str, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    folder = tmp_path / (place or ".") / "torch_compile_cache"
    folder.mkdir(parents=True)
    volume.mkdir(exist_ok=True)
    (folder / "kernels").touch()
    env = {"VLLM_CACHE_ROOT": place and str(folder.parent), "RUNPOD_ENDPOINT_ID": "ep"}
    compiled = serve_gpu.CompiledCode(env, volume)
    compiled.fetch()
    compiled.keep()
    rp_volume_cache._join_pending_syncs()
    assert not (volume / ".cache").exists()


def test_what_the_operator_sets_comes_first() -> None:
    url = "http://127.0.0.1:8001"
    beside = serve_gpu.worker_env("org/name", url, {"IYAGI_LLM_URL": "", "NO_PROXY": "intra.net"})
    assert beside["IYAGI_LLM_URL"] == f"{url}/v1" and beside["IYAGI_LLM_STOPS"] == "32"
    assert beside["no_proxy"] == "intra.net,127.0.0.1"
    given = {"VLLM_MAX_STOP_STRINGS": "64", "IYAGI_LLM_MODELS": "org/name,lora"}
    own = serve_gpu.worker_env("org/name", url, given)
    assert (own["IYAGI_LLM_STOPS"], own["IYAGI_LLM_MODELS"]) == ("64", "org/name,lora")
    assert serve_gpu.vllm_env(given)["VLLM_MAX_STOP_STRINGS"] == "64"
    elsewhere = serve_gpu.worker_env("org/name", url, {"IYAGI_LLM_URL": "http://llm.intra.net/v1"})
    assert "IYAGI_LLM_STOPS" not in elsewhere


@pytest.mark.parametrize(
    ("worker", "server", "asked", "code"),
    [
        (0, None, False, 0),
        (0, 1, False, 1),
        (0, 1, True, 0),
        (3, None, False, 3),
        (-9, None, False, 1),
        (-9, 1, True, 1),
        (2, 1, False, 2),
    ],
)
def test_exit_codes(worker: int, server: int | None, asked: bool, code: int) -> None:
    done = Mock(returncode=worker), Mock(poll=Mock(return_value=server))
    note = serve_gpu.Asked()
    note.to_end = asked
    assert serve_gpu.watch(done[1], done[0], 1.0, note) == code


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
