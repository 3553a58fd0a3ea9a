"""A file that was dropped on the page, as parts of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cards.card import alternate_greetings, carries_card, is_card
from cards.chatlog import parse_chat
from cards.events import to_events
from cards.files import parse_json
from cards.load import read_character
from cards.macros import Scope, expand
from cards.read_lore import parse_book
from prompts.words import USER, language_of
from schemas.errors import BadRequest
from schemas.request import Message, Persona, StoryEvent

_EVENTS = TypeAdapter(list[StoryEvent])
_MESSAGES = TypeAdapter(list[Message])


def read_dropped(content: bytes, name: str, *, user: str | None, chat: str = "") -> dict[str, Any]:
    """What a file holds, by its content: `{"kind": ...}` with the parts of a request.

    - `character`: persona, story (its lore), greetings
    - `story`: story, from a lorebook or a list of events
    - `chat`: history

    Args:
        user: the user's name.
        chat: the id of the chat that a character would begin.

    Raises:
        BadRequest: none of these, or damaged.
    """
    if carries_card(content):
        return _character(content, user, chat)
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if name.lower().endswith((".jsonl", ".txt", ".log")) or text[:1] not in (b"[", b"{"):
        return _chat(content, user)
    document = parse_json(content)
    if isinstance(document, list):
        first = document[0] if document else None
        if isinstance(first, dict) and "order" in first:
            return _story(_events(document))
        return _chat(content, user)
    inner = document.get("data")
    if is_card(document):
        return _character(content, user, chat)
    if "messages" in document or "history" in document:
        return _chat(content, user)
    if "entries" in document or (isinstance(inner, dict) and "entries" in inner):
        return _story(to_events(parse_book(document)))
    return _character(content, user, chat)


def character_parts(
    persona: Persona, story: Sequence[StoryEvent], user: str | None, chat: str = ""
) -> dict[str, Any]:
    """A character as the page takes it; its greetings have their macros filled in for this chat."""
    name = user or USER[language_of(persona, "")]
    texts = [persona.first_message, *alternate_greetings(persona)]
    greetings = [expand(text, Scope.of(persona, name, text, chat=chat)).strip() for text in texts]
    return {
        "kind": "character",
        "persona": persona.model_dump(mode="json", exclude_defaults=True),
        "story": _dumped(story),
        "greetings": [text for text in greetings if text],
    }


def _character(content: bytes, user: str | None, chat: str) -> dict[str, Any]:
    persona, lore = read_character(content)
    return character_parts(persona, to_events(lore), user, chat)


def _story(events: Sequence[StoryEvent]) -> dict[str, Any]:
    return {"kind": "story", "story": _dumped(events)}


def _events(document: list[Any]) -> list[StoryEvent]:
    try:
        return _EVENTS.validate_python(document)
    except ValidationError as error:
        raise BadRequest.from_validation(error, StoryEvent) from None


def _dumped(events: Sequence[StoryEvent]) -> list[dict[str, Any]]:
    dumped: list[dict[str, Any]] = _EVENTS.dump_python(
        list(events), mode="json", exclude_defaults=True
    )
    return dumped


def _chat(content: bytes, user: str | None) -> dict[str, Any]:
    lines = parse_chat(content, user=user)
    if not lines:
        raise BadRequest("holds no messages")
    return {
        "kind": "chat",
        "history": _MESSAGES.dump_python(lines, mode="json", exclude_none=True),
    }
