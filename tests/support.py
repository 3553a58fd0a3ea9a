"""What several tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph.pipeline import Pipeline

MakePipeline = Callable[..., Pipeline]


def ask(message: str = "안녕하세요?", **fields: Any) -> dict[str, Any]:
    """A small request."""
    return {"message": message, "persona": {"name": "하늘"}, **fields}
