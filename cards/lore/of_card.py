"""The lore that a character card carries."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from cards.characters.card import Card
from cards.files import Fields, object_in
from cards.lore.lorebook import Lorebook, LoreEntry, LoreRole
from cards.lore.world_info import MAX_SCAN, parse_book


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
