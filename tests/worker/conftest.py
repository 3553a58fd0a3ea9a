"""One worker for all tests that leave it alive, between a job server and a language model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.llm.fake_openai_server import FakeServer
from tests.worker.job_server import Background, JobServer
from tests.worker.worker_process import Worker, behave, settings

MARA = {"name": "마라", "description": "등대지기", "language": "ko"}


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    thread = Background()
    yield thread
    thread.stop()


@pytest.fixture(scope="session")
def llm(background: Background) -> Iterator[FakeServer]:
    server = FakeServer()
    server.will(behave)
    background.run(server.start())
    yield server
    background.run(server.stop())


@pytest.fixture(scope="session")
def shared_jobs(background: Background) -> Iterator[JobServer]:
    server = JobServer()
    background.run(server.start())
    yield server
    background.run(server.stop())


@pytest.fixture
def own_jobs(background: Background) -> Iterator[JobServer]:
    server = JobServer()
    background.run(server.start())
    yield server
    background.run(server.stop())


@pytest.fixture(scope="session")
def worker(
    shared_jobs: JobServer, llm: FakeServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A worker that knows the character 마라."""
    home = tmp_path_factory.mktemp("worker")
    folder = home / "characters"
    folder.mkdir()
    (folder / "마라.json").write_text(json.dumps(MARA, ensure_ascii=False), encoding="utf-8")
    (home / "secret.json").write_text(json.dumps({"name": "secret"}), encoding="utf-8")
    process = Worker({**shared_jobs.env(), **settings(home, llm.url)}, home / "log")
    yield process
    process.stop()


@pytest.fixture
def jobs(shared_jobs: JobServer, worker: Worker) -> Iterator[JobServer]:
    """The job server before the shared worker, which must outlive the test."""
    yield shared_jobs
    shared_jobs.post_delay = 0.0
    assert worker.process.poll() is None, worker.log[-2000:]
    assert not shared_jobs.wrong, shared_jobs.wrong


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for a worker of the test's own."""
    (tmp_path / "characters").mkdir()
    return tmp_path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves slow tests out unless they are asked for: `pytest -m slow`."""
    if "slow" in config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)
