"""`python -m server`: the HTTP server, on loopback unless told otherwise.

With `PORT` in the environment it serves all of the network there, as Runpod's load-balancing
endpoints want it; `PORT_HEALTH` is a second port for `/ping`, or the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from schemas.terminal import in_terminal
from server.serve import parser, serve

if TYPE_CHECKING:
    from fastapi import FastAPI

    from graph.settings import Settings
    from worker.dispatch import Dispatcher


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; 2 where the environment is at fault."""
    parse = parser("python -m server", 8080)
    parse.add_argument(
        "--wait",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="for a model server that is starting; until it answers, /ping says 204",
    )
    args = parse.parse_args(argv)

    def make(dispatcher: Dispatcher, _: Settings, parts: dict[str, Any]) -> FastAPI:
        from server.app import make_app

        return make_app(dispatcher, **parts)

    return serve(args, make, environment=os.environ)


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and int(text) <= 86_400):
        raise argparse.ArgumentTypeError("must be a number of seconds, 86400 at most")
    return float(text)


if __name__ == "__main__":
    from graph.logs import set_up

    set_up()
    sys.exit(in_terminal(main))
