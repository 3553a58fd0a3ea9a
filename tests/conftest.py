"""Pipelines of real parts for the tests; and no test leaves this machine."""

from __future__ import annotations

import asyncio
import copy
import ipaddress
import json
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import ROOT, Settings
from schemas.models import Models
from tests.support import MakePipeline, RecordingLLM

# What this machine sets for a server of its own must not reach a test, nor a process of one.
for _name in [name for name in os.environ if name.startswith("IYAGI_")]:
    del os.environ[_name]
os.environ["IYAGI_ENV_FILE"] = ""

_connect = socket.socket.connect


def _guarded(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        host = address[0]
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise PermissionError(f"tests may not connect to {host}")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", _guarded)
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        patch.setenv(name, "false")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder with the vectors of the mock data: a test need not embed them again."""
    home = tmp_path_factory.mktemp("embedded")

    async def tell() -> None:
        pipeline = Pipeline(make_services(Settings(index_dir=home)))
        for request in _MOCK.values():
            await pipeline.chat(request)
        await pipeline.drain()

    asyncio.run(tell())
    return home


@pytest.fixture
def make_pipeline(tmp_path: Path, embedded: Path) -> MakePipeline:
    """`make_pipeline(llm=None, **settings)`; all pipelines of a test share an index folder."""
    for file in embedded.glob("vectors.sqlite*"):
        shutil.copy(file, tmp_path)

    def make(llm: Any = None, **settings: Any) -> Pipeline:
        services = make_services(Settings(index_dir=tmp_path, **settings))
        if llm is not None:
            model = replace(services.models.offered[0], llm=llm)
            services = replace(services, models=Models((model,)))
        return Pipeline(services)

    return make


@pytest.fixture
def scripted() -> RecordingLLM:
    """A model that says what it is told and keeps what it was asked."""
    return RecordingLLM()


_MOCK = {
    name: json.loads((ROOT / "data" / "mock" / name).read_text(encoding="utf-8"))
    for name in ("sample_request.json", "sample_request.ko.json")
}


@pytest.fixture(params=sorted(_MOCK))
def mock_request(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The mock request in both languages."""
    return copy.deepcopy(_MOCK[request.param])
