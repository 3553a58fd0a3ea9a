"""Which words stand in which message of a standing memory: a lexical index beside the vectors.

Chroma ranks by vectors only (its own ranking by words is not part of the server that one runs). So
each worker keeps the terms of the chats it has met in a SQLite file, with the order of the messages
and without their text. It is a copy of what stands in the database, read on from where it ends, and
made again where it is lost.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from retrieval.text import RULES
from schemas.protocols import Analyzer
from schemas.rag import Corpus
from stores.sqlite_file import SqliteFile

T = TypeVar("T")

NAME, VERSION = "word index", 2

MESSAGES = 1_000_000
"""Kept on disk, of all chats together: some 200 bytes each. The chats used longest ago go first."""

MESSAGES_IN_MEMORY = 50_000
"""The same where no file can be written."""

POSTINGS = 20_000
"""Occurrences that one search looks at, those of the rarest terms: some 10 ms. What is said that
often tells little, and of 200,000 messages it may be in half."""

SATURATION = 1.2
"""BM25's k1, as in `retrieval.lexical`; without its norm by length, as this only nominates."""

TABLES = """
CREATE TABLE IF NOT EXISTS chats (
    chat INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, uid TEXT NOT NULL, revision TEXT NOT NULL,
    low INTEGER NOT NULL, high INTEGER NOT NULL, messages INTEGER NOT NULL, terms INTEGER NOT NULL,
    used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    chat INTEGER NOT NULL, place INTEGER NOT NULL, identity BLOB NOT NULL, words BLOB NOT NULL,
    at INTEGER NOT NULL, written INTEGER NOT NULL, terms INTEGER NOT NULL,
    PRIMARY KEY (chat, place)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_identity ON messages (chat, identity);
CREATE INDEX IF NOT EXISTS by_words ON messages (chat, words);
CREATE INDEX IF NOT EXISTS by_time ON messages (chat, at, place);
CREATE TABLE IF NOT EXISTS postings (
    chat INTEGER NOT NULL, term TEXT NOT NULL, place INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (chat, term, place)) WITHOUT ROWID
"""


class Known(NamedTuple):
    """What is known of a message: its place in the log, what it is, and when it was said."""

    place: int
    identity: bytes
    words: bytes  # a digest
    at: int  # microseconds since 1970
    written: int  # nanoseconds since 1970


class Span(NamedTuple):
    """How much of a chat is known: the places from `low` up to `high`, as of a revision."""

    low: int
    high: int
    revision: str


