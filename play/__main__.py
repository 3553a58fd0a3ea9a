"""`python -m play`: the server with the page, on loopback unless told otherwise."""

from __future__ import annotations

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
    """Serves until Ctrl-C; 2 where the environment is at fault."""
    args = parser("python -m play", 8010).parse_args(argv)

    def make(dispatcher: Dispatcher, settings: Settings, parts: dict[str, Any]) -> FastAPI:
        from play.server import make_app

        return make_app(dispatcher, settings.characters_dir, **parts)

    return serve(args, make, always_guarded=True)


if __name__ == "__main__":
    from graph.logs import set_up

    set_up()
    sys.exit(in_terminal(main))
