"""Chats in tables: CSV as KakaoTalk for Mac and spreadsheets write it, under names of columns."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence

from cards.chats.chat import Chat
from cards.chats.lines import MAX_LINES, ROLES, TOOLS, Line, Names, gather
from replies.tags import fold
from schemas.errors import BadRequest

_TEXTS = (
    *("message", "messages", "text", "content", "body", "mes", "line", "utterance", "dialogue"),
    *("내용", "메시지", "대화", "대화 내용", "대사", "본문"),
)
_NAMES = (
    *("user", "name", "speaker", "sender", "from", "author", "role", "character", "username"),
    *("이름", "보낸 사람", "보낸사람", "사용자", "화자", "작성자", "대화명", "닉네임", "역할"),
)
_TIMES = (
    *("date", "time", "timestamp", "datetime", "sent", "created_at", "send_date"),
    *("날짜", "시간", "일시", "보낸 시간", "날짜/시간"),
)
_DELIMITERS = (",", ";", "\t")

MAX_COLUMNS = 40
"""Columns of a table that may be a chat."""


def columns_of(text: str) -> tuple[str, list[str]] | None:
    """What separates the columns of a table, and their folded names; None if a text is none that
    has a column of words and one of names."""
    head = text[:4_000].partition("\n")[0].rstrip("\r")
    for delimiter in _DELIMITERS:
        names = [fold(cell.strip().strip('"')) for cell in head.split(delimiter)]
        words, speakers = _place(names, _TEXTS), _place(names, _NAMES)
        if len(names) <= MAX_COLUMNS and words is not None and speakers is not None:
            return delimiter, names
    return None


def read_sheet(text: str, delimiter: str, columns: Sequence[str], names: Names) -> Chat:
    """The chat in a table.

    Args:
        delimiter: what separates its columns.
        columns: their folded names.
        names: who is who.

    Raises:
        BadRequest: its quotes are damaged, it is empty, or nobody can know who the user is.
    """
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    count, kept = 0, deque[Sequence[str]](maxlen=MAX_LINES)
    try:
        next(table)
        for row in table:
            if any(cell.strip() for cell in row):
                kept.append(row)
                count += 1
    except csv.Error:
        raise BadRequest(
            f"is a damaged table at line {table.line_num:,}; save it anew as CSV"
        ) from None
    said = list(_lines(kept, delimiter, columns, count))
    return gather(
        said[::-1], names, form="chat in a table", count=count, unit="lines",
        whole=count <= MAX_LINES, in_turn=True,
    )  # fmt: skip


def _lines(
    rows: Sequence[Sequence[str]], delimiter: str, columns: Sequence[str], count: int
) -> Iterator[Line]:
    places = [_place(columns, known) for known in (_TEXTS, _NAMES, _TIMES)]
    others = [at for at, name in enumerate(columns) if at not in places and name]
    last = len(columns) - 1
    for number, row in enumerate(rows, count - len(rows) + 2):
        if len(row) > len(columns):
            if places[0] != last:  # nobody can know which of its cells the words are
                yield Line(number=number)
                continue
            row = [*row[:last], delimiter.join(row[last:])]  # words whose commas have no quotes
        text, name, sent = (None if at is None or at >= len(row) else row[at] for at in places)
        word = fold(name or "")
        yield Line(
            row=dict(zip(columns, row, strict=False)),
            text=text,
            role=ROLES.get(word),
            name=None if word in ROLES else name,
            sent=sent,
            skipped="tool" if word in TOOLS else "",
            number=number,
            others=[columns[at] for at in others if at < len(row) and row[at].strip()],
        )


def _place(columns: Sequence[str], known: Sequence[str]) -> int | None:
    """The first column of one of the names, in their order."""
    return next((columns.index(name) for name in known if name in columns), None)
