"""Files of a user as parts of a request: a card as persona, a book as lore, a log as history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from cards.characters.card import Card, to_persona
from cards.chats.chat import Chat
from cards.files import MEGABYTE, Fields, object_in, opened, parse_json, read_file
from cards.lore.lorebook import Lorebook, LoreEntry, LoreRole
from cards.lore.world_info import MAX_SCAN, parse_book
from cards.read import Thing, read_any
from schemas.errors import BadRequest
from schemas.request import Message, Persona

MAX_OPERATORS = 1024 * MEGABYTE
"""Bytes of a JSON file that is no stranger's, such as a story to be indexed."""


def load_json(path: Path) -> Any:
    """The JSON in a file that an operator names.

    Raises:
        BadRequest: the file cannot be read, is too large or is not JSON; names the file.
    """
    with naming(path):
        return parse_json(read_file(path, MAX_OPERATORS), limit=MAX_OPERATORS, finite=False)


def load_character(path: Path, notes: list[str] | None = None) -> tuple[Persona, Lorebook]:
    """The persona in a character's file, of whatever form, or in JSON with the fields of a
    request's `persona`; and the lore that the card carries.

    Args:
        notes: what was not understood is told here.

    Raises:
        BadRequest: the file is damaged, too large or neither of both; names the file.
    """
    with reading(path, notes) as thing:
        match thing:
            case Card():
                return to_persona(thing), lore_of(thing)
            case Persona():
                return thing, Lorebook()
        raise BadRequest(f"is a {form_name(thing)}, and no character")


def load_lore(path: Path, notes: list[str] | None = None) -> Lorebook:
    """The lorebook in a file, or in the card in it; empty for a card without lore.

    Args:
        notes: what was not understood is told here.

    Raises:
        BadRequest: the file is damaged, too large or no book; names the file.
    """
    with reading(path, notes) as thing:
        match thing:
            case Lorebook():
                return thing
            case Card():
                return lore_of(thing)
        raise BadRequest(f"is a {form_name(thing)}, and no lorebook")


def load_history(
    path: Path,
    *,
    user: str | None = None,
    character: str | None = None,
    notes: list[str] | None = None,
) -> list[Message]:
    """The messages of a chat, oldest first.

    Args:
        user: the user's name, where the chat does not say whose line it is.
        character: the character's, likewise.
        notes: what was not understood is told here.

    Raises:
        BadRequest: the file is damaged, too large or no chat; names the file.
    """
    with reading(path, notes, user=user, character=character) as thing:
        if not isinstance(thing, Chat):
            raise BadRequest(f"is a {form_name(thing)}, and no chat")
        return thing.messages


@contextmanager
def reading(
    path: Path,
    notes: list[str] | None = None,
    *others: Path,
    user: str | None = None,
    character: str | None = None,
) -> Iterator[Thing]:
    """What a file holds, as long as it is open; errors name the file, unless they name one of the
    others already.

    Args:
        notes: what was not understood is told here.
        user: the user's name, where a chat does not say whose line it is.
        character: the character's, likewise.
    """
    with naming(path, *others), opened(path) as file:
        thing = read_any(file, user=user, character=character)
        if notes is not None:
            notes += warnings_of(thing)
        yield thing


def warnings_of(thing: Thing) -> list[str]:
    """What was not understood of a file, for those who bring it."""
    match thing:
        case Card():
            return [*thing.warnings, *book_of(thing).warnings]
        case Persona():
            return []
    return list(thing.warnings)


def form_name(thing: Thing) -> str:
    """What a file was taken for."""
    return "persona of Iyagi" if isinstance(thing, Persona) else thing.form


def book_of(card: Card) -> Lorebook:
    """The book that a card carries; empty if it has none.

    Raises:
        BadRequest: it is no book, or too large.
    """
    if card.character_book is None or "entries" not in card.character_book:
        return Lorebook()
    return parse_book(card.character_book)


def lore_of(card: Card) -> Lorebook:
    """The card's book, and the note that apps keep in `extensions.depth_prompt` as an entry that
    always stands at its depth."""
    book = book_of(card)
    note = Fields(object_in(card.extensions, "depth_prompt"), "", [])
    text = note.text("prompt").strip()
    if not text:
        return book
    roles: dict[str, LoreRole] = {role: role for role in get_args(LoreRole)}
    entry = LoreEntry(
        id="depth_prompt",
        content=text,
        constant=True,
        position="at_depth",
        depth=note.whole("depth", 0, MAX_SCAN, 4),
        role=roles.get(note.text("role"), "system"),
        ignore_budget=True,
    )
    return replace(book, entries=(*book.entries, entry))


@contextmanager
def naming(path: Path, *others: Path) -> Iterator[None]:
    """Puts the file's name, and not its folder, before what is wrong with it, unless that names
    this file or one of the others already."""
    try:
        yield
    except BadRequest as error:
        if error.field in {file.name for file in (path, *others)}:
            raise
        raise BadRequest(error.message, field=path.name) from None
