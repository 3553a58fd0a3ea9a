"""HTTP/1.1 whose requests have to begin and to end: uvicorn waits for the rest of a head for ever,
and keeps all of it, as of what follows a body in chunks; nobody reads the body of a request that is
answered already; and who sends a request while the one before is answered cannot be seen to hang
up."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""From the connection, or the first byte of a further request, to the end of the head."""

REST_SECONDS = 20.0
"""From the response to the end of a request whose body nobody reads."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers; proxies take 8 to 32 KB. The same of trailers, and of what
describes a chunk."""


class Protocol(HttpToolsProtocol):
    """One connection, which is closed when a head takes too long or is too large."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first head."""
        super().connection_made(transport)
        self._read = 0  # bytes since the last request, or the last part of a body
        self._is_read = False  # the head of the current request
        self._late: asyncio.TimerHandle | None = None
        self._wait(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Reads on; of what is no body, not beyond its bounds."""
        if not self._is_read:
            self._wait(HEAD_SECONDS)
        self._read += len(data)
        super().data_received(data)
        if self._read > MAX_HEAD:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """The head is whole. Raises, for the parser to give up, where an answer is on its way: no
        program of today sends its next request before (pipelining), and none has to be taken."""
        if self.cycle and not self.cycle.response_complete:
            raise ConnectionError
        self._is_read, self._read = True, 0
        self._wait_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Of a body, the handler says how much it takes."""
        self._read = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What follows is the next head."""
        self._is_read, self._read = False, 0
        self._wait_no_more()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The next request begins, or is waited for; what is left of this one should come soon."""
        super().on_response_complete()
        if self._is_read and self.cycle.response_complete:
            self._wait(REST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self, seconds: float) -> None:
        if self._late is None:
            self._late = self.loop.call_later(seconds, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
