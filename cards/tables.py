"""What a file holds, as tables of a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from cards.amount import amount
from cards.characters.card import Card
from cards.chats.chat import Chat
from cards.lore.lorebook import Lorebook
from cards.lore.of_card import book_of
from cards.read import Thing
from cards.story import Story
from schemas.request import Message, Persona, StoryEvent

SHORT = 100
"""Characters of a text that are shown."""

NEWEST = 10
"""Lines of a chat that are shown."""


def tables_of(thing: Thing) -> list[Table]:
    """A thing, and the lorebook in a card."""
    match thing:
        case Card():
            book = book_of(thing)
            return [_card(thing, book), *([_book(book)] if book.entries else [])]
        case Persona():
            return [_persona(thing)]
        case Lorebook():
            return [_book(thing)]
        case Story(events=events):
            return [_story(events)]
        case Chat(messages=messages):
            return [_chat(messages)]


def _card(card: Card, book: Lorebook) -> Table:
    """A card's fields, long ones by their beginning and length."""
    carrier = "PNG" if card.picture else "CHARX" if card.archive else "JSON"
    table = _table(f"{card.name}: character card {card.version.upper()} in {carrier}")
    table.add_column("field", no_wrap=True)
    table.add_column("characters", justify="right")
    table.add_column("text")
    rows = {
        "nickname": card.nickname,
        "description": card.description,
        "personality": card.personality,
        "scenario": card.scenario,
        "first message": card.first_mes,
        **{f"greeting {n}": text for n, text in enumerate(card.alternate_greetings, 1)},
        **{f"group greeting {n}": text for n, text in enumerate(card.group_only_greetings, 1)},
        "example dialogue": card.mes_example,
        "system prompt": card.system_prompt,
        "after the history": card.post_history_instructions,
        "creator": " ".join(filter(None, (card.creator, card.character_version))),
        "creator's notes": card.creator_notes,
        "tags": ", ".join(card.tags),
        "extensions": ", ".join(map(str, card.extensions)),
        "lorebook": amount(len(book.entries), "entry", "entries") if book.entries else "",
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, f"{len(text):,}", _short(text))
    return table


def _persona(persona: Persona) -> Table:
    """A persona's texts."""
    table = _table(f"{persona.name}: persona")
    table.add_column("field", no_wrap=True)
    table.add_column("text")
    for name, text in persona.model_dump(exclude={"extensions"}, exclude_defaults=True).items():
        table.add_row(name, _short(", ".join(text) if isinstance(text, list) else str(text)))
    return table


def _story(events: Sequence[StoryEvent]) -> Table:
    """A story's events."""
    table = _table(f"Story: {len(events):,} events")
    for column in ("order", "id", "text"):
        table.add_column(column, no_wrap=column == "order")
    for event in events:
        table.add_row(str(event.order), _short(event.id or "", 30), _short(event.text))
    return table


def _book(book: Lorebook) -> Table:
    """A book's entries."""
    title = f"{book.name or 'Lorebook'}: {amount(len(book.entries), 'entry', 'entries')}"
    table = _table(title)
    for column in ("id", "name", "keys", "order", "place", "text"):
        table.add_column(column, no_wrap=column in ("id", "order"))
    for entry in book.entries:
        state = "" if entry.enabled else " (off)"
        keys = "always" if entry.constant else ", ".join(entry.keys)
        table.add_row(
            escape(entry.id) + state,
            _short(entry.name, 20),
            _short(keys, 40),
            str(entry.order),
            entry.position,
            _short(entry.content, 60),
        )
    return table


def _chat(messages: Sequence[Message]) -> Table:
    """How many lines each role has, and the last ones."""
    roles = Counter(message.role for message in messages)
    counts = ", ".join(f"{count:,} {role}" for role, count in roles.most_common())
    table = _table(f"Chat: {len(messages):,} messages ({counts})")
    for column in ("role", "name", "time", "text"):
        table.add_column(column, no_wrap=column != "text")
    for message in messages[-NEWEST:]:
        when = f"{message.timestamp:%Y-%m-%d %H:%M}" if message.timestamp else ""
        table.add_row(message.role, _short(message.name or "", 20), when, _short(message.content))
    return table


def _table(title: str) -> Table:
    return Table(title=_short(title), title_justify="left", box=None, padding=(0, 1))


def _short(text: str, length: int = SHORT) -> str:
    """The beginning of a text on one line, harmless to the terminal."""
    line = " ".join(text[: 4 * length].split())
    plain = "".join(c if c.isprintable() else "�" for c in line)
    return escape(plain if len(plain) <= length else plain[: length - 1] + "…")
