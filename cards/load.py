"""Files of a user as parts of a request: a card as persona, a book as lore, a log as history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cards.characters.card import Card, to_persona
from cards.chats.chat import Chat
from cards.check import check, shortened
from cards.files import MEGABYTE, opened, parse_json, read_file
from cards.lore.lorebook import Lorebook
from cards.lore.of_card import lore_of
from cards.read import NothingThere, Thing, read_any
from cards.story import Story
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
    with reading(path) as thing:
        _note(thing, path, notes)
        match thing:
            case Card():
                return to_persona(thing), lore_of(thing)
            case Persona():
                return thing, Lorebook()
        raise _other(thing, "character")


def load_lore(path: Path, notes: list[str] | None = None) -> Lorebook:
    """The lorebook in a file, or in the card in it; empty for a card without lore.

    Args:
        notes: what was not understood is told here.

    Raises:
        BadRequest: the file is damaged, too large or no book; names the file.
    """
    with reading(path) as thing:
        _note(thing, path, notes)
        match thing:
            case Lorebook():
                return thing
            case Card():
                return lore_of(thing)
        raise _other(thing, "lorebook")


def load_history(
    path: Path,
    *,
    user: str | None = None,
    character: str | None = None,
    notes: list[str] | None = None,
) -> list[Message]:
    """The messages of a chat, oldest first; none in an empty file, a chat that has not begun.

    Args:
        user: the user's name, where the chat does not say whose line it is.
        character: the character's, likewise.
        notes: what was not understood is told here.

    Raises:
        BadRequest: the file is damaged, too large or no chat; names the file.
    """
    with naming(path), opened(path) as file:
        try:
            thing = read_any(file, user=user, character=character)
        except NothingThere:
            return []
        _note(thing, path, notes)
        if not isinstance(thing, Chat):
            raise _other(thing, "chat")
        return thing.messages


@contextmanager
def reading(
    path: Path,
    *others: Path,
    user: str | None = None,
    character: str | None = None,
) -> Iterator[Thing]:
    """What a file holds, as long as it is open; errors name the file, unless they name one of the
    others already.

    Args:
        user: the user's name, where a chat does not say whose line it is.
        character: the character's, likewise.
    """
    with naming(path, *others), opened(path) as file:
        thing = read_any(file, user=user, character=character)
        yield thing


def _note(thing: Thing, path: Path, notes: list[str] | None) -> None:
    """Tells what is odd in a file, where somebody wants to know: so much as a person reads."""
    if notes is not None:
        notes += [f"{path.name}: {warning}" for warning in shortened(check(thing))]


def _other(thing: Thing, wanted: str) -> BadRequest:
    """That a file is something else, and where it belongs."""
    match thing:
        case Card() | Persona():
            option = "--persona"
        case Lorebook():
            option = "--lore"
        case Story():
            option = "--story"
        case Chat():
            option = "--history"
    told = f"is a {form_name(thing)}, and no {wanted}"
    return BadRequest(f"{told}; the handler takes it as {option}")


def form_name(thing: Thing) -> str:
    """What a file was taken for."""
    return "persona of Iyagi" if isinstance(thing, Persona) else thing.form


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
