"""Which chat a request goes on with, by what was said: OpenAI's clients send no id of a chat.

The lines of each user's chats are a forest: a line follows on the one before it, and where a chat
is gone on with in two ways, two lines follow on one. A request is found in it by its newest lines,
so a client may leave out the oldest. Only digests are kept, never a text.

What a chat remembers may be recalled once the client has left it out. So a line is remembered only
when it has settled: when so many others came after it that nobody swipes or rewrites it any more.
The first who settles a line in a chat takes the chat; whoever goes on from another line, as a
branch does or another chat with the same beginning, has a chat of their own from then on.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from language.normal import nfc
from schemas.base import digest
from schemas.request import Message
from stores.sqlite_file import SqliteFile

VERSION = 1

KNOWN, NEW = "iyagi:chat:", "iyagi:new:"
"""How the ids begin that are made here: of a chat, and of what is too short to be one."""

LOOKED_AT = 64
"""Newest lines of a request by which its chat is found. Whoever takes back more begins another."""

WINDOW_LINES, WINDOW_TEXT, WINDOW_MOST = 3, 40, 12
"""A line is found by itself and those before it: so many at least, until they have so many
characters and a reply among them, and so many at most. "Yes." is said in every chat."""

COMPARED = 16
"""Lines before a found one that are compared; a quarter must be the same, as some are edited."""

REACH = 2 * LOOKED_AT
"""Lines before a found one that are read."""

TWINS = 8
"""Lines of one mark that are compared, the newest: who says the same again and again has more."""

UNSETTLED = 48
"""Newest lines that are not remembered yet, or the newer half of fewer than twice as many.
They come with the next request, unless a client leaves out as many at once; and it is these that
people swipe, rewrite and take back."""

MARGIN = 2
"""Lines more that count as remembered: the places of lines shift where some are left out."""

LINES = 500_000
"""Kept on disk, in 50 MB: 5,000 of each of 100 users. The oldest go first."""

LINES_IN_MEMORY = 50_000
"""The same where there is no file."""

NARRATIONS = 200_000
"""Digests kept on disk, two of a long one, in 10 MB; the oldest go first."""

BEGINNING = 80
"""Characters by which a reply is known again that the client has cut or that was gone on with."""

TABLES = """
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY AUTOINCREMENT, mark BLOB NOT NULL, words BLOB NOT NULL,
    parent INTEGER, chat BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_mark ON lines (mark);
CREATE TABLE IF NOT EXISTS chats (
    used INTEGER PRIMARY KEY AUTOINCREMENT, chat BLOB UNIQUE NOT NULL, user BLOB NOT NULL,
    settled INTEGER);
CREATE TABLE IF NOT EXISTS narrations (
    age INTEGER PRIMARY KEY AUTOINCREMENT, words BLOB UNIQUE NOT NULL)
