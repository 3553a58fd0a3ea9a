"""What several tests share."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

from pydantic import Field

from graph.pipeline import Pipeline
from llm.scripted import ScriptedLLM

MakePipeline = Callable[..., Pipeline]


class RecordingLLM(ScriptedLLM):
    """Says what it is told, and keeps what it was asked, oldest first."""

    prompts: list[str] = Field(default_factory=list)

    def _write(self, prompt: str, *args: Any) -> AsyncGenerator[str, None]:
        self.prompts.append(prompt)
        return super()._write(prompt, *args)


def ask(message: str = "안녕하세요?", **fields: Any) -> dict[str, Any]:
    """A small request."""
    return {"message": message, "persona": {"name": "하늘"}, **fields}


def takes_linear_time(run: Callable[[int], object], size: int = 25_000) -> bool:
    """Whether four times as much takes less than eight times as long, on a machine of any speed:
    what grows with the square takes sixteen times as long. Looked at three times at most.

    Args:
        run: works on so many characters.
    """

    def seconds(much: int) -> float:
        started = time.thread_time()
        run(much)
        return time.thread_time() - started

    return any(seconds(4 * size) < 8 * seconds(size) + 0.05 for _ in range(3))


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
