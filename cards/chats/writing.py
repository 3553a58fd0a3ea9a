"""Chats are written: as SillyTavern's lines, or as the messages of a request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from cards.chats.chat import Chat, Swipes
from cards.chats.sillytavern import OWN, line_of, object_of
from cards.chats.texts import text_of
from cards.files import whole
from replies.tags import NARRATOR, fold
from schemas.request import Message

_MESSAGES = TypeAdapter(list[Message])


class Written(NamedTuple):
    """A file's bytes, and what the format cannot keep."""

    content: bytes
    warnings: tuple[str, ...] = ()


def as_json(chat: Chat) -> Written:
    """The messages as a request has them, with a warning of what has no place there."""
    content = _MESSAGES.dump_json(chat.messages, indent=2, exclude_none=True)
    others = tuple(_others(chat))
    if not chat.beside:
        return Written(content, others)
    lost = " and ".join(filter(None, (", ".join(chat.beside[:-1]), chat.beside[-1])))
    told = f"{lost} cannot be kept in JSON; write .jsonl to keep them"
    return Written(content, (told, *others))


MAX_NAMED = 8
"""Fields that are named as lost."""


def _others(chat: Chat) -> Iterator[str]:
    """That fields of its lines are lost, if some are."""
    if chat.others:
        named = ", ".join(f"`{name[:40]}`" for name in chat.others[:MAX_NAMED])
        more = len(chat.others) - MAX_NAMED
        yield f"other fields of its lines are left out: {named}" + f" and {more} more" * (more > 0)


def as_jsonl(chat: Chat, *, user: str | None = None, character: str | None = None) -> Written:
    """The chat as a log: one that came so is written line by line as it was, except where the
    names say otherwise.

    Args:
        user: the user's name, if not that of the chat; `character` the character's.
    """
    if chat.log is not None:
        given = {"user_name": user, "character_name": character}
        if chat.turned:
            given = {"user_name": user or chat.user, "character_name": character or chat.character}
        names = {key: name for key, name in given.items() if name}
        lines = list(_kept(chat.log, chat.turned, names))
        if lines and "mes" in (object_of(lines[0]) or {}):  # as files of other programs begin
            lines.insert(0, _dump(_header(chat, user, character)))
        end = "\n" * (not isinstance(chat.log, str) or chat.log.endswith("\n"))
        return Written(("\n".join(lines) + end).encode())
    head = _header(chat, user, character)
    return Written(_text(chat.messages, head, chat.swipes).encode(), tuple(_others(chat)))


def to_jsonl(messages: Sequence[Message], *, user: str, character: str) -> str:
    """A SillyTavern log of the messages, which is read back as they were."""
    return _text(messages, _header(Chat(messages=list(messages)), user, character), {})


def _header(chat: Chat, user: str | None, character: str | None) -> dict[str, Any]:
    first = chat.messages[0].timestamp if chat.messages else None
    return {
        "user_name": user or chat.user or "User",
        "character_name": character or chat.character or "Character",
        "create_date": _date(first),
        "chat_metadata": {},
    }


def _text(
    messages: Sequence[Message], header: Mapping[str, Any], swipes: Mapping[int, Swipes]
) -> str:
    names = {
        "user": header["user_name"],
        "character": header["character_name"],
        NARRATOR: "Narrator",
        "system": "System",
    }
    lines: list[Mapping[str, Any]] = [header]
    for place, message in enumerate(messages):
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
        versions = swipes.get(place)
        lines.append(
            {
                "name": message.name or names[message.role],
                "is_user": message.role == "user",
                "is_system": False,
                "send_date": _date(message.timestamp),
                "mes": message.content,
                "extra": {**extra, **({OWN: saved} if saved else {})},
                **({"swipes": versions.texts, "swipe_id": versions.chosen} if versions else {}),
            }
        )
    return "".join(f"{_dump(line)}\n" for line in lines)


def _kept(
    log: str | Sequence[Mapping[str, Any]], turned: str | None, names: Mapping[str, str]
) -> Iterator[str]:
    """The lines of a log as they were, without damaged ones."""
    for place, (line, row) in enumerate(_rows(log)):
        changed = _changed(row, turned)
        if place == 0 and "mes" not in row:
            changed = {**changed, **names}
        yield line if changed.items() <= row.items() else _dump({**row, **changed})


def _rows(log: str | Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Each line as text, and the object that it is."""
    if not isinstance(log, str):
        yield from ((_dump(row), row) for row in log)
        return
    start = 0
    while start <= len(log):
        end = log.find("\n", start)
        end = len(log) if end < 0 else end
        line = log[start:end]
        if (row := object_of(line)) is not None:
            yield line, row
        start = end + 1


def _changed(row: Mapping[str, Any], turned: str | None) -> dict[str, Any]:
    """What of a line is to be written otherwise: who speaks, and texts that stand in objects."""
    changed: dict[str, Any] = {}
    if isinstance(mes := row.get("mes"), Mapping) and (text := text_of(mes, Counter())) is not None:
        changed["mes"] = text
    if isinstance(swipes := row.get("swipes"), list):
        texts = [text_of(swipe, Counter()) for swipe in swipes]
        if None not in texts:
            changed["swipes"] = texts
    line = line_of(row)
    if turned and isinstance(line.name, str) and line.role in ("user", "character"):
        changed["is_user"] = fold(line.name) == turned
    return changed


def _dump(value: Mapping[str, Any]) -> str:
    return whole(json.dumps(value, ensure_ascii=False))


def _date(when: datetime | None) -> str:
    return when.isoformat() if when else ""
