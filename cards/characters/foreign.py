"""The forms in which programs write characters as JSON."""

from __future__ import annotations

from typing import Any

from cards.characters.card import Card, is_card, parse_card
from cards.forms import Document, Form


def _is_card(value: Any) -> bool:
    if not isinstance(value, dict) or str(value.get("spec")).startswith("lorebook"):
        return False
    return is_card(value) or ("spec" in value and "data" in value)


def _read_card(document: Document) -> Card:
    return parse_card(document.content)


FORMS: tuple[Form[Card], ...] = (Form("character card", _is_card, _read_card),)
