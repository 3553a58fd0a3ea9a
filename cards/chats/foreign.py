"""The forms in which chats are written: as JSON, as lines of JSON, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from cards.chats import rows, sillytavern
from cards.chats.chat import Chat
from cards.chats.lines import MAX_LINES, Line, Names, gather
from cards.chats.programs import PROGRAMS, form, is_webui_of_all, listed, names_in, under
from cards.chats.rows import rows_in
from cards.chats.sheet import columns_of, read_sheet
from cards.chats.times import sent_at
from cards.chats.transcript import read_transcript
from cards.forms import Document, Form, form_of, keys_in
from schemas.errors import BadRequest

MAX_CHATS = 1_000
"""Chats in lines of JSON among which the newest is looked for; what holds more is a data set."""

TRIED = 5
"""Chats of a file with several that are tried, the newest first: programs keep empty ones."""


# What any program may write: a list of messages, the lines of SillyTavern, several chats.


def _log_rows(value: Any) -> Sequence[Any] | None:
    """The lines of SillyTavern in a list."""
    found = value if isinstance(value, list) else rows_in(value)
    first = [row for row in (found or [])[: rows.LOOKED_AT] if isinstance(row, Mapping)]
    return found if any("mes" in row for row in first) else None


def _is_log(value: Any) -> bool:
    return _log_rows(value) is not None and form_of(value, PROGRAMS) is None


def _read_log(document: Document) -> Chat:
    return sillytavern.read_rows(_log_rows(document.value) or [], document)


def _is_plain(value: Any) -> bool:
    return (
        rows_in(value) is not None
        and not _is_log(value)
        and form_of(value, PROGRAMS) is None
        and not _chats_in(value)
    )


def _plain(value: Any) -> Iterator[Line]:
    for number, row in enumerate(rows_in(value) or [], 1):
        yield rows.line_of(row, number)


def _is_texts(value: Any) -> bool:
    """A list of `Name: words`."""
    held = value if isinstance(value, list) else listed(value, "chat")
    return bool(held) and all(isinstance(text, str) and ":" in text[:80] for text in held)


def _read_texts(document: Document) -> Chat:
    value = document.value
    held = value if isinstance(value, list) else listed(value, "chat")
    names = Names(user=document.user, character=document.character, **names_in(value))
    return read_transcript("\n".join(held), names, "chat")


_ONE: tuple[Form[Chat], ...] = (
    *PROGRAMS,
    Form("chat of SillyTavern", _is_log, _read_log),
    form("chat", _is_plain, _plain),
    Form("chat in lines of text", _is_texts, _read_texts),
)

_SEVERAL = ("chats", "conversations", "histories", "data", "sessions", "threads", "history")
_CHANGED = (
    *("update_time", "updated_at", "updatedAt", "last_interaction", "lastDate", "modified"),
    *("create_time", "created_at", "createdAt", "created", "timestamp"),
)


def _chats_in(value: Any) -> list[Any]:
    """The chats of a file that holds several, each of a form of its own."""
    if isinstance(value, Mapping):
        if is_webui_of_all(value):
            names = {key: key for key in value if key != "history"}
            return [{"name2": names.get(key), **held} for key, held in value.items()]
        for key in _SEVERAL:
            held = under(value, key)
            if isinstance(held, Mapping):  # CAI Tools, Telegram
                held = held.get(key) or held.get("list")
            if isinstance(held, list) and (chats := _chats_in(held)):
                return chats
        return []
    if not isinstance(value, list):
        return []
    first = [row for row in value[:TRIED] if isinstance(row, Mapping)]
    programs = any(form_of(row, PROGRAMS) for row in first)
    return value if programs or any(_holds_rows(row) for row in first) else []


def _holds_rows(value: Mapping[str, Any]) -> bool:
    """Whether an object is a chat, and no message: it holds a list of messages."""
    return rows_in(value) is not None and rows.role_of(value) is None


def _newest_first(chats: Sequence[Any]) -> list[int]:
    """The places of the chats; as they stand, where not all say when they were changed."""
    whens = [next((w for key in _CHANGED if (w := sent_at(under(it, key)))), None) for it in chats]
    known = [when for when in whens if when is not None]
    places = range(len(chats))
    if len(known) < len(chats):
        return [*places]
    return sorted(places, key=known.__getitem__, reverse=True)


def _read_several(document: Document, count: int = 0) -> Chat:
    """The newest chat of a file that holds several, or the first, and which it is.

    Args:
        count: how many the file holds, if more than the document.
    """
    chats = _chats_in(document.value)
    tried = _newest_first(chats)
    refused: BadRequest | None = None
    for place in tried[:TRIED]:
        found = form_of(chats[place], _ONE)
        if found is None:
            continue
        try:
            chat = found.read(replace(document, value=chats[place]))
        except BadRequest as error:
            refused = refused or error
            continue
        if (of := max(count, len(chats))) == 1:
            return chat
        told = f"read chat {place + 1:,} of {of:,}; the others are left out"
        return replace(chat, warnings=(*chat.warnings, told))
    raise refused or BadRequest("holds no messages")


def _is_several(value: Any) -> bool:
    return bool(_chats_in(value)) and form_of(value, PROGRAMS) is None and not _is_log(value)


FORMS: tuple[Form[Chat], ...] = (*_ONE, Form("several chats", _is_several, _read_several))


def read_lines(text: str, *, user: str | None, character: str | None) -> Chat | None:
    """The chat in lines of JSON; None if the text is no such lines, but one document.

    Raises:
        BadRequest: the lines are no chat, or not half of them can be read.
    """
    document = Document(value=None, user=user, character=character)
    lines = _first_lines(text)
    if not lines:
        return None
    objects = [row for row in map(sillytavern.object_of, lines) if row is not None]
    if len(lines) == 1:
        if objects and ("mes" in objects[0] or "chat_metadata" in objects[0]):
            return sillytavern.read_log(text, document)
        alone = rows_in(objects) and "content" in objects[0] and rows.role_of(objects[0])
        return _read_rows(text, document) if alone else None
    if not objects or (sillytavern.object_of(lines[0]) is None and not _is_damaged_log(lines)):
        return None
    if any(sillytavern.is_row(row) and rows_in(row) is None for row in objects):
        return sillytavern.read_log(text, document)
    if _chats_in(objects):
        count = text.rstrip().count("\n") + 1
        if count <= MAX_CHATS:
            objects = [row for line in text.split("\n") if (row := sillytavern.object_of(line))]
        return _read_several(replace(document, value=objects), count)
    if rows_in(objects):
        return _read_rows(text, document)
    raise BadRequest(f"is no chat in a form that is known here; its keys are {keys_in(objects)}")


def _read_rows(text: str, document: Document) -> Chat:
    """The chat in lines that each are a message."""
    count = text.count("\n") + 1
    found = ((n, line) for n, line in sillytavern.lines_from_the_end(text) if line.strip())
    said = (rows.line_of(sillytavern.object_of(line), n) for n, line in islice(found, MAX_LINES))
    names = Names(user=document.user, character=document.character)
    whole = count <= MAX_LINES
    return gather(said, names, form="chat", count=count, unit="lines", whole=whole)


def _first_lines(text: str) -> list[str]:
    """The first lines that are not empty."""
    head = text.lstrip()[: 4 * 1024 * 1024]
    return [line for line in head.split("\n", 10)[:10] if line.strip()]


def _is_damaged_log(lines: Sequence[str]) -> bool:
    """Whether lines after a damaged first one are those of a log, and no part of a document."""
    return (
        lines[0].lstrip().startswith("{")
        and len(lines[0]) > 2
        and any(
            (row := sillytavern.object_of(line)) is not None and sillytavern.is_row(row)
            for line in lines[1:]
        )
    )


def read_text(text: str, *, user: str | None, character: str | None) -> Chat:
    """The chat in a plain text, or in a table.

    Raises:
        BadRequest: it is none.
    """
    if found := columns_of(text):
        return read_sheet(text, *found, Names(user=user, character=character))
    return read_transcript(text, Names(user=user, character=character))
