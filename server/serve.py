"""Sockets, signals and uvicorn: one process that serves until it is told to end."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from schemas.errors import SettingsError
from server.guard import LOOPBACK

if TYPE_CHECKING:
    from fastapi import FastAPI

    from graph.settings import Settings
    from worker.dispatch import Dispatcher

KEEP_ALIVE = 75
"""Seconds that an unused connection stays open: longer than a proxy keeps it (60), which would
otherwise send a request into a connection that is just being closed."""

LAST_REQUESTS = 5
"""Seconds for what is no turn when the server ends."""

Make = Callable[["Dispatcher", "Settings", dict[str, Any]], "FastAPI"]
"""Makes an application of a dispatcher, the settings, and the other arguments of `make_app`."""


def parser(prog: str, port_by_default: int) -> argparse.ArgumentParser:
    """The flags that each server has."""
    parse = argparse.ArgumentParser(prog=prog, allow_abbrev=False)
    parse.add_argument("--host", help="default: 127.0.0.1, this machine only")
    parse.add_argument("--port", type=port, help=f"1 to 65535; default: {port_by_default}")
    parse.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that others call this machine by; by its address they always may",
    )
    parse.set_defaults(port_by_default=port_by_default)
    return parse


def port(text: str) -> int:
    """A port's number."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError("must be a number from 1 to 65535")
    return int(text)


def port_of(environment: Mapping[str, str], name: str) -> int | None:
    """The port that a variable names, if it is set.

    Raises:
        SettingsError: it is no port.
    """
    if not (value := environment.get(name, "").strip()):
        return None
    try:
        return port(value)
    except (argparse.ArgumentTypeError, ValueError):
        raise SettingsError(f"{name}: must be a number from 1 to 65535") from None


def serve(
    args: argparse.Namespace,
    make: Make,
    *,
    always_guarded: bool = False,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Serves until a signal, or until the process cannot answer any more.

    Args:
        args: of `parser`; `wait`, if there, are seconds for which a model server is waited for.
        make: makes the application.
        always_guarded: `Host` and `Origin` are checked on every address, and not on loopback only.
        environment: in which `PORT` and `PORT_HEALTH` may be set, as by Runpod.

    Returns:
        The exit code: 0; 1 where the process is to be replaced; 2 where the environment or the
        address is at fault.
    """
    environment = environment or {}
    try:
        from graph.app import pipeline, settings

        given = port_of(environment, "PORT")
        health = port_of(environment, "PORT_HEALTH")
    except SettingsError as error:
        return _fault(error.message)
    number = args.port or given or args.port_by_default
    host = args.host or ("0.0.0.0" if given else LOOPBACK[0])
    listening = []
    for each in dict.fromkeys([number, *([health] if health else [])]):
        try:
            listening.append(_listen(host, each))
        except OSError as error:
            code = error.errno or 0
            why = os.strerror(code) if code > 0 else "no such address"
            cure = "choose another with --port, or another --host"
            return _fault(f"port {each} of {host} cannot be had: {why}; {cure}")
    import uvicorn

    from server.app import Terms
    from server.life import Life
    from server.protocol import Protocol
    from worker.dispatch import Dispatcher

    dispatcher = Dispatcher(pipeline, settings.characters_dir, settings.job_deadline)
    is_local = host in LOOPBACK
    names = {*LOOPBACK, host.lower(), *(name.lower() for name in args.allow_host)}
    terms = Terms(
        keys=settings.server_keys,
        rate=settings.rate_limit,
        origins=settings.cors_origins,
        guarded=is_local or always_guarded,
        hosts=names,
        in_network=not is_local,
    )
    life = Life(settings.drain)

    def begin() -> None:
        life.stop_by_signals(stop, lambda number: os._exit(128 + number))
        wait = float(getattr(args, "wait", 0.0))
        life.begin(dispatcher, warm_up=settings.warm_up, wait=wait)

    def stop() -> None:
        server.should_exit = True

    app = make(dispatcher, settings, {"terms": terms, "life": life, "begin": begin})
    _greet(host, number, is_local=is_local, has_keys=bool(settings.server_keys))
    config = uvicorn.Config(
        app,
        log_level="warning",
        log_config=None,  # its own set-up would print what exceptions say
        access_log=False,
        http=Protocol,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_REQUESTS,
    )
    server = uvicorn.Server(config)
    gc.freeze()  # what is imported stays, and need not be looked through for garbage
    server.run(sockets=listening)
    return life.exit_code


def _fault(told: str) -> int:
    sys.stderr.write(f"error: {told}\n")
    return 2


def _listen(host: str, number: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, number), family=family, backlog=2048)


def _greet(host: str, number: int, *, is_local: bool, has_keys: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"Iyagi: http://{shown}:{number}/   OpenAI clients: the same with /v1\n")
    sys.stdout.flush()
    if not (is_local or has_keys):
        sys.stderr.write(
            "WARNING: whoever reaches this address can use it: there is no login. "
            "Set IYAGI_API_KEYS, or serve on 127.0.0.1.\n"
        )
