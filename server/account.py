"""A request's id, its line in the log and its place in the metrics. None holds a word of a chat."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.metrics import Metrics

log = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_QUIET = {"/ping", "/health", "/metrics"}
"""Asked every few seconds."""


class Account:
    """Gives each request an `X-Request-Id`, its caller's or a new one; logs and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and has its line in the log when it is over."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.monotonic()
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _ID.fullmatch(sent) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            took = time.monotonic() - begun
            self._metrics.request(state, took)
            path = _path(scope)
            log.log(
                logging.DEBUG if path in _QUIET else logging.INFO,
                "%s %s %d %s in %.0f ms, request %s",
                scope["method"], path, status,
                state.get("code") or state.get("outcome", "ok"), 1000 * took, request_id,
            )  # fmt: skip


def _path(scope: Scope) -> str:
    """The route as it is declared: what stands in its place may be a user's words."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "-"))
