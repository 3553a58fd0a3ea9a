"""From nothing to the first reply, timed from outside; and the size of the environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 300.0
"""Seconds until a process is given up."""


class Start(NamedTuple):
    """One start of a process: wall seconds to what was waited for, and processor seconds of all."""

    seconds: float
    cpu_seconds: float


def environment(index: Path, **more: str) -> dict[str, str]:
    """This process's environment, without what would configure the one that is measured."""
    prefixes = ("IYAGI_", "RUNPOD_", "LANGSMITH_", "LANGCHAIN_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    own = {"IYAGI_INDEX_DIR": str(index), "IYAGI_LLM": "scripted", "LANGSMITH_TRACING": "false"}
    return {**kept, **own, "HF_HUB_OFFLINE": "1", **more}


def first_reply(command: Sequence[str], index: Path) -> Start:
    """Runs a command to its end; the time is until the first byte that it prints."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(index), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        found = process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if not found or process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Start(seconds, used.ru_utime + used.ru_stime)


def imports(
    arguments: Sequence[str], index: Path, python: str = sys.executable
) -> dict[str, float]:
    """Milliseconds that each package's own modules took to import, the longest first."""
    done = subprocess.run(
        [python, "-X", "importtime", *arguments],
        cwd=ROOT,
        env=environment(index),
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    times: Counter[str] = Counter()
    for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", done.stderr, re.M):
        times[name.split(".")[0]] += int(own)
    return {name: round(micro / 1000, 1) for name, micro in times.most_common()}


def worker(index: Path) -> tuple[Start, float]:
    """A worker started as the platform starts it: until it asks for a job, and seconds from its
    start to the answer of the first."""
    with tempfile.TemporaryFile() as log, _Platform() as platform:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "handler"],
            cwd=ROOT,
            env=environment(index, **worker_environment(platform.port)),
            stdout=log,
            stderr=log,
        )
        try:
            done = platform.done.wait(LIMIT)
        finally:
            process.terminate()
            _, _, used = os.wait4(process.pid, 0)
            process.returncode = 0
        if not done:
            log.seek(0)
            raise RuntimeError(log.read().decode(errors="replace")[-2000:])
        ready = Start(platform.asked_at - started, used.ru_utime + used.ru_stime)
        return ready, platform.done_at - started


class Quiet(ThreadingHTTPServer):
    """Says nothing of workers that hang up when they end."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """They are meant to."""


class JobHandler(BaseHTTPRequestHandler):
    """Answers with JSON, as Runpod's side does; keeps connections, and says nothing."""

    protocol_version = "HTTP/1.1"

    def send(self, text: str) -> None:
        """The answer; none is 204 to a worker that asks for jobs."""
        self.send_response(200 if text or self.command == "POST" else 204)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """It would print every call."""


class _Platform:
    """Runpod's side on loopback: one job, the mock request."""

    def __init__(self) -> None:
        self.asked_at = self.done_at = 0.0
        self.done = threading.Event()
        platform = self

        class Handler(JobHandler):
            def do_GET(self) -> None:
                if "job-take" in self.path and not platform.asked_at:
                    platform.asked_at = time.perf_counter()
                    request = ROOT / "data" / "mock" / "sample_request.json"
                    job = {"id": "job", "input": json.loads(request.read_text(encoding="utf-8"))}
                    return self.send(json.dumps([job] if "batch" in self.path else job))
                if "job" in self.path:
                    time.sleep(0.2)
                return self.send("")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send("")
                if "job-done" in self.path and b"response_contents" in body:
                    platform.done_at = time.perf_counter()
                    platform.done.set()

        self._server = Quiet(("127.0.0.1", 0), Handler)

    def __enter__(self) -> _Platform:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """On which it listens."""
        return self._server.server_port


def worker_environment(port: int) -> Mapping[str, str]:
    """What the platform sets for a worker, where it listens on this port of loopback."""
    url = f"http://127.0.0.1:{port}/v2/ep"
    return {
        "RUNPOD_POD_ID": "w",
        "RUNPOD_AI_API_KEY": "none",
        "RUNPOD_ENDPOINT_ID": "ep",
        "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/$ID?gpu=x",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=x",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=x",
        "RUNPOD_WEBHOOK_PING": f"{url}/ping/$RUNPOD_POD_ID",
        "RUNPOD_PING_INTERVAL": "100000",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }


def environment_mb() -> dict[str, Any]:
    """Megabytes (10^6 bytes) on disk of what `requirements.lock` names for this machine, by the
    packages' own lists of files; bytecode that pip lists is in it."""
    sizes: dict[str, float] = {}
    missing: list[str] = []
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if not re.match(r"[A-Za-z0-9]", line):
            continue
        try:
            wanted = Requirement(line.removesuffix("\\").strip())
        except InvalidRequirement:
            continue
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            files = distribution(wanted.name).files or []
        except PackageNotFoundError:
            missing.append(wanted.name)
            continue
        there = (Path(str(file.locate())) for file in files)
        size = sum(path.stat().st_size for path in there if path.is_file())
        sizes[wanted.name] = round(size / 1e6, 1)
    largest = dict(sorted(sizes.items(), key=lambda item: -item[1])[:12])
    return {"total": round(sum(sizes.values()), 1), "largest": largest, "missing": missing}
