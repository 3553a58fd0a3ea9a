"""Chats in tables: CSV as KakaoTalk for Mac and spreadsheets write it, under names of columns."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

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

MAX_CELLS = 100_000
"""Delimiters of one line; a long message has some thousands."""


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
    lines = _bounded(io.StringIO(text, newline=""), delimiter)
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    count, kept = 0, deque[Sequence[str] | None](maxlen=MAX_LINES)
    last = len(columns) - 1 == _place(columns, _TEXTS)
    try:
        next(table)
        for row in table:
            if any(cell.strip() for cell in row):
                kept.append(_fitted(row, len(columns), delimiter if last else None))
                count += 1
    except csv.Error:
        raise _damaged(table.line_num) from None
    return gather(
        _lines_from_the_end(kept, columns, count), names, form="chat in a table", count=count,
        unit="lines", whole=count <= MAX_LINES, in_turn=True,
    )  # fmt: skip


def _bounded(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """The lines, as long as a list of the cells of each is no burden."""
    for number, line in enumerate(lines, 1):
        if line.count(delimiter) > MAX_CELLS:
            raise _damaged(number)
        yield line


def _damaged(line: int) -> BadRequest:
    return BadRequest(f"is a damaged table at line {line:,}; save it anew as CSV")


def _fitted(row: Sequence[str], width: int, delimiter: str | None) -> Sequence[str] | None:
    """The cells of a row; of one that has too many, the surplus are words whose delimiters have no
    quotes if the words stand last (then `delimiter` is given), else nobody can know: None."""
    if len(row) <= width:
        return row
    return [*row[: width - 1], delimiter.join(row[width - 1 :])] if delimiter else None


def _lines_from_the_end(
    rows: Sequence[Sequence[str] | None], columns: Sequence[str], count: int
) -> Iterator[Line]:
    places = [_place(columns, known) for known in (_TEXTS, _NAMES, _TIMES)]
    others = [at for at, name in enumerate(columns) if at not in places and name]
    for number, row in zip(range(count + 1, 0, -1), reversed(rows), strict=False):
        if row is None:
            yield Line(number=number)
            continue
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
