"""Chat logs as the history of a request: SillyTavern JSONL and plain JSON; and back to JSONL.

A message counts as it stands: of its swipes, the chosen one. Hidden lines (`is_system`) are left
out; narrator lines have no name. `cards.chats.transcript` reads plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, get_args

from pydantic import ValidationError

from cards.chats.transcript import parse_transcript
from cards.files import decode, object_in, one_line, parse_json, whole
from schemas.base import embedding_id
from schemas.errors import BadRequest
from schemas.request import MAX_HISTORY, MAX_IMPORT, Message, Role

MAX_LINES = 200_000
"""Lines of a log that are looked at, the newest: 20 for each message of a request."""

NARRATOR = "narrator"
OWN = "iyagi"
"""Where in a line's `extra` stands what JSONL has no place for: role, id, embedding_id."""

_ROLES = {
    **{role: role for role in get_args(Role)},
    **{"assistant": "character", "model": "character", "bot": "character", "char": "character"},
    "human": "user",
}
_ELEMENTS = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})[ @T]*"
    r"(?P<hour>\d{1,2})h ?(?P<minute>\d{1,2})m ?(?P<second>\d{1,2})s(?: ?(?P<ms>\d{1,3})ms)?"
)
_WORDED = ("%B %d, %Y %I:%M%p", "%B %d, %Y %I:%M %p", "%B %d, %Y")


def parse_chat(
    content: bytes,
    *,
    user: str | None = None,
    character: str | None = None,
    notes: list[str] | None = None,
) -> list[Message]:
    """The messages of a chat log, oldest first, whichever of the three forms it has; of a long one
    the newest, as many as a request can hold.

    Args:
        user: the user's name, where the log does not say whose line it is.
        character: the character's, likewise.
        notes: what was left out is told here.

    Raises:
        BadRequest: it is no chat, or a line is damaged; says which.
    """
    text = decode(content).strip()
    if not text:
        return []
    first = _object(text.split("\n", 1)[0])
    if first is not None and ("mes" in first or "user_name" in first or "chat_metadata" in first):
        return parse_jsonl(text, notes)
    if text[0] in "[{":
        return parse_messages(parse_json(content), user=user, notes=notes)
    end = _end_of(text)
    messages = parse_transcript(end, user=user, character=character)
    lines = text.count("\n") + 1
    return _newest(reversed(messages), f"{lines:,} lines", notes, all=len(end) == len(text))


def parse_jsonl(text: str, notes: list[str] | None = None) -> list[Message]:
    """The messages of a SillyTavern log: a header, then one message a line."""
    lines = text.count("\n") + 1

    def read() -> Iterator[Message | None]:
        for number, line in islice(_lines_from_the_end(text), MAX_LINES):
            if not line.strip():
                continue
            data = _object(line)
            if data is None:
                raise BadRequest("is damaged: it is no JSON object", field=f"line {number}")
            if number > 1 or "mes" in data or "swipes" in data:
                yield _line(data, number)

    return _newest(read(), f"{lines:,} lines", notes, all=lines <= MAX_LINES)


def parse_messages(
    value: Any, *, user: str | None = None, notes: list[str] | None = None
) -> list[Message]:
    """The messages of plain JSON: a list of `{role, content}`, also inside `messages` or `history`.

    `role` may be that of a chat API (`assistant`); without one, the name says who the user is.
    """
    if isinstance(value, dict):
        value = next((value[key] for key in ("messages", "history") if key in value), None)
    if not isinstance(value, list):
        raise BadRequest("is no chat; it should hold a list of messages")
    rows: list[Any] = value

    def read(row: int) -> Message | None:
        item = rows[row]
        if not isinstance(item, dict):
            raise BadRequest("should be an object with `role` and `content`", field=f"{row}")
        return _line(item, row) if "mes" in item else _plain(item, row, user)

    return _newest(map(read, reversed(range(len(rows)))), f"{len(rows):,}", notes)


def _newest(
    messages: Iterable[Message | None], of: str, notes: list[str] | None, *, all: bool = True
) -> list[Message]:
    """As many of the messages, which come newest first, as a request can hold, oldest first.

    Args:
        messages: None for what is no message.
        of: what they are taken from, to be told.
        notes: where it is told if some are left out.
        all: whether they are all that there are.
    """
    kept: list[Message] = []
    size = 0
    for message in filter(None, messages):
        size += len(message.model_dump_json(exclude_none=True).encode())
        if len(kept) == MAX_HISTORY or size > MAX_IMPORT:
            all = False
            break
        kept.append(message)
    if not all and notes is not None:
        notes.append(f"kept the newest {len(kept):,} messages of {of}: a request holds no more")
    return kept[::-1]


def _end_of(text: str) -> str:
    """The whole lines at the end of a text that may be of a request."""
    if len(text) > MAX_IMPORT:
        text = text[-MAX_IMPORT:].partition("\n")[2]
    lines = text.rsplit("\n", MAX_LINES)
    return "\n".join(lines[1:]) if len(lines) > MAX_LINES else text


