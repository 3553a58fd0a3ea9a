"""The HTTP server as a process of its own; the language model behind it keeps its prompts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from graph.settings import ROOT
from tests.llm.fake_openai_server import Behaviour, FakeServer, Peer, say
from tests.support import free_port
from tests.worker.job_server import Background

MODEL = "test/model"

# Each text that could stand in a prompt has a word of its own, to be looked for there.
SERA: dict[str, Any] = {
    "name": "Sera",
    "description": "{{char}} keeps the lighthouse at Skarholm.",
    "first_mes": "*waves from the gallery* Mind the wet steps, {{user}}.",
    "character_book": {
        "entries": [
            {"keys": [], "content": "The island's well ran dry.", "enabled": True,
             "constant": True, "insertion_order": 1, "extensions": {}}
        ],
        "extensions": {},
    },
}  # fmt: skip
DOYUN: dict[str, Any] = {
    "name": "도윤",
    "description": "{{char}}은 남산 아래에서 헌책방을 한다.",
    "first_mes": "*책을 덮는다* 어서 와요.",
}
CARD, LORE, GREETING = "lighthouse at Skarholm", "well ran dry", "Mind the wet steps"


def text_of(body: dict[str, Any]) -> str:
    """All that a request to the model says."""
    if "prompt" in body:
        return str(body["prompt"])
    return "\n".join(str(message["content"]) for message in body["messages"])


async def _answer(peer: Peer) -> None:
    """Counts the answers in the prompt, so that a chat that was lost on its way is seen."""
    prompt = text_of(peer.body)
    for word, behaviour in _BEHAVIOURS.items():
        if word in prompt:
            return await behaviour(peer)
    count = len(set(re.findall(r"Answer \d+", prompt)))
    usage = {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57}
    await say("*nods* ", f"Answer {count + 1}", " is ready.", usage=usage)(peer)


def said(turn: int) -> str:
    """What the model writes in a turn, if all that it wrote before has come back to it."""
    return f"*nods* Answer {turn} is ready."


TASK_ANSWER = '{"title": "A light at sea", "tags": ["Sea"], "follow_ups": ["And the fog?"]}'
TITLE_ANSWER = "A light at sea"
_BEHAVIOURS: dict[str, Behaviour] = {
    "WAITS": say("Once ", "upon ", "a time.", pause=30),
    "JSON": say(*re.findall(r"\S+\s*", TASK_ANSWER)),
}


class Door:
    """The server and its model; `prompts` are those that came since `clear`."""

    def __init__(self, url: str, model: FakeServer, loop: Background) -> None:
        self.url, self.model, self._loop = url, model, loop

    @property
    def prompts(self) -> list[str]:
        return [text_of(body) for body in self.model.requests]

    def clear(self) -> None:
        self.model.requests.clear()

    def work_began(self) -> bool:
        return _soon(lambda: self.model.open_streams > 0)

    def work_ended(self) -> bool:
        return _soon(lambda: self.model.open_streams == 0)


def _soon(holds: Any, within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def open_door(home: Path, **settings: str) -> Iterator[Door]:
    """Starts both, with the characters Sera and 도윤 and a short context; ends them."""
    folder = home / "characters"
    folder.mkdir()
    for card in (SERA, DOYUN):
        whole = {"spec": "chara_card_v2", "spec_version": "2.0", "data": card}
        text = json.dumps(whole, ensure_ascii=False)
        (folder / f"{card['name']}.json").write_text(text, encoding="utf-8")
    loop, model, port = Background(), FakeServer(), free_port()
    model.will(_answer)
    loop.run(model.start())
    env = {
        "IYAGI_INDEX_DIR": str(home / "indexes"),
        "IYAGI_CHARACTERS_DIR": str(folder),
        "IYAGI_LLM": "openai",
        "IYAGI_LLM_URL": model.url,
        "IYAGI_LLM_MODELS": MODEL,
        "IYAGI_LLM_RETRIES": "0",
        "IYAGI_LLM_CONTEXT": "4096",
        "IYAGI_WARM_UP": "false",
        **settings,
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}/v1"
        assert _soon(lambda: _answers(url), 60), (home / "log").read_text(encoding="utf-8")
        yield Door(url, model, loop)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        loop.run(model.stop())
        loop.stop()


def _answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/models", timeout=5)
    except httpx.TransportError:
        return False
    return True
