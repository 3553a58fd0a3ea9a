"""A message as an object of JSON: what programs call its text, its speaker and its time.

Programs differ in words more than in shape, so one reader knows the words of all; a form of its own
(`cards.chats.foreign`) has only what is written otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cards.chats.lines import ROLES, TOOLS, Line
from schemas.request import Role

TEXTS = ("content", "text", "message", "msg", "mes", "value", "parts", "body", "utterance")
_ROLES = ("role", "from", "sender", "author", "speaker", "type", "src", "user_type", "sender_type")
_NAMES = (
    *("name", "speaker", "handle", "character", "character_name", "speaker_name", "author_name"),
    *("sender_name", "senderName", "username", "user_name", "display_name", "displayName", "from"),
    *("sender", "author", "src"),
)
_OF_USER = ("is_user", "isUser", "is_human", "isHuman", "from_user", "fromUser", "isCreatedByUser")
_OF_BOT = ("is_bot", "isBot", "is_ai", "isAI", "isAi", "from_bot", "fromBot")
_NO_NAMES = ROLES.keys() | TOOLS
_TIMES = (
    *("timestamp", "send_date", "created_at", "createdAt", "create_time", "createTime"),
    *("sent_at", "sentAt", "created", "date", "time", "ts", "datetime"),
)
_IDS = ("id", "_id", "uuid", "messageId", "message_id")
_LORE = ("key", "keys", "keywords", "entry", "insertion_order", "insertionOrder", "order")
"""Keys of entries of a lorebook, or of a story, which have no role."""

_PLAIN = ("content", "text", "message", "msg", "mes")
"""What is a text even where a name alone says that it is a message."""

_TYPES = ("human", "user", "ai", "assistant", "bot")
"""What `type` says of who speaks; it says other things, too."""

_READ = frozenset((*TEXTS, *_ROLES, *_NAMES, *_OF_USER, *_OF_BOT, *_TIMES, *_IDS))
_READ |= {"embedding_id", "is_system", "data", "is_main"}
_EMPTY: tuple[Any, ...] = (None, "", [], {}, False)

LOOKED_AT = 20
"""Rows of a list that tell what it is."""

WRAPPERS = (
    *("messages", "history", "chatMessages", "chat_messages", "contents", "conversation"),
    *("conversations", "dialogue", "dialog", "msgs", "items", "chat", "chats", "log", "lines"),
    *("input", "transcript", "data", "turns", "chat_history", "chatHistory"),
)
"""Keys under which programs keep the list of messages."""


def rows_in(value: Any) -> Sequence[Any] | None:
    """The list of messages that a value is, or holds under one of its keys."""
    if isinstance(value, list):
        return value if _are_rows(value) else None
    if isinstance(value, Mapping):
        for key in WRAPPERS:
            held = value.get(key)
            if isinstance(held, Mapping) and key in ("chat", "data", "conversation", "history"):
                held = rows_in(held)
            if isinstance(held, list) and _are_rows(held):
                return held
    return None


def _are_rows(rows: Sequence[Any]) -> bool:
    """Whether some of the first rows look like messages, and none like an entry of lore."""
    first = [row for row in rows[:LOOKED_AT] if isinstance(row, Mapping)]
    return any(map(_is_row, first)) and not any(map(_is_lore, first))


def _is_lore(row: Mapping[str, Any]) -> bool:
    return any(key in row for key in _LORE) and role_of(row) is None


def _is_row(row: Mapping[str, Any]) -> bool:
    """Whether it has a text, or a speaker as messages have it."""
    if role_of(row) is not None or str(row.get("role")) in TOOLS:
        return True
    words = any(isinstance(row.get(key), str | list | Mapping) for key in _PLAIN)
    return words and name_of(row) is not None


def line_of(row: Any, number: int = 0) -> Line:
    """A row as a line; damaged if it is no object."""
    if not isinstance(row, Mapping):
        return Line(number=number)
    role = role_of(row)
    spoken = row.get("role", row.get("from", row.get("type")))
    tool = role is None and isinstance(spoken, str) and spoken.lower() in TOOLS
    calls = row.get("content") is None and ("tool_calls" in row or "function_call" in row)
    inner = row.get("data")  # LangChain
    text = _first(row, TEXTS)
    return Line(
        row=row,
        text=inner if text is None and isinstance(inner, Mapping) else text,
        role=role,
        name=name_of(row),
        sent=_first(row, _TIMES),
        id=_first(row, _IDS),
        embedding_id=row.get("embedding_id"),
        skipped="tool" if tool or calls else "hidden" if row.get("is_system") is True else "",
        number=number,
        others=[key for key, value in row.items() if key not in _READ and value not in _EMPTY],
    )


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The first value under the keys that says something; else one that is there; else None."""
    held = [row[key] for key in keys if row.get(key) is not None]
    return next((value for value in held if value not in ("", [], {})), held[0] if held else None)


def role_of(row: Mapping[str, Any]) -> Role | None:
    """Whose a row is, where it says so itself."""
    for key in _OF_USER:
        if isinstance(row.get(key), bool | int):
            return "user" if row[key] else "character"
    for key in _OF_BOT:
        if isinstance(row.get(key), bool | int):
            return "character" if row[key] else "user"
    for key in _ROLES:
        held = row.get(key)
        if isinstance(held, Mapping):
            if (role := role_of(held)) is not None:
                return role
        elif isinstance(held, str) and (key != "type" or held.lower() in _TYPES):
            role = ROLES.get(held.strip().lower())
            if role is not None:
                return role
    return None


def name_of(row: Mapping[str, Any]) -> str | None:
    """The name of who speaks; a role that is no word for one is a name, too."""
    for key in (*_NAMES, "role"):
        held = row.get(key)
        if isinstance(held, Mapping):
            held = next((held[k] for k in ("nickname", "name", "username") if held.get(k)), None)
        elif key in _ROLES and isinstance(held, str) and held.strip().lower() in _NO_NAMES:
            continue
        if isinstance(held, str) and held.strip():
            return held
    return None
