"""Who gets in beside a key: on loopback only this machine's own pages and programs.

A page from elsewhere could send requests to a server on loopback, by its address or by a name that
it lets point here. Both are seen in the headers that a browser sets, and refused. A server for
any host cannot know its names; there the pages of other addresses are refused alone.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import HttpError, error_response

LOOPBACK = ("127.0.0.1", "localhost", "::1")

ANY_ORIGIN = "*"


class Guard:
    """Checks `Host` and `Origin`.

    Args:
        hosts: names that this server may be called by; None: any.
        in_network: it may also be called by an address of numbers. A name that somebody else lets
            point here is none, so no page from elsewhere gets in by one.
        origins: pages from elsewhere that may come in; `*` is all.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] | None,
        in_network: bool = False,
        origins: Collection[str] = (),
    ) -> None:
        self._app, self._hosts, self._in_network = app, hosts, in_network
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what is in order."""
        app: ASGIApp = self._app
        if scope["type"] == "http" and (why := self._refusal(Headers(scope=scope))):
            app = error_response(HttpError("forbidden", why), scope)
        await app(scope, receive, send)

    def _refusal(self, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(f"//{host}")
        by_address = self._in_network and is_address(name)
        if self._hosts is not None and name not in self._hosts and not by_address:
            return "this server answers to its own address only, such as 127.0.0.1 (--allow-host)"
        if origin is None or ANY_ORIGIN in self._origins or origin in self._origins:
            return ""
        schemes = ("http",) if self._hosts is not None else ("http", "https")  # behind a proxy
        if origin.lower() not in {f"{scheme}://{host}".lower() for scheme in schemes}:
            return "pages from elsewhere may not use this server (IYAGI_CORS_ORIGINS lists some)"
        return ""


def is_address(name: str | None) -> bool:
    """Whether a host is named by its address in numbers."""
    try:
        ip_address(name or "")
    except ValueError:
        return False
    return True


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
