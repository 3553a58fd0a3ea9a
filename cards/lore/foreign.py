"""The forms in which programs write lorebooks as JSON."""

from __future__ import annotations

from typing import Any

from cards.characters.card import is_card
from cards.files import object_in
from cards.forms import Document, Form
from cards.lore.lorebook import Lorebook
from cards.lore.world_info import parse_book


def _is_book(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and not is_card(value)
        and ("entries" in value or "entries" in object_in(value, "data"))
    )


def _read_book(document: Document) -> Lorebook:
    return parse_book(document.value)


FORMS: tuple[Form[Lorebook], ...] = (Form("World Info", _is_book, _read_book),)