"""


_SAID = re.compile(r"[^\s*_~`]")
_CHAT = re.compile(r"iyagi:chat:([0-9a-f]{32})")
_MARKUP = str.maketrans("", "", "*_~`")


class _Line(NamedTuple):
    """A line of a request; of its text only what clients leave as it is."""

    replies: bool
    text: str


class _Asked(NamedTuple):
    """A request, by digests."""

    user: bytes
    derived: bytes | None  # the chat that its first lines stand for; None while they are too few
    first: int  # lines that say so
    length: int  # lines
    words: list[bytes]  # of the newest `LOOKED_AT` lines, each by itself, by how they begin
    marks: list[bytes]  # of the same, with what is before them


class _Found(NamedTuple):
    """The newest line of a request that is known."""

    place: int  # among the request's marks
    chat: bytes
    path: list[int]  # its row and those that it follows on, the nearest first


class Conversations:
    """Which chat a request goes on with, by what was said; and which replies were narration.

    Safe to share between threads; the file is safe to share between processes. All methods block
    for some milliseconds, and none fails: where the file is at fault, no chat is known again, and
    nothing of it is remembered.

    Args:
        path: the SQLite file, made when first needed; None keeps all in memory.
        lines: kept at most.
        narrations: kept at most.
    """

    def __init__(
        self, path: Path | None, *, lines: int | None = None, narrations: int = NARRATIONS
    ) -> None:
        """Touches no file yet."""
        self._file = SqliteFile(path, "conversations", VERSION, TABLES)
        self._lines = lines or (LINES if path else LINES_IN_MEMORY)
        self._narrations = narrations

    def session_of(self, user_id: str, character: str, lines: Sequence[tuple[str, str]]) -> str:
        """The id of the chat that the lines go on with; they are known from now on.

        The id of a chat that is not known follows from its first lines, up to the first reply to
        the user: every worker derives the same.

        Args:
            user_id: whose chat it is; chats of others are never found.
            character: whom the user talks to.
            lines: role and text of the history as sent, oldest first, and the new message. Those
                of `system` do not count; every role but `user` replies.
        """
        asked = _asked(user_id, character, lines)
        chat = asked.derived and self._file.write(lambda db: self._chat(db, asked), None)
        return f"{KNOWN}{chat.hex()}" if chat else f"{NEW}{_bytes(user_id, character).hex()}"

    def forget(self, user_id: str, session_id: str) -> None:
        """Drops the lines of a chat, from the file as well."""
        chat, user = _chat_of(session_id), _bytes(user_id)
        if chat is None:
            return

        def action(db: sqlite3.Connection) -> None:
            gone = "DELETE FROM chats WHERE chat = ? AND user = ?"
            if db.execute(gone, (chat, user)).rowcount:
                db.execute("DELETE FROM lines WHERE chat = ?", (chat,))

        self._file.write(action, None)
        self._file.empty_log()

    def settled(self, session_id: str, history: Sequence[Message]) -> list[Message] | None:
        """The lines of a history that its chat may remember: those that have settled, as they were
        first said. None where the id is the client's own, which says itself what a chat is.

        Args:
            session_id: of the chat, after `session_of` has seen this history.
            history: as sent, without the new message.
        """
        if not session_id.startswith((KNOWN, NEW)):
            return None
        said = [line for line in history if line.role != "system" and _SAID.search(line.content)]
        newest = "SELECT settled FROM chats WHERE chat = ?"

        def action(db: sqlite3.Connection) -> list[tuple[int, bytes]]:
            row = db.execute(newest, (_chat_of(session_id),)).fetchone()
            return _path(db, row[0]) if row and row[0] else []

        path = {words for _, words in self._file.read(action, [])}
        near = len(said) - LOOKED_AT
        return [
            line
            for place, line in enumerate(said[: _settled(len(said))] if path else [])
            if place < near or _words_of(_line((line.role, line.content))) in path
        ]

    def narrated(self, text: str, user_id: str = "") -> bool:
        """Whether a reply is a narration that this user heard, whole or from its beginning on; all
        whom nobody names are one user."""
        wanted = _narration(text, user_id)
        query = f"SELECT 1 FROM narrations WHERE words IN ({_places(wanted)})"
        return self._file.read(lambda db: db.execute(query, wanted).fetchone(), None) is not None

    def heard_narration(self, text: str, user_id: str = "", *, continued: bool = False) -> None:
        """Notes that a reply is narration.

        Args:
            continued: its beginning is the client's, and so may be anybody's words.
        """
        rows = [(words,) for words in _narration(text, user_id)[: 1 if continued else None]]
        old = "DELETE FROM narrations WHERE age <= (SELECT max(age) FROM narrations) - ?"

        def action(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO narrations (words) VALUES (?)", rows)
            db.execute(old, (self._narrations,))

        self._file.write(action, None)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        self._file.close()

    def _chat(self, db: sqlite3.Connection, asked: _Asked) -> bytes:
        """The chat of a request, whose lines are added to it."""
        found = _newest(db, asked)
        path = found.path if found else []
        chat, settled = _opened(db, asked, found)
        fresh: list[int] = []
        parent = path[0] if path else None
        new = found.place + 1 if found else 0
        for line in zip(asked.marks[new:], asked.words[new:], strict=True):
            row = "INSERT INTO lines (mark, words, parent, chat) VALUES (?, ?, ?, ?)"
            parent = db.execute(row, (*line, parent, chat)).lastrowid
            fresh.insert(0, int(parent or 0))
        path = [*fresh, *path]
        # What the chat remembers from now on, at most; it never remembers less.
        back = asked.length - min(asked.length, _settled(asked.length) + MARGIN)
        known = path.index(settled) if settled in path else len(path)
        if _settled(asked.length) and back < known:
            settled = path[back]
        use = "INSERT OR REPLACE INTO chats (chat, user, settled) VALUES (?, ?, ?)"
        db.execute(use, (chat, asked.user, settled))
        for table, row in (("lines", "id"), ("chats", "used")):
            old = f"DELETE FROM {table} WHERE {row} <= (SELECT max({row}) FROM {table}) - ?"
            db.execute(old, (self._lines,))
        return chat


def _settled(count: int) -> int:
    """How many of so many lines have settled."""
    return max(count // 2, count - UNSETTLED)


def _newest(db: sqlite3.Connection, asked: _Asked) -> _Found | None:
    """The newest known line of the chat that most of the request's lines are from."""
    marks, words, rows = asked.marks, set(asked.words), defaultdict(list)
    query = f"SELECT mark, id, chat FROM lines WHERE mark IN ({_places(marks)}) ORDER BY id DESC"
    for mark, row, chat in db.execute(query, marks):
        rows[mark].append((row, chat))
    passed: set[int] = set()  # what a newer line follows on is no newest line
    fitting: list[tuple[int, _Found]] = []
    for place in range(len(marks) - 1, -1, -1):
        for row, chat in rows[marks[place]][:TWINS]:
            if row in passed:
                continue
            path = _path(db, row)
            passed.update(row for row, _ in path)
            same = [said in words for _, said in path]
            compared = min(COMPARED, place + 1, len(path))
            if 4 * sum(same[:compared]) >= compared:
                fitting.append((sum(same), _Found(place, chat, [row for row, _ in path])))
    if not fitting:
        return None
    most, best = max(fitting, key=lambda fit: (fit[0], fit[1].path[0]))
    rivals = (found for same, found in fitting if 2 * same >= most and found.place >= best.place)
    # Of two chats that both say what was said last, neither is meant for sure.
    return best if all(found.chat == best.chat for found in rivals) else None


