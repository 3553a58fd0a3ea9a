"""Files of a user as parts of a request: a card as persona, a book as lore, a log as history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from cards.card import Card, carries_card, is_card, read_card, to_persona
from cards.chatlog import parse_chat
from cards.files import Fields, parse_object, read_file
from cards.lorebook import Lorebook, LoreEntry, LoreRole
from cards.read_lore import MAX_SCAN, parse_book
from schemas.errors import BadRequest
from schemas.request import Message, Persona


def load_character(path: Path) -> tuple[Persona, Lorebook]:
    """The persona in a card, or in JSON with the fields of a request's `persona`; and the lore that
    the card carries.

    Raises:
        BadRequest: the file is damaged, too large or neither of both; names the file.
    """
    with naming(path):
        return read_character(read_file(path))


def read_character(content: bytes) -> tuple[Persona, Lorebook]:
    """`load_character` of a file's content."""
    if not carries_card(content):
        document = parse_object(content)
        if not is_card(document) and document.keys() <= Persona.model_fields.keys():
            try:
                return Persona.model_validate(document), Lorebook()
            except ValidationError as error:
                raise BadRequest.from_validation(error, Persona) from None
    card = read_card(content)
    return to_persona(card), lore_of(card)


def load_lore(path: Path) -> Lorebook:
    """The lorebook in World Info, a stand-alone book, or a card; empty for a card without lore.

    Raises:
        BadRequest: the file is damaged, too large or no book; names the file.
    """
    with naming(path):
        content = read_file(path)
        if not carries_card(content):
            document = parse_object(content)
            if not is_card(document):
                return parse_book(document)
        return lore_of(read_card(content))


def load_history(
    path: Path, *, user: str | None = None, character: str | None = None
) -> list[Message]:
    """The messages in a SillyTavern log, plain JSON or a text with names, oldest first.

    Args:
        user: the user's name, where the log does not say whose line it is.
        character: the character's, likewise.

    Raises:
        BadRequest: the file is damaged, too large or no chat; names the file.
    """
    with naming(path):
        return parse_chat(read_file(path), user=user, character=character)


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
    note = Fields(Fields(card.extensions, "", []).object("depth_prompt"), "", [])
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
