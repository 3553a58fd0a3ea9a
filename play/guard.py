"""What every request passes: only this machine's own pages and programs get in.

A page from elsewhere could send requests to a server on loopback, by its address or by a name that
it lets point here. Both are seen in the headers that a browser sets, and refused.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Checks `Host` and `Origin`, and sets the headers of a careful page.

    Args:
        hosts: names that this server may be called by.
        in_network: it may also be called by an address of numbers. A name that somebody else lets
            point here is none, so no page from elsewhere gets in by one.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], in_network: bool = False) -> None:
        self._app, self._hosts, self._in_network = app, hosts, in_network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what is in order."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        app: ASGIApp = self._app
        if why := self._refusal(Headers(scope=scope)):
            app = JSONResponse({"error": {"message": why, "type": "forbidden"}}, 403)
        await app(scope, receive, answer)

    def _refusal(self, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(f"//{host}")
        if name not in self._hosts and not (self._in_network and is_address(name)):
            return "this server answers to its own address only, such as 127.0.0.1 (--allow-host)"
        if origin is not None and origin.lower() != f"http://{host}".lower():
            return "pages from elsewhere may not use this server"
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
