"""The page's server on loopback, with real parts and a scripted model."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import ROOT, Settings
from play.server import make_app
from schemas.models import Models
from tests.cards.cards_support import read_card, to_png
from tests.support import RecordingLLM
from worker.dispatch import Dispatcher

CARD: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "세라",
        "description": "{{char}}는 등대지기다.",
        "personality": "차분하다",
        "scenario": "",
        "first_mes": "어서 와, {{user}}. {{char}}은(는) 기다렸어.",
        "mes_example": "",
        "creator_notes": "",
        "system_prompt": "",
        "post_history_instructions": "",
        "alternate_greetings": ["왔구나."],
        "tags": [],
        "creator": "",
        "character_version": "",
        "extensions": {},
        "character_book": {
            "extensions": {},
            "entries": [
                {"keys": ["등대"], "content": "등대의 불은 {{char}}만 켠다.", "enabled": True,
                 "insertion_order": 1, "extensions": {}},
                {"keys": [], "content": "섬에는 우물이 없다.", "enabled": True, "constant": True,
                 "insertion_order": 2, "extensions": {}},
            ],
        },
    },
}  # fmt: skip


def card_png(**data: Any) -> bytes:
    card = {**CARD, "data": {**CARD["data"], **data}}
    return to_png(read_card(json.dumps(card).encode()), "v2", None)


class Caching(RecordingLLM):
    """As a server that tells of its cache: half of each prompt was there."""

    async def _write(self, *args: Any) -> AsyncGenerator[str, None]:
        *_, ending = args
        async for piece in super()._write(*args):
            yield piece
        ending.usage["cached_tokens"] = ending.usage["prompt_tokens"] // 2


@dataclass(frozen=True)
class Site:
    """A running server, its model and the folder of its characters."""

    url: str
    llm: RecordingLLM
    folder: Path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("play")
    folder = home / "characters"
    folder.mkdir()
    (folder / "세라.png").write_bytes(card_png())
    story = [
        {"id": "storm", "order": 1, "text": "어젯밤 폭풍이 부두를 부쉈다.", "keywords": ["폭풍"]}
    ]
    (folder / "세라.story.json").write_text(json.dumps(story), encoding="utf-8")
    (folder / "Wren.json").write_text(json.dumps({"name": "Wren"}), encoding="utf-8")
    (home / "secret.json").write_text(json.dumps({"name": "secret"}), encoding="utf-8")
    services = make_services(Settings(index_dir=home / "indexes"))
    llm = Caching()
    model = replace(services.models.offered[0], llm=llm)
    pipeline = Pipeline(replace(services, models=Models((model,))))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_app(Dispatcher(pipeline, folder, 60.0), folder)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Site(f"http://127.0.0.1:{port}", llm, folder)
    server.should_exit = True
    thread.join()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", help="write the README's pictures there")


@pytest.fixture(scope="session")
def mock_response(site: Site) -> dict[str, Any]:
    """The response to the mock request, with all that can be looked at."""
    path = ROOT / "data" / "mock" / "sample_request.json"
    request = json.loads(path.read_text(encoding="utf-8"))
    asked = {**request, "meta": {"debug": True}}
    lines = httpx.post(f"{site.url}/api/turn", json=asked, timeout=60).text.splitlines()
    response: dict[str, Any] = json.loads(lines[-1])["response"]
    return response


@pytest.fixture
def says(site: Site) -> Iterator[RecordingLLM]:
    """The site's model, as it was before when the test ends."""
    yield site.llm
    site.llm.replies, site.llm.delay, site.llm.fail_with = [], 0.0, None