class WordIndex:
    """The terms of many chats; safe to share between threads, its file between processes.

    Args:
        path: the SQLite file; None keeps it in memory, as does a file that cannot be written.
        analyzer: cuts the texts; a file holds the terms of one.
    """

    def __init__(self, path: Path | None, analyzer: Analyzer = RULES) -> None:
        """Touches no file yet."""
        self.analyzer = analyzer
        self._file = SqliteFile(path, NAME, VERSION, TABLES)
        self._most = MESSAGES if path else MESSAGES_IN_MEMORY

    def span(self, name: str, uid: str) -> Span | None:
        """How much is known of a chat; None where nothing is.

        What is known of another collection of that name is dropped: it was forgotten elsewhere.
        """
        query = "SELECT uid, low, high, revision FROM chats WHERE name = ?"
        row = self._do(lambda db: db.execute(query, (name,)).fetchone())
        if row and row[0] != uid:
            self.forget(name)
            return None
        return Span(*row[1:]) if row else None

    def add(
        self,
        name: str,
        uid: str,
        span: Span,
        messages: Sequence[tuple[Known, Mapping[str, int]]],
    ) -> None:
        """Adds messages with their terms and counts; of one identity the one written last stays,
        which has the highest place.

        Args:
            name: of the chat's collection.
            uid: which collection of that name.
            span: what is known when this is done.
            messages: new ones.
        """

        def action(db: sqlite3.Connection) -> None:
            chat = _chat(db, name, uid)
            for known, terms in messages:
                rivals = [it for it in _of(db, chat, "identity", [known.identity])]
                if any(rival.place > known.place for rival in rivals):
                    continue
                _remove(db, chat, [rival.place for rival in rivals])
                length = sum(terms.values())
                row = (chat, *known, length)
                db.execute("INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                db.executemany(
                    "INSERT OR REPLACE INTO postings VALUES (?, ?, ?, ?)",
                    [(chat, term, known.place, count) for term, count in terms.items()],
                )
                _count(db, chat, 1, length)
            db.execute(
                "UPDATE chats SET low = ?, high = ?, revision = ?, used = ? WHERE chat = ?",
                (*span, time.time_ns(), chat),
            )
            self._make_room(db, chat)

        self._do(action, write=True)

    def remove(self, name: str, places: Collection[int]) -> None:
        """Drops messages that do not exist any more."""
        if places:
            self._do(lambda db: _remove(db, _found(db, name), places), write=True)

    def forget(self, name: str) -> None:
        """Drops all that is known of a chat, from the file as well."""
        self._do(lambda db: _drop(db, _found(db, name)), write=True)
        self._file.empty_log()

    def of_identity(self, name: str, identities: Iterable[bytes]) -> list[Known]:
        """The messages of these identities, in no order."""
        wanted = list(identities)
        return self._do(lambda db: _of(db, _found(db, name), "identity", wanted))

    def of_words(self, name: str, words: Iterable[bytes]) -> list[Known]:
        """The messages that say these words, in no order."""
        wanted = list(words)
        return self._do(lambda db: _of(db, _found(db, name), "words", wanted))

    def newest(self, name: str) -> int:
        """When the newest message was said, 0 where none is known."""
        query = "SELECT at FROM messages WHERE chat = ? ORDER BY at DESC LIMIT 1"
        row = self._do(lambda db: db.execute(query, (_found(db, name),)).fetchone())
        return int(row[0]) if row else 0

    def following(self, name: str, known: Known, limit: int) -> list[Known]:
        """The message and what was said after it, in order."""
        query = f"{_KNOWN} AND (at, place) >= (?, ?) ORDER BY at, place LIMIT ?"
        values = (known.at, known.place, limit)
        return self._do(lambda db: _rows(db.execute(query, (_found(db, name), *values))))

    def around(self, name: str, places: Iterable[int], reach: int) -> dict[int, list[Known]]:
        """By place, the message there among its neighbours, `reach` on each side, in order; places
        that are not known are left out."""
        at = "SELECT at FROM messages WHERE chat = ? AND place = ?"
        before = f"{_KNOWN} AND (at, place) < (?, ?) ORDER BY at DESC, place DESC LIMIT ?"
        after = f"{_KNOWN} AND (at, place) >= (?, ?) ORDER BY at, place LIMIT ?"
        wanted = list(places)

        def action(db: sqlite3.Connection) -> dict[int, list[Known]]:
            chat, found = _found(db, name), {}
            for place in wanted:
                if row := db.execute(at, (chat, place)).fetchone():
                    here = (chat, row[0], place)
                    earlier = _rows(db.execute(before, (*here, reach)))
                    found[place] = earlier[::-1] + _rows(db.execute(after, (*here, reach + 1)))
            return found

        return self._do(action)

    def corpus(self, name: str, terms: Collection[str]) -> Corpus:
        """How many messages and terms are known, and in how many messages each of these stands."""

        def action(db: sqlite3.Connection) -> Corpus:
            chat = _found(db, name)
            row = db.execute("SELECT messages, terms FROM chats WHERE chat = ?", (chat,)).fetchone()
            messages, length = row or (0, 0)
            return Corpus(messages, length, _frequencies(db, chat, terms))

        return self._do(action)

    def search(
        self, name: str, query: Mapping[str, float], corpus: Corpus, limit: int
    ) -> list[int]:
        """Places of the messages that have most of a query's terms by weight, best first.

        Args:
            name: of the chat's collection.
            query: terms with their weights.
            corpus: of these terms.
            limit: how many at most.
        """
        weights, looked_at = [], 0
        rarest = sorted(query, key=lambda term: (corpus.found.get(term, 0), term))
        for term in rarest:
            found = corpus.found.get(term, 0)
            looked_at += found
            if found and looked_at <= POSTINGS:
                weights.append((term, query[term] * _idf(found, corpus.messages)))
        if not weights:
            return []
        asked = ", ".join(["(?, ?)"] * len(weights))
        best = (
            f"WITH asked (term, weight) AS (VALUES {asked})"
            f" SELECT place, sum(weight * count / (count + {SATURATION})) AS score"
            " FROM asked CROSS JOIN postings USING (term) WHERE chat = ?"
            " GROUP BY place ORDER BY score DESC, place DESC LIMIT ?"
        )
        values = [value for pair in weights for value in pair]

        def action(db: sqlite3.Connection) -> list[int]:
            return [row[0] for row in db.execute(best, (*values, _found(db, name), limit))]

        return self._do(action)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        self._file.close()

    def _do(self, action: Callable[[sqlite3.Connection], T], *, write: bool = False) -> T:
        """The action's result, in memory from now on where the file does not serve."""
        attempt = self._file.write if write else self._file.read
        done = attempt(lambda db: [action(db)], None)
        if done is None:
            self._file, self._most = SqliteFile(None, NAME, VERSION, TABLES), MESSAGES_IN_MEMORY
            done = self._file.write(lambda db: [action(db)], None)
        assert done is not None  # tables in memory do not fail
        return done[0]

    def _make_room(self, db: sqlite3.Connection, own: int) -> None:
        """Drops the chats used longest ago, but not the one that is written to."""
        (total,) = db.execute("SELECT sum(messages) FROM chats").fetchone()
        for chat, messages in db.execute(
            "SELECT chat, messages FROM chats WHERE chat != ? ORDER BY used", (own,)
        ).fetchall():
            if total <= self._most:
                break
            _drop(db, chat)
            total -= messages


