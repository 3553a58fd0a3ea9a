"""How a worker starts and ends."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import handler as entry
from tests.llm.fake_openai_server import FakeServer
from tests.support import ask, free_port
from tests.worker.job_server import Background, JobServer
from tests.worker.worker_process import Worker, settings

Start = Any


@pytest.fixture
def start(own_jobs: JobServer, llm: FakeServer, home: Path) -> Iterator[Start]:
    """`start(*args, env={}, **settings)`: a worker of the test's own."""
    workers: list[Worker] = []

    def make(*args: str, env: dict[str, str] | None = None, **more: Any) -> Worker:
        all_env = {**own_jobs.env(), **settings(home, llm.url, **more), **(env or {})}
        workers.append(Worker(all_env, home / f"log{len(workers)}", *args))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()


def test_the_life_of_a_worker_from_warm_up_to_sigterm(
    own_jobs: JobServer, start: Start, llm: FakeServer
) -> None:
    before = len(llm.requests)
    sent = [own_jobs.submit(ask("BRIEFLY now", session_id=f"s{n}")) for n in range(64)]
    worker = start(worker_concurrency=16)
    answers = [job.result(40)[0] for job in sent]
    assert [answer["session_id"] for answer in answers] == [f"s{n}" for n in range(64)]
    assert all(answer["error"] is None for answer in answers)
    assert own_jobs.most_held == 16, "all places, and no more"
    prompts = [request["prompt"] for request in llm.requests[before:]]
    assert "Is anybody there?" in prompts[0], "no job was taken before the warm-up"

    running = own_jobs.submit(ask("SLOWLY now", stream=True))
    running.heard(1)
    os.kill(worker.process.pid, signal.SIGTERM)
    time.sleep(0.3)
    late = own_jobs.submit(ask("hello"))
    asked = time.monotonic()
    assert running.result()[-1]["type"] == "final"
    assert worker.ended() == 0
    assert time.monotonic() - asked < 8, "no poll of the platform is waited for"
    assert late.status == "IN_QUEUE", "a job after the signal is left to another worker"


def processor_seconds(pid: int) -> float:
    """What a process has used of the processor, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_worker_without_its_job_server_waits_quietly_until_it_is_back(
    own_jobs: JobServer, start: Start, background: Background
) -> None:
    worker = start(warm_up=False)
    own_jobs.submit({"route": "/health"}).result()
    background.run(own_jobs.stop())
    time.sleep(1.5)
    before = processor_seconds(worker.process.pid)
    time.sleep(3)
    assert processor_seconds(worker.process.pid) - before < 0.5, "it spun at half a core"
    assert "Failed to get job" not in worker.log
    assert worker.log.count("does not answer") == 2, "once for jobs, once for cancellations"
    background.run(own_jobs.start(own_jobs.port))
    own_jobs.submit({"route": "/health"}).result()
    assert "the job server answers again" in worker.log
    background.run(own_jobs.stop())
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.ended() == 0
    background.run(own_jobs.start())


FAKE_TORCH = """
class cuda:
    @staticmethod
    def is_initialized(): return True
    @staticmethod
    def synchronize():
        import os
        if os.path.exists(os.environ["BROKEN"]):
            raise RuntimeError("CUDA error: device-side assert triggered")
"""


def test_a_dead_gpu_ends_the_worker_and_a_bad_request_does_not(
    own_jobs: JobServer, start: Start, home: Path
) -> None:
    (home / "torch.py").write_text(FAKE_TORCH, encoding="utf-8")
    (home / "sitecustomize.py").write_text("import torch", encoding="utf-8")
    broken = home / "broken"
    worker = start(env={"PYTHONPATH": str(home), "BROKEN": str(broken)})
    own_jobs.submit({"message": ""}).error()
    own_jobs.submit(ask("it REFUSES")).error()
    own_jobs.submit(ask("hello")).result()
    broken.touch()
    other = own_jobs.submit(ask("SLOWLY now"))
    other_taken = own_jobs.submit(ask("it REFUSES"))
    assert other_taken.error()["code"] == "llm", "its job is reported"
    assert other.result(), "so are the others"
    assert worker.ended() == 1
    assert "GPU does not answer" in worker.log


def test_a_worker_that_is_not_fit_says_so_and_ends(
    own_jobs: JobServer, start: Start, home: Path
) -> None:
    (home / "file").touch()
    worker = start(index_dir=home / "file" / "indexes")
    assert worker.ended() == 1
    assert any(ping.get("status") == "unhealthy" for ping in own_jobs.pings)


def test_a_model_server_that_is_down_is_said_and_the_worker_lives(
    own_jobs: JobServer, start: Start
) -> None:
    worker = start(llm_url="http://127.0.0.1:9/v1")
    assert own_jobs.submit(ask("hello")).error()["retryable"] is True
    assert own_jobs.submit({"route": "/health"}).result()[0]["status"] == "ok"
    assert "the warm-up turn had no reply" in worker.log


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--rp_serve", "--t", "x"], "unrecognized arguments"),
        (["--rp_debugger"], "unrecognized arguments"),
        (["--rp_api_port", "x", "--rp_serve_api"], "invalid int value"),
    ],
)
def test_flags_that_are_not_ours_end_with_2(
    args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        entry.main(args)
    assert told in capsys.readouterr().err


def test_the_local_server_answers(start: Start, home: Path) -> None:
    port = free_port()
    no_platform = {name: "" for name in ("RUNPOD_AI_API_KEY", "RUNPOD_ENDPOINT_ID")}
    worker = start("--rp_serve_api", f"--rp_api_port={port}", env=no_platform)
    body = json.dumps({"input": ask("KOREAN 안녕하세요?")}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/runsync", body, {"Content-Type": "application/json"}
    )
    for _ in range(200):
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                done = json.load(answer)
            break
        except OSError:
            assert worker.process.poll() is None, worker.log
            time.sleep(0.1)
    assert done["status"] == "COMPLETED"
    assert done["output"][0]["response_contents"]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (json.dumps({"input": {"route": "/health"}}), 0, '"status": "ok"'),
        (json.dumps({"input": {"message": "hi"}}), 1, "persona"),
        ("{", 2, "is not JSON"),
        ("[]", 2, "must be"),
    ],
)
def test_test_input_runs_the_handler(
    text: str, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.main([f"--test_input={text}"]) == code
    shown = capsys.readouterr()
    assert told in shown.out + shown.err
