"""The server on loopback with real parts, before a language model that does what a word says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import Settings
from server.app import Terms, make_app
from server.life import Life
from server.protocol import Protocol
from tests.llm.fake_openai_server import FakeServer, Peer, mute, say
from tests.support import free_port
from tests.worker.job_server import Background
from tests.worker.worker_process import behave
from worker.dispatch import Dispatcher
from worker.output import Output

WREN = {"name": "Wren", "description": "Keeps the light."}


async def in_a_task(server: uvicorn.Server) -> asyncio.Task[None]:
    return asyncio.create_task(server.serve())


async def ended(task: asyncio.Task[None]) -> None:
    await task


class Recording(Dispatcher):
    """Keeps the jobs that it was given."""

    jobs: list[dict[str, Any]]

    def answer(self, job: Any) -> AsyncGenerator[Output, None]:
        self.jobs.append(job["input"])
        return super().answer(job)


@dataclass
class Site:
    """A server that runs."""

    url: str
    web: httpx.Client
    life: Life
    dispatcher: Recording


StartSite = Callable[..., Site]


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    thread = Background()
    yield thread
    thread.stop()


async def dispatched(peer: Peer) -> None:
    """As a word says; two are no words of a worker's tests."""
    prompt = peer.body["prompt"]
    does = mute if "MUTE" in prompt else drawl if "DRAWLS" in prompt else behave
    await does(peer)


drawl = say(*(f"word{n} " for n in range(30)), pause=0.1)


@pytest.fixture(scope="session")
def llm(background: Background) -> Iterator[FakeServer]:
    server = FakeServer()
    server.will(dispatched)
    background.run(server.start())
    yield server
    background.run(server.stop())


@pytest.fixture(scope="session")
def pipeline(llm: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    settings = Settings(
        index_dir=tmp_path_factory.mktemp("indexes"),
        llm="openai", llm_url=llm.url, llm_models=("test/model",), llm_retries=0,
        standing_memory=True,
    )  # fmt: skip
    return Pipeline(make_services(settings))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("characters")
    (folder / "Wren.json").write_text(json.dumps(WREN), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def start(background: Background, pipeline: Pipeline, folder: Path) -> Iterator[StartSite]:
    """`start(terms, drain=1.0, deadline=30.0)`: a server of its own."""
    running: list[tuple[uvicorn.Server, asyncio.Task[None], httpx.Client]] = []

    def make(terms: Terms | None = None, drain: float = 1.0, deadline: float = 30.0) -> Site:
        dispatcher, life = Recording(pipeline, folder, deadline), Life(drain)
        dispatcher.jobs = []

        def begin() -> None:
            life.begin(dispatcher, warm_up=False, wait=0.0)

        app = make_app(dispatcher, terms or Terms(), life=life, begin=begin)
        port = free_port()
        server = uvicorn.Server(
            uvicorn.Config(app, port=port, http=Protocol, log_config=None, ws="none")
        )
        done = background.run(in_a_task(server))
        while not server.started:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{port}"
        web = httpx.Client(base_url=url, timeout=30)
        running.append((server, done, web))
        return Site(url, web, life, dispatcher)

    yield make
    for server, done, web in running:
        web.close()
        server.should_exit = True
        background.run(ended(done))


@pytest.fixture(scope="module")
def site(start: StartSite) -> Site:
    """A server on the usual terms of loopback."""
    return start()


@pytest.fixture
def web(site: Site) -> httpx.Client:
    return site.web