def _path(db: sqlite3.Connection, row: int) -> list[tuple[int, bytes]]:
    """A line and those that it follows on, the nearest first: their rows and words."""
    return db.execute(_BEFORE, (row, REACH)).fetchall()


_BEFORE = """
WITH RECURSIVE path (id, words, parent, depth) AS (
    SELECT id, words, parent, 1 FROM lines WHERE id = ?
    UNION ALL
    SELECT lines.id, lines.words, lines.parent, depth + 1
    FROM path JOIN lines ON lines.id = path.parent WHERE depth < ?)
SELECT id, words FROM path ORDER BY depth
"""


def _opened(
    db: sqlite3.Connection, asked: _Asked, found: _Found | None
) -> tuple[bytes, int | None]:
    """The chat that the request goes on with, and the newest line that has settled in it: one that
    the request goes on from, or none."""
    for chat in _candidates(asked, found):
        row = db.execute("SELECT settled FROM chats WHERE chat = ?", (chat,)).fetchone()
        settled: int | None = row and row[0]
        if settled is None or (found and settled in found.path):
            break  # else it is taken
    return chat, settled


def _candidates(asked: _Asked, found: _Found | None) -> Iterator[bytes]:
    """The chats that a request may go on with, the likeliest first; without an end."""
    assert asked.derived
    shift = asked.length - len(asked.marks)
    if found and shift + found.place + 1 >= asked.first:  # else only the beginning is the same
        yield found.chat
    chat, turn = asked.derived, asked.marks[found.place] if found else b""
    while True:
        yield chat
        chat = _bytes(chat.hex(), turn.hex())


def _asked(user_id: str, character: str, lines: Sequence[tuple[str, str]]) -> _Asked:
    """What a request is known by."""
    owner = _bytes(user_id, " ".join(nfc(character).casefold().split()))
    said = [(role, text) for role, text in lines if role != "system" and _SAID.search(text)]
    users = [row for row, (role, _) in enumerate(said) if role == "user"]
    replies = (row for row, (role, _) in enumerate(said) if users and role != "user")
    first = next((row for row in replies if row > users[0]), None)
    derived = None
    if first is not None:
        beginning = [part for line in said[: first + 1] for part in _parts(_line(line))]
        derived = _bytes(owner.hex(), *beginning)
    start = max(0, len(said) - LOOKED_AT - WINDOW_MOST)
    near = [_line(line) for line in said[start:]]
    digests = [_bytes(*_parts(line)) for line in near]
    marks = [
        _mark(owner, near, digests, row, whole=start == 0)
        for row in range(max(0, len(near) - LOOKED_AT), len(near))
    ]
    words = [_words_of(line) for line in near[-len(marks) :]]
    return _Asked(_bytes(user_id), derived, (first or 0) + 1, len(said), words, marks)


def _mark(
    owner: bytes, lines: Sequence[_Line], digests: Sequence[bytes], row: int, *, whole: bool
) -> bytes:
    """What a line is found by: itself and those before it, and whether there are no more."""
    text, replies, taken = 0, False, 0
    for line in reversed(lines[max(0, row + 1 - WINDOW_MOST) : row + 1]):
        text, replies, taken = text + len(line.text), replies or line.replies, taken + 1
        if taken >= WINDOW_LINES and text >= WINDOW_TEXT and replies:
            break
    else:
        if whole and taken == row + 1:
            return _bytes(owner.hex(), "first", b"".join(digests[: row + 1]).hex())
    return _bytes(owner.hex(), b"".join(digests[row + 1 - taken : row + 1]).hex())


def _line(line: tuple[str, str]) -> _Line:
    return _Line(line[0] != "user", _plain(line[1]))


def _parts(line: _Line) -> tuple[str, str]:
    return "reply" if line.replies else "user", line.text


def _words_of(line: _Line) -> bytes:
    """A line by how it begins: some clients send the endings of the newest lines only."""
    replies, text = _parts(line)
    return _bytes(replies, text[:BEGINNING])[:8]


def _plain(text: str) -> str:
    """The text without what clients change: markup, white space, the form of its letters."""
    return " ".join(nfc(text).translate(_MARKUP).split())


def _narration(text: str, user_id: str) -> list[bytes]:
    """What a narration is known by: all of it, then how it begins; nothing of an empty one."""
    plain = _plain(text)
    whole = [_bytes(user_id, "whole", plain)] if plain else []
    long = len(plain) >= BEGINNING
    return [*whole, _bytes(user_id, "beginning", plain[:BEGINNING])] if long else whole


def _chat_of(session_id: str) -> bytes | None:
    """The digest in an id that was made here."""
    found = _CHAT.fullmatch(session_id)
    return bytes.fromhex(found[1]) if found else None


def _bytes(*parts: str) -> bytes:
    """A digest of 16 bytes."""
    return bytes.fromhex(digest(*parts)[:32])


def _places(values: Sequence[bytes]) -> str:
    return ", ".join("?" * len(values))
