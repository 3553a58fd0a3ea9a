"""Vectors in one SQLite file that processes share. Faults are logged; none is raised."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from stores.aside import inode, read_only, set_aside

log = logging.getLogger(__name__)
T = TypeVar("T")

VERSION = 1
BUSY_SECONDS = 5.0  # a writer holds the file for milliseconds; more means that it is stuck
REST_SECONDS = 60.0  # after a fault such as a full disk, before the file is tried again
UNREADABLE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS embedders (
    number INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE NOT NULL, dimension INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (
    age INTEGER PRIMARY KEY, embedder INTEGER NOT NULL, id TEXT NOT NULL, vector BLOB NOT NULL,
    UNIQUE (embedder, id));
PRAGMA user_version = {VERSION};
COMMIT;
"""


class VectorFile:
    """The rows of one embedder: content id to the bytes of a little-endian float32 vector.

    A file that is unreadable or of another version is put aside and started anew. A file that
    cannot be written is still read; the disk being full or locked costs a warning, not the turn.

    Args:
        path: the file; its folder is made when needed.
        fingerprint: the embedder. Rows of others are neither seen nor touched.
        max_rows: of all embedders; beyond it the oldest are dropped.
    """

    def __init__(self, path: Path, fingerprint: str, max_rows: int) -> None:
        """Touches no file yet."""
        self._path = path
        self._fingerprint = fingerprint
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._opened: tuple[int, int | None] = (
            0,
            None,
        )  # the process and the file that `_db` belongs to
        self._rest_until = {"read": 0.0, "written": 0.0}

    def dimension(self) -> int | None:
        """Numbers per vector, as they were first written."""
        query = "SELECT dimension FROM embedders WHERE fingerprint = ?"
        row = self._attempt(
            "read", lambda db: db.execute(query, (self._fingerprint,)).fetchone(), None
        )
        return row and int(row[0])

    def read(self, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        """What the file holds of `ids`, in any order."""
        query = (
            "SELECT id, vector FROM vectors"
            " WHERE embedder = (SELECT number FROM embedders WHERE fingerprint = ?)"
            " AND id IN (SELECT value FROM json_each(?))"
        )
        wanted = json.dumps(list(ids))
        return self._attempt(
            "read", lambda db: db.execute(query, (self._fingerprint, wanted)).fetchall(), []
        )

    def write(self, rows: Iterable[tuple[str, bytes]], dimension: int) -> None:
        """Adds or replaces rows; they are on disk when this returns, unless a fault was logged."""
        rows = list(rows)
        self._attempt("written", lambda db: self._insert(db, rows, dimension), None)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._lock:
            self._disconnect()

    def _insert(
        self, db: sqlite3.Connection, rows: Sequence[tuple[str, bytes]], dimension: int
    ) -> None:
        with db:  # commits, or rolls back
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "INSERT INTO embedders (fingerprint, dimension) VALUES (?, ?)"
                " ON CONFLICT (fingerprint) DO UPDATE SET dimension = excluded.dimension",
                (self._fingerprint, dimension),
            )
            query = "SELECT number FROM embedders WHERE fingerprint = ?"
            (number,) = db.execute(query, (self._fingerprint,)).fetchone()
            db.executemany(
                "INSERT INTO vectors (embedder, id, vector) VALUES (?, ?, ?)"
                " ON CONFLICT (embedder, id) DO UPDATE SET vector = excluded.vector",
                [(number, key, vector) for key, vector in rows],
            )
            # The oldest, not the least used: a read that had to write would wait for writers.
            db.execute(
                "DELETE FROM vectors WHERE age <= (SELECT max(age) FROM vectors) - ?",
                (self._max_rows,),
            )

    def _attempt(self, verb: str, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """The action's result, or `otherwise` after a fault."""
        with self._lock:
            if time.monotonic() < self._rest_until[verb]:
                return otherwise
            for may_start_anew in (True, False):
                try:
                    return action(self._connection())
                except (sqlite3.DatabaseError, OSError) as error:
                    opened = self._opened[1]
                    self._disconnect()
                    if may_start_anew and _unreadable(error):
                        if set_aside(self._path, opened):
                            log.warning(
                                "vector cache: %s is unreadable and put aside; it starts anew",
                                self._path.name,
                            )
                        continue
                    self._rest_until[verb] = time.monotonic() + REST_SECONDS
                    log.warning(
                        "vector cache: %s cannot be %s (%s); vectors stay in memory only, "
                        "next try in %d s",
                        self._path.name,
                        verb,
                        getattr(error, "sqlite_errorname", type(error).__name__),
                        REST_SECONDS,
                    )
                    return otherwise
        raise AssertionError("unreachable")

    def _connection(self) -> sqlite3.Connection:
        """The connection of this process; one made before a fork is left to the parent."""
        if self._db is None or self._opened[0] != os.getpid():
            self._db = self._open()
        return self._db

    def _open(self) -> sqlite3.Connection:
        self._opened = os.getpid(), inode(self._path)
        if self._opened[1] is not None and not os.access(self._path, os.W_OK):
            return read_only(self._path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._opened = os.getpid(), inode(self._path)
        try:
            db.execute("BEGIN")  # one moment: another process may be making the tables
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.execute("COMMIT")
            if version != VERSION and (version or tables):
                raise sqlite3.DatabaseError("of another version or purpose")
            if version != VERSION:
                _write_ahead(db)
                db.executescript(SCHEMA)
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last rows only
        except BaseException:
            db.close()
            raise
        return db

    def _disconnect(self) -> None:
        if self._db is not None and self._opened[0] == os.getpid():
            self._db.close()
        self._db = None


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
