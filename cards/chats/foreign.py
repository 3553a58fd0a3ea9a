"""The forms in which programs write chats: as JSON, as lines of JSON, as text."""

from __future__ import annotations

from typing import Any

from cards.chats.chat import Chat
from cards.chats.chatlog import parse_chat
from cards.forms import Document, Form
from schemas.errors import BadRequest

_ROWS = ("role", "content", "text", "message", "mes")


def _is_list(value: Any) -> bool:
    """A list of messages, also inside `messages` or `history`."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("messages", "history") if key in value), None)
    return isinstance(value, list) and any(
        isinstance(row, dict) and "order" not in row and any(key in row for key in _ROWS)
        for row in value[:3]
    )


def _read_list(document: Document) -> Chat:
    return _chat(document.content, document.user, document.character)


def read_lines(text: str, *, user: str | None, character: str | None) -> Chat | None:
    """The chat in lines of JSON; None if the text is no such lines, but one document."""
    first = text.partition("\n")[0]
    if not any(f'"{key}"' in first for key in ("mes", "user_name", "chat_metadata")):
        return None
    return _chat(text.encode(), user, character)


def read_text(text: str, *, user: str | None, character: str | None) -> Chat:
    """The chat in a plain text.

    Raises:
        BadRequest: it is none.
    """
    return _chat(text.encode("utf-8", "surrogatepass"), user, character)


def _chat(content: bytes, user: str | None, character: str | None) -> Chat:
    notes: list[str] = []
    messages = parse_chat(content, user=user, character=character, notes=notes)
    if not messages:
        raise BadRequest("holds no messages")
    return Chat(messages=messages, lines=len(messages), warnings=tuple(notes))


FORMS: tuple[Form[Chat], ...] = (Form("chat", _is_list, _read_list),)