_KNOWN = "SELECT place, identity, words, at, written FROM messages WHERE chat = ?"


def _rows(cursor: sqlite3.Cursor) -> list[Known]:
    return [Known(*row) for row in cursor]


def _found(db: sqlite3.Connection, name: str) -> int:
    """The number of a chat, -1 where it is not known."""
    row = db.execute("SELECT chat FROM chats WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else -1


def _chat(db: sqlite3.Connection, name: str, uid: str) -> int:
    """The number of a chat, which is added where it is not known."""
    db.execute(
        "INSERT OR IGNORE INTO chats (name, uid, revision, low, high, messages, terms, used)"
        " VALUES (?, ?, '', 0, 0, 0, 0, 0)",
        (name, uid),
    )
    return _found(db, name)


def _of(db: sqlite3.Connection, chat: int, column: str, values: Sequence[bytes]) -> list[Known]:
    # Named, as SQLite by itself would read all messages of the chat: the key has no other column.
    indexed = _KNOWN.replace("messages", f"messages INDEXED BY by_{column}")
    query = f"{indexed} AND {column} = ?"
    return [known for value in values for known in _rows(db.execute(query, (chat, value)))]


def _remove(db: sqlite3.Connection, chat: int, places: Collection[int]) -> None:
    """Drops messages; the postings have no index by place, as this is rare."""
    for place in places:
        gone = db.execute(
            "DELETE FROM messages WHERE chat = ? AND place = ? RETURNING terms", (chat, place)
        ).fetchone()
        if gone:
            _count(db, chat, -1, -gone[0])
            db.execute("DELETE FROM postings WHERE chat = ? AND place = ?", (chat, place))


def _count(db: sqlite3.Connection, chat: int, messages: int, terms: int) -> None:
    db.execute(
        "UPDATE chats SET messages = messages + ?, terms = terms + ? WHERE chat = ?",
        (messages, terms, chat),
    )


def _drop(db: sqlite3.Connection, chat: int) -> None:
    for table in ("postings", "messages", "chats"):
        db.execute(f"DELETE FROM {table} WHERE chat = ?", (chat,))


def _frequencies(db: sqlite3.Connection, chat: int, terms: Collection[str]) -> dict[str, int]:
    query = "SELECT count(*) FROM postings WHERE chat = ? AND term = ?"
    return {term: int(db.execute(query, (chat, term)).fetchone()[0]) for term in terms}


def _idf(found: int, total: int) -> float:
    """Lucene's, which is never negative."""
    return math.log(1 + max(0.0, total - found + 0.5) / (found + 0.5))
