"""What several tests share."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from graph.pipeline import Pipeline

MakePipeline = Callable[..., Pipeline]


def ask(message: str = "안녕하세요?", **fields: Any) -> dict[str, Any]:
    """A small request."""
    return {"message": message, "persona": {"name": "하늘"}, **fields}


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
