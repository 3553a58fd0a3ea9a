"""Chat logs of SillyTavern: a header, then one message a line; and Chub's, which hold objects.

A message counts as it stands: of its swipes, the chosen one. Hidden lines (`is_system`) are left
out; narrator lines have no name. The log itself is kept beside, to be written back as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from cards.chats.chat import Chat
from cards.chats.lines import MAX_LINES, Line, Names, gather
from cards.files import object_in, parse_json
from cards.forms import Document
from replies.tags import NARRATOR
from schemas.errors import BadRequest
from schemas.request import Role

OWN = "iyagi"
"""Where in a line's `extra` stands what JSONL has no place for: role, id, embedding_id."""

_HEADER = ("user_name", "character_name", "chat_metadata")
_UNUSED = ("unused", "")
"""What newer logs write for the names in their header."""


_MEDIA = ("image", "images", "media", "image_swipes", "inline_image")
"""Where a line keeps pictures; it may have no words beside them."""


def is_row(value: Any) -> bool:
    """Whether a value is a line of a log, or its header."""
    return isinstance(value, Mapping) and (
        "mes" in value
        or ("swipes" in value and "is_user" in value)
        or ("role" not in value and any(key in value for key in _HEADER))
    )


def read_rows(rows: Sequence[Any], document: Document) -> Chat:
    """The chat in a list of the lines of a log."""
    numbered = reversed(list(enumerate(rows, 1)))
    head = rows[0] if rows and isinstance(rows[0], Mapping) else {}
    objects = [row for row in rows if isinstance(row, Mapping)]
    return _read(numbered, head, objects, len(rows), document, "")


def read_log(text: str, document: Document) -> Chat:
    """The chat in a log of lines; a damaged one costs no more than itself."""
    count = text.count("\n") + 1
    first = object_of(text[: text.find("\n")] if "\n" in text else text) or {}
    rows = ((number, object_of(line)) for number, line in lines_from_the_end(text) if line.strip())
    read = islice(rows, MAX_LINES)
    return _read(read, first, text, count, document, "lines", whole=count <= MAX_LINES)


def _read(
    rows: Iterable[tuple[int, Any]],
    head: Mapping[str, Any],
    log: str | Sequence[Mapping[str, Any]],
    count: int,
    document: Document,
    unit: str,
    *,
    whole: bool = True,
) -> Chat:
    chub = False

    def lines() -> Iterator[Line]:
        nonlocal chub
        for number, row in rows:
            if isinstance(row, Mapping) and _is_header(row, number):
                continue
            line = line_of(row, number)
            chub = chub or isinstance(line.text, Mapping)
            yield line

    names = Names(
        user=document.user,
        character=document.character,
        of_user=_name(head, "user_name"),
        of_character=_name(head, "character_name"),
    )
    chat = gather(lines(), names, form="chat of SillyTavern", count=count, unit=unit, whole=whole)
    metadata = ("the chat's metadata",) if head.get("chat_metadata") else ()
    return replace(
        chat,
        form="chat of Chub" if chub else chat.form,
        log=log,
        beside=(*chat.beside, *metadata),
    )


def _is_header(row: Mapping[str, Any], number: int) -> bool:
    """Whether an object of a log is its header, and no message."""
    if "mes" in row or "swipes" in row:
        return False
    return any(key in row for key in _HEADER) or (number == 1 and "name" not in row)


def _name(head: Mapping[str, Any], key: str) -> str | None:
    name = head.get(key)
    return name if isinstance(name, str) and name not in _UNUSED else None


def _yes(row: Mapping[str, Any], key: str) -> bool:
    """Whether a flag is set; tools that know texts alone write `false`."""
    value = row.get(key)
    return value.strip().lower() in ("true", "1") if isinstance(value, str) else bool(value)


def line_of(row: Any, number: int = 0) -> Line:
    """A line of a log; damaged if it is no object."""
    if not isinstance(row, Mapping):
        return Line(number=number)
    extra = object_in(row, "extra")
    own = object_in(extra, OWN)
    role: Role = "user" if _yes(row, "is_user") else "character"
    name = row.get("name")
    if role == "character" and extra.get("type") == NARRATOR:
        role, name = "narrator", own.get("name")
    if own.get("role") == "system":
        role = "system"
    if own.get("named") is False:
        name = None
    swipes, chosen = row.get("swipes"), row.get("swipe_id")
    versions = swipes if isinstance(swipes, list) else []
    at = chosen if isinstance(chosen, int) and 0 <= chosen < len(versions) else 0
    text = row.get("mes")
    if text is None and versions:
        text = versions[at]
    if text == "" and any(extra.get(key) for key in _MEDIA):
        text = "[picture]"
    return Line(
        row=row,
        text=text,
        role=role,
        name=name,
        sent=row.get("send_date"),
        id=own.get("id"),
        embedding_id=own.get("embedding_id"),
        swipes=versions,
        chosen=at,
        skipped="hidden" if _yes(row, "is_system") else "",
        number=number,
        others=[key for key, value in row.items() if value and key not in _READ]
        + [f"extra.{key}" for key in extra if key not in (OWN, "type")],
    )


_READ = frozenset(("mes", "is_user", "is_system", "name", "send_date", "extra"))
_READ |= {"swipes", "swipe_id", "swipe_info"}


def object_of(line: str) -> dict[str, Any] | None:
    """The object that a line of JSON is; None if it is none."""
    try:
        value = parse_json(line.encode("utf-8", "replace"))
    except BadRequest:
        return None
    return value if isinstance(value, dict) else None


def lines_from_the_end(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers from 1 on, the last first. JSON may hold other line
    ends."""
    number, end = text.count("\n") + 1, len(text)
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        yield number, text[start:end]
        number, end = number - 1, start - 1
