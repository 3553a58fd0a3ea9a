"""The connection to Chroma, in this process or on a server: it opens, retries, and reports."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, urlsplit

from schemas.errors import SettingsError, StoreError, moved
from stores.breaker import CircuitBreaker
from stores.sqlite_file import inode, read_only, set_aside

if TYPE_CHECKING:
    import httpx
    from chromadb.api import ClientAPI

log = logging.getLogger(__name__)
T = TypeVar("T")

FILE = "chroma.sqlite3"

HEARTBEAT_SECONDS = 2.0
"""For a server to be connected to and to give a sign of life, which takes milliseconds."""

OPEN_INDEXES = 64
"""Indexes of vectors that an embedded database keeps open, those used last: 3 MB and 4 files each
of a short chat. To open another takes some 5 ms. Chroma keeps 64 at least, and by itself as many as
there may be files."""

DAMAGED = {11, 26}  # SQLite: malformed, not a database
NOT_THE_INDEX = {5, 6, 8, 10, 13, 14}  # SQLite: busy, locked, read-only, I/O, full, cannot open


class NoCollection(StoreError):
    """The collection of that name does not exist (any more)."""


class ChromaConnection:
    """A lazy, thread-safe connection; every fault of it arrives as StoreError.

    Embedded, one action runs at a time (more threads gain nothing), and other processes may read
    and write the same folder; but what many workers write belongs on a server (`chroma run`).
    A server that does not answer rests for some seconds, in which an action fails at once.

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
        self._breaker = CircuitBreaker("the Chroma server")

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
        import_chroma(embedded=self.embedded)
        import httpx
        from chromadb.errors import ChromaError, NotFoundError

        with self.alone(), self._breaker as is_probe:
            for last in (False, True):
                try:
                    if is_probe:
                        self._ask_for_life()
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
        if client:
            _close(client)

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
        if client := self._client:
            return client
        # A server is connected to without the lock, for which all others would wait.
        opened = self._open_folder(self._path) if self._path else self._open_server()
        with self._lock:
            client = self._client = self._client or opened
        if client is not opened:
            _close(opened)
        return client

    def _open_folder(self, path: Path) -> ClientAPI:
        from chromadb.api.shared_system_client import SharedSystemClient

        for last in (False, True):
            try:
                path.mkdir(parents=True, exist_ok=True)
                self._opened = inode(path / FILE)
                client = _embedded(path)
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
        assert self._address is not None
        self._ask_for_life()
        return _remote(self._address, self._timeout)

    def _ask_for_life(self) -> None:
        import httpx

        assert self._address is not None
        answer = httpx.get(f"{self._address.geturl()}/api/v2/heartbeat", timeout=HEARTBEAT_SECONDS)
        if answer.is_redirect:
            raise StoreError(moved("Chroma", answer.status_code, "IYAGI_CHROMA_URL"))


_IMPORTING = threading.Lock()


def import_chroma(*, embedded: bool) -> None:
    """Imports Chroma where it was not yet: in one thread, as its modules import each other, and two
    that begin at once would leave some of them half made for the rest of the process."""
    with _IMPORTING:
        api = "chromadb.api.rust" if embedded else "chromadb.api.fastapi"
        for name in ("langchain_chroma", api, "chromadb.telemetry.product.posthog"):
            importlib.import_module(name)


def _embedded(path: Path) -> ClientAPI:
    """A client of a folder, as `chromadb.PersistentClient` makes it, with fewer indexes open."""
    from chromadb.api.client import Client
    from chromadb.api.rust import RustBindingsAPI
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings, System

    system = SharedSystemClient._identifier_to_system.get(str(path))
    if system is None:  # else others of this process use the folder
        system = System(
            Settings(anonymized_telemetry=False, is_persistent=True, persist_directory=str(path))
        )
        system.instance(RustBindingsAPI).hnsw_cache_size = OPEN_INDEXES
        system.start()
    return Client.from_system(system)


def _remote(address: SplitResult, timeout: float) -> ClientAPI:
    """A client of a server, as `chromadb.HttpClient` makes it, that waits for no answer longer than
    `timeout` seconds."""
    import httpx
    from chromadb.api.client import Client
    from chromadb.auth import UserIdentity
    from chromadb.config import Settings

    patience = httpx.Timeout(timeout, connect=HEARTBEAT_SECONDS)

    class PatientClient(Client):
        """Chroma's sessions have no timeout, not even for their first questions."""

        def get_user_identity(self) -> UserIdentity:
            _set_timeout(self, patience)
            return self._server.get_user_identity()  # Chroma's own would hide a timeout

        def _validate_tenant_database(self, tenant: str, database: str) -> None:
            _set_timeout(self, patience)
            self._admin_client.get_database(database, tenant)

    secure = address.scheme == "https"
    return PatientClient(
        settings=Settings(
            anonymized_telemetry=False,
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=address.hostname or "",
            chroma_server_http_port=address.port or (443 if secure else 80),
            chroma_server_ssl_enabled=secure,
        )
    )


def _set_timeout(client: ClientAPI, timeout: httpx.Timeout) -> None:
    for session in _sessions(client):
        session.timeout = timeout


def _close(client: ClientAPI) -> None:
    with contextlib.suppress(Exception):  # a broken one may not close properly
        getattr(client, "close", bool)()
    for session in _sessions(client):
        session.close()


def _sessions(client: ClientAPI) -> list[httpx.Client]:
    """What Chroma talks to a server with. Closing the client leaves it open, and Chroma 1.5 offers
    no public way to it."""
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
