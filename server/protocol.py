"""HTTP/1.1 whose requests have to begin: uvicorn waits for the rest of a head for ever, and keeps
all of it."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""From the connection, or the first byte of a further request, to the end of the head."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers; proxies take 8 to 32 KB."""


class Protocol(HttpToolsProtocol):
    """One connection, which is closed when a head takes too long or is too large."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first head."""
        super().connection_made(transport)
        self._read = 0  # bytes since the last request
        self._is_read = False  # the head of the current request
        self._late: asyncio.TimerHandle | None = None
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Reads on; of a head, not beyond its bounds."""
        if not self._is_read:
            self._wait()
            self._read += len(data)
        super().data_received(data)
        if not self._is_read and self._read > MAX_HEAD:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._is_read = True
        self._wait_no_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What follows is the next head."""
        self._is_read, self._read = False, 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
