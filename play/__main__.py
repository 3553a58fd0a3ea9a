"""`python -m play`: serves the page and the front door, on loopback unless told otherwise."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence

from schemas.errors import SettingsError
from schemas.terminal import in_terminal


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(prog="python -m play", allow_abbrev=False)
    parse.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    parse.add_argument("--port", type=port, default=8010, help="1 to 65535; default: 8010")
    parse.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that others call this machine by; by its address they always may",
    )
    return parse


def port(text: str) -> int:
    """A port's number."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError("must be a number from 1 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until Ctrl-C; 2 where the environment is at fault."""
    args = parser().parse_args(argv)
    try:
        from graph.app import pipeline, settings
    except SettingsError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2
    try:
        listening = socket.create_server(
            (args.host, args.port), family=socket.AF_INET6 if ":" in args.host else socket.AF_INET
        )
    except OSError as error:
        cure = "choose another with --port, or another --host"
        code = error.errno or 0
        why = os.strerror(code) if code > 0 else "no such address"
        sys.stderr.write(f"error: port {args.port} of {args.host} cannot be had: {why}; {cure}\n")
        return 2
    import uvicorn

    from play.guard import LOOPBACK
    from play.server import make_app
    from worker.dispatch import Dispatcher

    dispatcher = Dispatcher(pipeline, settings.characters_dir, settings.job_deadline)
    is_local = args.host in LOOPBACK
    names = {*LOOPBACK, args.host.lower(), *(name.lower() for name in args.allow_host)}
    app = make_app(dispatcher, settings.characters_dir, hosts=names, in_network=not is_local)
    shown = f"[{args.host}]" if ":" in args.host else args.host
    sys.stdout.write(f"Iyagi: http://{shown}:{args.port}/   OpenAI clients: the same with /v1\n")
    if not is_local:
        sys.stdout.write("Whoever reaches this address can use it: there is no login.\n")
    sys.stdout.flush()
    # Its own log set-up would print what exceptions say.
    config = uvicorn.Config(app, log_level="warning", log_config=None)
    uvicorn.Server(config).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    from graph.logs import set_up

    set_up()
    sys.exit(in_terminal(main))
