"""A worker as the platform starts it: `python -m handler` with Runpod's environment."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from graph.settings import ROOT
from tests.llm.fake_openai_server import Behaviour, Peer, refuse, say

LLM_KEY = "sk-secret-of-the-llm"

hello = say("*She nods.* ", "Good ", "evening, ", "traveller.", finish="stop")


async def behave(peer: Peer) -> None:
    """A language model that does what a word in the prompt says."""
    for word, behaviour in BEHAVIOURS.items():
        if word in peer.body["prompt"]:
            await behaviour(peer)
            return
    await hello(peer)


async def _hang(peer: Peer) -> None:
    await peer.head(content_type="text/event-stream")
    await peer.text("Once upon a time. ")
    await asyncio.sleep(60)


async def _break_off(peer: Peer) -> None:
    await peer.head(content_type="text/event-stream")
    await peer.text("She waits at the door. And then ")
    await peer.hang_up()


async def _garbage(peer: Peer) -> None:
    await peer.head(content_type="text/html")
    await peer.send(b"<html>the prompt is in the way</html>")
    await peer.hang_up()


BEHAVIOURS: dict[str, Behaviour] = {
    "HANGS": _hang,
    "BREAKS": _break_off,
    "REFUSES": refuse(400, "the prompt is in the way"),
    "OVERLOADED": refuse(503, "the prompt is in the way"),
    "GARBAGE": _garbage,
    "NOTHING": say(finish="stop"),
    "BRIEFLY": say(*(f"word{n} " for n in range(10)), pause=0.03),
    "SLOWLY": say(*(f"word{n} " for n in range(40)), pause=0.015),
    "KOREAN": say("*고개를 끄덕인다.* ", "안녕", "하세요, ", "여행자님."),
}


class Worker:
    """The process and its log."""

    def __init__(self, env: dict[str, str], log: Path, *args: str) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "handler", *args],
                cwd=ROOT,
                env={**_clean(), **env},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ended(self, timeout: float = 20) -> int:
        """Its exit code."""
        return self.process.wait(timeout)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # with the SDK's ping
        self.process.wait()


def _clean() -> dict[str, str]:
    """This process's environment without what would configure a worker."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RUNPOD_")}


def settings(home: Path, url: str, **more: Any) -> dict[str, str]:
    """IYAGI_ variables of a worker that talks to a server."""
    return {
        "IYAGI_INDEX_DIR": str(home),
        "IYAGI_CHARACTERS_DIR": str(home / "characters"),
        "IYAGI_LLM": "openai",
        "IYAGI_LLM_URL": url,
        "IYAGI_LLM_MODELS": "test/model",
        "IYAGI_LLM_API_KEY": LLM_KEY,
        "IYAGI_LLM_RETRIES": "0",
        "IYAGI_WORKER_CONCURRENCY": "64",
        "IYAGI_STANDING_MEMORY": "true",
        **{f"IYAGI_{name.upper()}": str(value) for name, value in more.items()},
    }
