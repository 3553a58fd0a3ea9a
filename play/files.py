"""A file that was dropped on the page, as parts of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from cards.characters.card import Card, alternate_greetings, to_persona
from cards.chats.chat import Chat
from cards.check import check, shortened
from cards.lore.events import to_events
from cards.lore.lorebook import Lorebook
from cards.lore.of_card import lore_of
from cards.macros import Scope, expand, told_of
from cards.read import read_any
from cards.story import Story
from prompts.words import language_of
from schemas.budget import Budget, spending
from schemas.request import USER, Message, Persona, StoryEvent

_EVENTS = TypeAdapter(list[StoryEvent])
_MESSAGES = TypeAdapter(list[Message])


def read_dropped(content: bytes | BinaryIO, *, user: str | None, chat: str = "") -> dict[str, Any]:
    """What a file holds, by its content: `{"kind": ...}` with the parts of a request.

    - `character`: persona, story (its lore), greetings
    - `story`: story, from a lorebook or a list of events
    - `chat`: history

    and `notes`, where a part of it was left out.

    Args:
        user: the user's name.
        chat: the id of the chat that a character would begin.

    Raises:
        BadRequest: none of these, or damaged.
    """
    thing = read_any(content, user=user)
    match thing:
        case Card() as card:
            parts = character_parts(to_persona(card), to_events(lore_of(card)), user, chat)
        case Persona() as persona:
            parts = character_parts(persona, [], user, chat)
        case Lorebook() as book:
            parts = {"kind": "story", "story": _dumped(to_events(book))}
        case Story(events=events):
            parts = {"kind": "story", "story": _dumped(events)}
        case Chat(messages=lines):
            history = _MESSAGES.dump_python(lines, mode="json", exclude_none=True)
            parts = {"kind": "chat", "history": history}
    return {**parts, "notes": shortened(check(thing))}


def character_parts(
    persona: Persona, story: Sequence[StoryEvent], user: str | None, chat: str = ""
) -> dict[str, Any]:
    """A character as the page takes it; its greetings have their macros filled in for this chat."""
    name = user or USER[language_of(persona, "")]
    texts = [persona.first_message, *alternate_greetings(persona)]
    korean = language_of(persona, "") == "ko"
    told = told_of(persona, (), "", user=name, chat=chat, korean=korean)
    told = replace(told, now=datetime.now().astimezone())  # the page keeps what was said then
    scopes = [replace(Scope.of(persona, name, text, chat=chat), told=told) for text in texts]
    with spending(Budget()):
        greetings = [expand(scope.place, scope).strip() for scope in scopes]
    return {
        "kind": "character",
        "persona": persona.model_dump(mode="json", exclude_defaults=True),
        "story": _dumped(story),
        "greetings": [text for text in greetings if text],
    }


def _dumped(events: Sequence[StoryEvent]) -> list[dict[str, Any]]:
    dumped: list[dict[str, Any]] = _EVENTS.dump_python(
        list(events), mode="json", exclude_defaults=True
    )
    return dumped