def _lines_from_the_end(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers from 1 on, the last first. JSON may hold other line
    ends."""
    number, end = text.count("\n") + 1, len(text)
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        yield number, text[start:end]
        number, end = number - 1, start - 1


def to_jsonl(messages: Sequence[Message], *, user: str, character: str) -> str:
    """A SillyTavern log of the messages; `parse_jsonl` reads it back as they were."""
    header: dict[str, Any] = {
        "user_name": user,
        "character_name": character,
        "create_date": _date(messages[0].timestamp) if messages else "",
        "chat_metadata": {},
    }
    names = {"user": user, "character": character, NARRATOR: "Narrator", "system": "System"}
    lines = [header]
    for message in messages:
        narrated = message.role in (NARRATOR, "system")
        own = {
            "role": message.role if message.role == "system" else None,
            "id": message.id,
            "embedding_id": message.embedding_id,
            "named": None if message.name or narrated else False,
            "name": message.name if narrated else None,
        }
        saved = {key: value for key, value in own.items() if value is not None}
        extra = {"type": NARRATOR} if narrated else {}
        lines.append(
            {
                "name": message.name or names[message.role],
                "is_user": message.role == "user",
                "is_system": False,
                "send_date": _date(message.timestamp),
                "mes": message.content,
                "extra": {**extra, **({OWN: saved} if saved else {})},
            }
        )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = parse_json(line.encode("utf-8", "replace"))
    except BadRequest:
        return None
    return value if isinstance(value, dict) else None


def _line(data: Mapping[str, Any], number: int) -> Message | None:
    """A line of a log; None if it is hidden or empty."""
    content = _chosen(data)
    if data.get("is_system") or not content:
        return None
    extra = object_in(data, "extra")
    own = object_in(extra, OWN)
    role = "user" if data.get("is_user") else "character"
    name = data.get("name")
    if role == "character" and extra.get("type") == NARRATOR:
        role, name = NARRATOR, own.get("name")
    if own.get("role") == "system":
        role = "system"
    if own.get("named") is False:
        name = None
    return _message(
        {
            "role": role,
            "content": content,
            "name": name,
            "id": own.get("id"),
            "timestamp": sent_at(data.get("send_date")),
            "embedding_id": own.get("embedding_id"),
        },
        f"line {number}",
    )


def _chosen(data: Mapping[str, Any]) -> str:
    """The message's text; where it is missing, the swipe that was chosen."""
    swipes, row = data.get("swipes"), data.get("swipe_id")
    text = data.get("mes")
    if not isinstance(text, str) and isinstance(swipes, list) and isinstance(row, int):
        text = swipes[row] if 0 <= row < len(swipes) else None
    return text if isinstance(text, str) else ""


def _plain(item: Mapping[str, Any], row: int, user: str | None) -> Message | None:
    content = next((item[key] for key in ("content", "text", "message") if key in item), "")
    if not content:
        return None
    name = item.get("name", item.get("speaker"))
    role = item.get("role")
    if role is None and isinstance(name, str):
        role = "user" if user and name.casefold() == user.casefold() else "character"
    known = {key: item.get(key) for key in ("id", "embedding_id", "timestamp")}
    when = known["timestamp"]
    return _message(
        {
            **known,
            "role": _ROLES.get(str(role).lower(), role),
            "content": content,
            "name": name,
            "timestamp": sent_at(when) if isinstance(when, int | float) else when,
        },
        f"{row}",
    )


def _message(data: dict[str, Any], place: str) -> Message:
    """Raises BadRequest: the message has no place in a request; says where it stands."""
    if isinstance(data["name"], str):
        data["name"] = one_line(data["name"]) or None
    if isinstance(data["content"], str):
        data["content"] = whole(data["content"])
        if data["embedding_id"] != embedding_id(data["content"]):
            data["embedding_id"] = None  # of what the line said before somebody edited it
    try:
        return Message.model_validate(data)
    except ValidationError as error:
        wrong = BadRequest.from_validation(error, Message)
        raise BadRequest(wrong.message, field=place) from None


def _date(when: datetime | None) -> str:
    return when.isoformat() if when else ""


def sent_at(sent: object) -> datetime | None:
    """The time of a message; logs seldom name a zone, so it is taken for UTC."""
    try:
        if isinstance(sent, int | float) and not isinstance(sent, bool):
            return datetime.fromtimestamp(sent / 1000 if sent > 10**11 else sent, UTC)
        if not isinstance(sent, str):
            return None
        if parts := _ELEMENTS.fullmatch(sent.strip()):
            numbers = {key: int(value or 0) for key, value in parts.groupdict().items()}
            ms = numbers.pop("ms")
            return datetime(**numbers, microsecond=1000 * ms, tzinfo=UTC)
        return _worded(sent.strip())
    except (ValueError, OverflowError, OSError):
        return None


def _worded(sent: str) -> datetime | None:
    if sent.isdigit():
        return sent_at(int(sent))
    for form in _WORDED:
        try:
            return datetime.strptime(sent, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    when = datetime.fromisoformat(sent)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
