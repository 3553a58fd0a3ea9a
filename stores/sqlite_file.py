"""A SQLite file that processes share, and that can be made anew: a cache, never the only copy."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

log = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

BUSY_SECONDS = 5.0  # a writer holds the file for milliseconds; more means that it is stuck
REST_SECONDS = 60.0  # after a fault such as a full disk, before the file is tried again
UNREADABLE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}

WAITING_BYTES = 32_000_000
"""What waits to be written later: 20,000 vectors of 384 numbers. More is lost to the cache."""

COMPANIONS = ("", "-wal", "-shm", "-journal")  # SQLite's own files beside a database, and itself


@dataclass(slots=True)
class _Connection:
    """A connection, and who made it of what."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    db: sqlite3.Connection | None = None
    opened: tuple[int, int | None] = (0, None)  # the process, and the `inode` of the file
    rests_until: float = 0.0  # monotonic


class SqliteFile:
    """Runs statements in the file; a fault is logged once and costs the cache, never the turn.

    What reads has a connection of its own, so it waits for no one who writes. A file that is
    unreadable or of another version is put aside and started anew. A file that cannot be written is
    still read.

    Args:
        path: the file; its folder is made when needed. None keeps the tables in memory.
        what: the cache's name in the log.
        version: of the tables.
        tables: SQL that makes them where they do not exist.
    """

    def __init__(self, path: Path | None, what: str, version: int, tables: str) -> None:
        """Touches no file yet."""
        self._path = path
        self._what = what
        self._version = version
        self._tables = tables
        self._reading = _Connection()
        self._writing = _Connection() if path else self._reading  # memory has one connection
        self._later = ThreadPoolExecutor(1, thread_name_prefix=what)
        self._waiting = 0  # bytes
        self._counting = threading.Lock()

    def read(self, action: Callable[[sqlite3.Connection], T], otherwise: U) -> T | U:
        """The action's result, or `otherwise` after a fault."""
        return self._attempt("read", action, otherwise)

    def write(self, action: Callable[[sqlite3.Connection], T], otherwise: U) -> T | U:
        """The result of an action in one transaction, on disk when this returns; or `otherwise`."""

        def transaction(db: sqlite3.Connection) -> T:
            with db:  # commits, or rolls back
                db.execute("BEGIN IMMEDIATE")
                return action(db)

        return self._attempt("written", transaction, otherwise)

    def write_later(self, action: Callable[[sqlite3.Connection], object], size: int) -> None:
        """Has an action done in one transaction soon, by a thread of the file.

        Args:
            action: what to do.
            size: bytes that wait meanwhile. Where too many do, nothing is written.
        """
        with self._counting:
            if self._waiting + size > WAITING_BYTES:
                return
            self._waiting += size

        def work() -> None:
            self.write(action, None)
            with self._counting:
                self._waiting -= size

        self._later.submit(work)

    def flush(self) -> None:
        """Waits until what was to be written later is."""
        self._later.submit(bool).result()

    def empty_log(self) -> None:
        """Writes the write-ahead log into the file and empties it: what was deleted is gone."""
        checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
        self._attempt("written", lambda db: db.execute(checkpoint).fetchall(), None)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        self.flush()
        for connection in (self._reading, self._writing):
            with connection.lock:
                _disconnect(connection)

    def __str__(self) -> str:
        """For the log: no path."""
        return f"{self._what}: {self._path.name if self._path else 'its memory'}"

    def _attempt(self, verb: str, action: Callable[[sqlite3.Connection], T], otherwise: U) -> T | U:
        own = self._reading if verb == "read" else self._writing
        with own.lock:
            if time.monotonic() < own.rests_until:
                return otherwise
            for may_start_anew in (True, False):
                try:
                    return action(self._connected(own))
                except (sqlite3.DatabaseError, OSError) as error:
                    opened = own.opened[1]
                    _disconnect(own)
                    if may_start_anew and _unreadable(error):
                        if self._path and set_aside(self._path, opened):
                            log.warning("%s is unreadable and put aside; it starts anew", self)
                        continue
                    own.rests_until = time.monotonic() + REST_SECONDS
                    log.warning(
                        "%s cannot be %s (%s); next try in %d s",
                        self,
                        verb,
                        getattr(error, "sqlite_errorname", type(error).__name__),
                        REST_SECONDS,
                    )
                    return otherwise
        raise AssertionError("unreachable")

    def _connected(self, own: _Connection) -> sqlite3.Connection:
        """The connection, of this process and to the file of this name: one made before a fork is
        left to the parent, and a file that was put aside or deleted is let go."""
        if own.opened[0] != os.getpid():
            own.db = None
        elif self._path and inode(self._path) != own.opened[1]:
            _disconnect(own)
        if own.db is None:
            own.db = self._open(own)
        return own.db

    def _open(self, own: _Connection) -> sqlite3.Connection:
        path = self._path
        own.opened = os.getpid(), inode(path) if path else None
        if path and own.opened[1] is not None and not os.access(path, os.W_OK):
            return read_only(path)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(
            path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        own.opened = os.getpid(), inode(path) if path else None
        try:
            db.execute("BEGIN")  # one moment: another process may be making the tables
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.execute("COMMIT")
            if version != self._version and (version or tables):
                raise sqlite3.DatabaseError("of another version or purpose")
            if version != self._version:
                _write_ahead(db)
                marked = f"{self._tables}; PRAGMA user_version = {self._version}"
                db.executescript(f"BEGIN IMMEDIATE; {marked}; COMMIT;")
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last rows only
            db.execute("PRAGMA secure_delete = ON")  # what is deleted is not left in the file
        except BaseException:
            db.close()
            raise
        return db


def _disconnect(own: _Connection) -> None:
    if own.db is not None and own.opened[0] == os.getpid():
        own.db.close()
    own.db = None


def inode(path: Path) -> int | None:
    """Which file the name stands for now; None where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def set_aside(path: Path, found: int | None) -> bool:
    """Renames an unreadable SQLite file to `<name>.unreadable`, in place of an older such file.

    Args:
        path: the file's name.
        found: the `inode` that was found unreadable; where the name stands for another file by
            now, another process has put it aside already, and nothing is done.

    Returns:
        Whether the file was renamed.
    """
    if found is None or inode(path) != found:
        return False
    for suffix in COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(
                path.with_name(f"{path.name}.unreadable{suffix}")
            )
    return True


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even SQLite's own companions of the file."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False
    )


def _write_ahead(db: sqlite3.Connection) -> None:
    """Sets the journal's mode, which stays with the file. While another reads the file that is
    refused at once, whatever the connection's timeout is."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _unreadable(error: Exception) -> bool:
    """Whether the file itself is at fault, not the disk, the rights or another writer."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in UNREADABLE
