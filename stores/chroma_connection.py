"""The connection to Chroma, in this process or on a server: it opens, retries, and reports."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, urlsplit

from schemas.errors import SettingsError, StoreError
from stores.sqlite_file import inode, read_only, set_aside

if TYPE_CHECKING:
    import httpx
    from chromadb.api import ClientAPI

log = logging.getLogger(__name__)
T = TypeVar("T")

FILE = "chroma.sqlite3"
DAMAGED = {11, 26}  # SQLite: malformed, not a database
NOT_THE_INDEX = {5, 6, 8, 10, 13, 14}  # SQLite: busy, locked, read-only, I/O, full, cannot open


class NoCollection(StoreError):
    """The collection of that name does not exist (any more)."""


class ChromaConnection:
    """A lazy, thread-safe connection; every fault of it arrives as StoreError.

    Embedded, one action runs at a time (more threads gain nothing), and other processes may read
    and write the same folder; but what many workers write belongs on a server (`chroma run`).

    Args:
        path: the folder of an embedded database, made when needed. One that cannot be read is put
            aside with a warning, and an empty one is started.
        url: a server in place of it, such as "http://127.0.0.1:8000".
        timeout: seconds for one answer of the server.
    """

    def __init__(
        self, *, path: Path | None = None, url: str | None = None, timeout: float = 10.0
    ) -> None:
        """Connects to nothing yet. Raises SettingsError where the address is none."""
        if (path is None) == (url is None):
            raise SettingsError("Chroma needs either a folder or a server's address")
        self._path = path
        self._address = _address(url) if url else None
        self._timeout = timeout
        self._client: ClientAPI | None = None
        self._opened: int | None = None  # which database file: see `inode`
        self._lock = threading.RLock()

    @property
    def embedded(self) -> bool:
        """Whether the database is a folder of this process."""
        return self._path is not None

    def run(self, action: Callable[[ClientAPI], T]) -> T:
        """Runs an action, twice where a new connection may help: it must be idempotent.

        Raises:
            NoCollection: what the action asked for does not exist.
            StoreError: everything else; `retryable` where the server may be back soon.
        """
        import httpx
        from chromadb.errors import ChromaError, NotFoundError

        with self.alone():
            for last in (False, True):
                try:
                    return action(self._connected())
                except StoreError:
                    raise
                except NotFoundError as error:
                    raise NoCollection("Chroma has no such collection") from error
                except httpx.TransportError as error:
                    if last or isinstance(error, httpx.TimeoutException):
                        raise _unreachable(error) from error
                except Exception as error:  # a server's faults have no common base
                    if last or not self.embedded or not isinstance(error, ChromaError):
                        raise StoreError(
                            f"Chroma cannot serve a collection ({type(error).__name__})"
                        ) from error
                    self._start_over(error)
        raise AssertionError("unreachable")

    def alone(self) -> contextlib.AbstractContextManager[object]:
        """While it is held, no other thread uses an embedded database."""
        return self._lock if self.embedded else contextlib.nullcontext()

    def close(self) -> None:
        """Lets go of the connection; the next action opens it again."""
        with self._lock:
            client, self._client = self._client, None
            with contextlib.suppress(Exception):  # a broken one may not close properly
                getattr(client, "close", bool)()
            for session in _sessions(client):
                session.close()

    def vector_folders(self, name: str) -> list[Path]:
        """Where an embedded database keeps the vectors of a collection, apart from its texts."""
        if self._path is None or not (self._path / FILE).exists():
            return []
        query = (
            "SELECT segments.id FROM segments JOIN collections"
            " ON collections.id = segments.collection"
            " WHERE collections.name = ? AND segments.scope = 'VECTOR'"
        )
        try:
            with contextlib.closing(read_only(self._path / FILE)) as db:
                return [self._path / str(row[0]) for row in db.execute(query, (name,))]
        except sqlite3.Error:
            return []

    def remove_vectors(self, name: str) -> None:
        """Deletes the unreadable vectors of an embedded collection, so that its texts are read."""
        with self.alone():
            self.close()
            for folder in self.vector_folders(name):
                shutil.rmtree(folder, ignore_errors=True)

    def _start_over(self, error: Exception) -> None:
        """Makes the next action open the folder anew.

        An index that is open already does not see the vectors that other processes add, and
        answers with an error; a database file that is damaged is put aside.
        """
        from chromadb.api.shared_system_client import SharedSystemClient

        assert self._path is not None
        self.close()
        # Chroma keeps what it opened for others that use the same folder in this process.
        SharedSystemClient._identifier_to_system.pop(str(self._path), None)
        if _sqlite_code(error) in DAMAGED:
            self._put_aside(self._path)

    def _put_aside(self, path: Path) -> None:
        if set_aside(path / FILE, self._opened):
            log.warning("stores: %s is unreadable and put aside; it starts anew", FILE)

    def _connected(self) -> ClientAPI:
        with self._lock:
            if self._client is None:
                self._client = self._open_folder(self._path) if self._path else self._open_server()
            return self._client

    def _open_folder(self, path: Path) -> ClientAPI:
        import chromadb
        from chromadb.api.shared_system_client import SharedSystemClient
        from chromadb.config import Settings

        for last in (False, True):
            try:
                path.mkdir(parents=True, exist_ok=True)
                self._opened = inode(path / FILE)
                client = chromadb.PersistentClient(
                    path=str(path), settings=Settings(anonymized_telemetry=False)
                )
                self._opened = inode(path / FILE)
                return client
            except Exception as error:  # OSError, or one of several of chromadb
                SharedSystemClient._identifier_to_system.pop(str(path), None)  # the broken one
                code = _sqlite_code(error)
                if last or isinstance(error, OSError) or code in NOT_THE_INDEX:
                    raise StoreError(
                        f"the index folder cannot be opened ({type(error).__name__}"
                        f"{f', SQLite code {code}' if code else ''}); make it writable, free some "
                        "disk space, or choose another"
                    ) from error
                self._put_aside(path)
        raise AssertionError("unreachable")

    def _open_server(self) -> ClientAPI:
        import chromadb
        import httpx
        from chromadb.config import Settings

        assert self._address is not None
        host, secure = self._address.hostname or "", self._address.scheme == "https"
        port = self._address.port or (443 if secure else 80)
        # The client has no timeout, not even for its first questions; so ask one beforehand.
        answer = httpx.get(f"{self._address.geturl()}/api/v2/heartbeat", timeout=self._timeout)
        if answer.is_redirect:
            raise StoreError(
                f"the Chroma server points to another address (HTTP {answer.status_code}); "
                "set IYAGI_CHROMA_URL to the final one"
            )
        client = chromadb.HttpClient(
            host=host, port=port, ssl=secure, settings=Settings(anonymized_telemetry=False)
        )
        for session in _sessions(client):
            session.timeout = httpx.Timeout(self._timeout)
        return client


def _sessions(client: ClientAPI | None) -> list[httpx.Client]:
    """What Chroma talks to a server with. It has no timeout, and closing the client leaves it open;
    Chroma 1.5 offers no public way to either."""
    import httpx

    users = (client, getattr(client, "_admin_client", None))
    sessions = (getattr(getattr(user, "_server", None), "_session", None) for user in users)
    return [session for session in sessions if isinstance(session, httpx.Client)]


def _address(url: str) -> SplitResult:
    address = urlsplit(url.rstrip("/"))
    if address.scheme not in ("http", "https") or not address.hostname or address.path:
        raise SettingsError("the address of Chroma must be like http://127.0.0.1:8000")
    return address


def _unreachable(error: Exception) -> StoreError:
    return StoreError(
        f"the Chroma server cannot be reached ({type(error).__name__}); see that it runs",
        retryable=True,
    )


def _sqlite_code(error: Exception) -> int | None:
    """SQLite's primary result code in Chroma's words; None where it is about something else."""
    found = re.search(r"\(code: (\d+)\)", str(error))
    return int(found[1]) & 0xFF if found else None
