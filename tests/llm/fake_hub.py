"""A loopback server that answers as the Hugging Face hub does: a redirect to where the file is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Hub:
    """Serves `content` under every name; what it does wrong is switched on by a test."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.promised: str | None = hashlib.sha256(content).hexdigest()
        self.statuses: list[int] = []
        """Said, first to last, instead of an answer to a GET."""
        self.cuts: list[int] = []
        """Bytes after which a GET hangs up, first to last."""
        self.knows_ranges = True
        self.gets: list[str | None] = []
        """The range of each GET."""
        self.heads = 0
        self.head_status: int | None = None
        self.tokens: set[tuple[str, str | None]] = set()
        self.url = ""


class _Answer(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.hub.heads += 1
        self._note()
        if self.hub.head_status:
            self._end(self.hub.head_status)
        elif self._is_store:
            self._end(200, Content_Length=str(len(self.hub.content)), ETag='"of the store"')
        else:
            self._redirect()

    def do_GET(self) -> None:
        hub = self.hub
        self._note()
        if not self._is_store:
            self._redirect()
            return
        asked = self.headers.get("Range")
        hub.gets.append(asked)
        if hub.statuses:
            self._end(hub.statuses.pop(0))
            return
        ranged = asked if hub.knows_ranges else None
        start = int(ranged.removeprefix("bytes=").rstrip("-")) if ranged else 0
        body = hub.content[start:]
        self._end(206 if start else 200, Content_Length=str(len(body)))
        self.wfile.write(body[: hub.cuts.pop(0)] if hub.cuts else body)
        self.close_connection = True

    @property
    def _is_store(self) -> bool:
        return self.path.startswith("/store/")

    def _note(self) -> None:
        place = "store" if self._is_store else "hub"
        self.hub.tokens.add((place, self.headers.get("Authorization")))

    def _redirect(self) -> None:
        told = {"X_Linked_Size": str(len(self.hub.content))}
        if self.hub.promised is not None:
            told["X_Linked_Etag"] = f'"{self.hub.promised}"'
        # Another name of the same place is another origin, which must get no token.
        store = self.hub.url.replace("127.0.0.1", "localhost") + "/store/x"
        self._end(302, Location=store, **told)

    def _end(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, while it listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
