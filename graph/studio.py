"""The graph as `langgraph.json` names it, for LangGraph's server, whose log quotes exceptions.

Importing it makes that log discreet; everyone else takes `graph` from `graph.app`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any

from graph.app import graph, settings
from schemas.errors import traced

__all__ = ["graph"]

_QUOTED = re.compile(r"(<class '[\w.]+'>)\(.*", re.DOTALL)
"""An exception as the server writes it into a line: its class, and what it says."""


def _without_words(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """An event of the log with the type and the places of its exception, and no more of it."""
    event["event"] = _QUOTED.sub(r"\1", str(event.get("event", "")))
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else sys.exception() if info is True else info
    if isinstance(error, BaseException):
        event["exception"] = traced(error)
    return event


def _set_up() -> None:
    """Puts it before what the server does with events, of its own loggers and of all others."""
    # Taken from the server that runs, since this project does not ask for either.
    sys.modules["structlog"].get_config()["processors"].insert(0, _without_words)
    sys.modules["langgraph_api.logging"].shared_processors.insert(0, _without_words)


if settings.log_level != "DEBUG" and "langgraph_api.logging" in sys.modules:
    _set_up()
