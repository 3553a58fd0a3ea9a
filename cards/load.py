"""Files of a user as parts of a request: a card as persona, a book as lore, a log as history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import TypeAdapter, ValidationError

from cards.characters.card import Card, carries_card, is_card, read_card, to_persona
from cards.chats.chatlog import parse_chat
from cards.files import MEGABYTE, Fields, object_in, parse_json, parse_object, read_file
from cards.lore.lorebook import Lorebook, LoreEntry, LoreRole
from cards.lore.world_info import MAX_SCAN, parse_book
from schemas.base import size_of
from schemas.errors import BadRequest
from schemas.request import MAX_IMPORT, MAX_STORY, Message, Persona, StoryEvent

MAX_OPERATORS = 1024 * MEGABYTE
"""Bytes of a JSON file that is no stranger's, such as a story to be indexed."""


class Story(NamedTuple):
    """A list of story events, as a file."""

    events: list[StoryEvent]


Content = Card | Persona | Lorebook | Story | list[Message]


def read_any(
    content: bytes, name: str = "", *, user: str | None = None, notes: list[str] | None = None
) -> Content:
    """What a file holds, told by its content.

    Args:
        name: of the file; `.jsonl`, `.txt` and `.log` are chats.
        user: the user's name, where a chat does not say whose line it is.
        notes: what of a chat was left out is told here; a book has its own `note`.

    Raises:
        BadRequest: it is damaged, empty, or nothing that we know.
    """
    if carries_card(content):
        return read_card(content)
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if name.lower().endswith((".jsonl", ".txt", ".log")) or text[:1] not in (b"[", b"{"):
        return _chat(content, user, notes)
    match parse_json(content):
        case [{"order": _}, *_] as rows:
            return _story(rows)
        case list():
            return _chat(content, user, notes)
        case document:
            return _read_object(document, content, user, notes)


def _read_object(
    document: dict[str, Any], content: bytes, user: str | None, notes: list[str] | None
) -> Content:
    if is_card(document):
        return read_card(content)
    if "messages" in document or "history" in document:
        return _chat(content, user, notes)
    if "entries" in document or "entries" in object_in(document, "data"):
        return parse_book(document)
    if document.keys() <= Persona.model_fields.keys():
        try:
            return Persona.model_validate(document)
        except ValidationError as error:
            raise BadRequest.from_validation(error, Persona) from None
    if "spec" in document or "name" in document:
        return read_card(content)
    raise BadRequest("is neither a character card nor a lorebook nor a chat")


def _chat(content: bytes, user: str | None, notes: list[str] | None) -> list[Message]:
    lines = parse_chat(content, user=user, notes=notes)
    if not lines:
        raise BadRequest("holds no messages")
    return lines


def _story(document: list[Any]) -> Story:
    if len(document) > MAX_STORY or size_of(document, MAX_IMPORT) > MAX_IMPORT:
        raise BadRequest("holds more events than a request; index it with scripts.build_index")
    try:
        return Story(TypeAdapter(list[StoryEvent]).validate_python(document))
    except ValidationError as error:
        raise BadRequest.from_validation(error, StoryEvent) from None


def load_json(path: Path) -> Any:
    """The JSON in a file that an operator names.

    Raises:
        BadRequest: the file cannot be read, is too large or is not JSON; names the file.
    """
    with naming(path):
        return parse_json(read_file(path, MAX_OPERATORS), limit=MAX_OPERATORS, finite=False)


def load_character(path: Path) -> tuple[Persona, Lorebook]:
    """The persona in a card, or in JSON with the fields of a request's `persona`; and the lore that
    the card carries.

    Raises:
        BadRequest: the file is damaged, too large or neither of both; names the file.
    """
    with naming(path):
        match read_any(read_file(path)):
            case Card() as card:
                return to_persona(card), lore_of(card)
            case Persona() as persona:
                return persona, Lorebook()
        raise BadRequest("is neither a character card nor a persona")


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
    path: Path,
    *,
    user: str | None = None,
    character: str | None = None,
    notes: list[str] | None = None,
) -> list[Message]:
    """The messages in a SillyTavern log, plain JSON or a text with names, oldest first.

    Args:
        user: the user's name, where the log does not say whose line it is.
        character: the character's, likewise.
        notes: what was left out is told here.

    Raises:
        BadRequest: the file is damaged, too large or no chat; names the file.
    """
    with naming(path):
        return parse_chat(read_file(path), user=user, character=character, notes=notes)


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
