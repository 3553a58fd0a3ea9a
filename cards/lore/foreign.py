"""The forms in which programs write lorebooks as JSON, and how they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from cards.files import object_in, parse_json
from cards.forms import Document, Form
from cards.lore.findings import unplaced_words
from cards.lore.lorebook import Lorebook
from cards.lore.programs import (
    AGNAI,
    CHARACTERS,
    NOVELAI,
    RISU,
    SEARCH_RANGE,
    Program,
    entries_of,
)
from cards.lore.told import BY_FORM, CARD_BOOK, CHUB, V3, WORLD_INFO, told
from cards.lore.wording import in_use
from cards.lore.world_info import parse_book
from schemas.errors import BadRequest
from schemas.request import MAX_STORY


def _read(document: Document) -> Lorebook:
    """The book that `told` tells.

    Raises:
        BadRequest: nothing, or too little of it, is understood.
    """
    found = told(document.value)
    assert found is not None
    rows = found.rows
    if isinstance(rows, str):
        if not rows.lstrip().startswith("["):
            raise BadRequest("is a script of JanitorAI; only its books of entries are read")
        rows = parse_json(rows.encode("utf-8", "surrogatepass"))
    if not isinstance(rows, list | dict):
        raise BadRequest("is no lorebook; it has no `entries`")
    head = {name: value for name, value in found.head.items() if name != "entries"}
    if found.program is None:
        book = parse_book({**head, "entries": rows}, strict=True)
        program = WORLD_INFO
    else:
        book = _read_program(found.program, rows, head)
        program = found.program.name
    beside = [f"{program}'s `{name}` is no lore and is not read" for name in found.beside]
    return replace(book, form=found.form, warnings=(*beside, *book.warnings))


def _read_program(program: Program, rows: Any, head: Mapping[str, Any]) -> Lorebook:
    """The book of a program."""
    listed = list(rows.values()) if isinstance(rows, dict) else rows
    odd: list[str] = []
    settings = {"name": head.get("name") or ""}
    if program is RISU:
        listed = [row for row in listed if not _is_folder(row)]
    elif program is AGNAI:
        settings |= {ours: head[name] for name, ours in _AGNAI.items() if name in head}
    elif program is NOVELAI:
        listed, odd = _by_category(listed, head)
    counted = Counter[str]()
    entries = entries_of(program, listed[: MAX_STORY + 1], counted.update)
    book = parse_book({**settings, "entries": entries}, strict=True, total=len(listed))
    unplaced = unplaced_words(program.name, counted)
    return replace(book, warnings=(*book.warnings, *odd, *unplaced), source=None)


_AGNAI = {
    "scanDepth": "scan_depth",
    "tokenBudget": "token_budget",
    "recursiveScanning": "recursive_scanning",
}
"""Settings of a whole book of Agnai, in the words of a card's book."""


def _is_folder(row: Any) -> bool:
    """Whether an entry of Risu only holds others together."""
    return isinstance(row, dict) and row.get("mode") == "folder"


def _by_category(rows: list[Any], head: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    """Entries of NovelAI, off where their category is; and what has no place here."""
    listed = head.get("categories")
    categories = (
        [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    )
    off = {str(one.get("id")) for one in categories if one.get("enabled") is False}
    rows = [
        {**row, "enabled": False}
        if off and isinstance(row, dict) and str(row.get("category")) in off
        else row
        for row in rows
    ]
    unplaced = [
        f"categories.{setting}"
        for setting in ("createSubcontext", "useCategoryDefaults", "categoryBiasGroups")
        if any(in_use(one.get(setting)) for one in categories)
    ]
    if object_in(head, "settings").get("orderByKeyLocations"):
        unplaced.append("settings.orderByKeyLocations")
    odd = [f"{NOVELAI.name}'s `{name}` has no place here" for name in unplaced]
    ranges = [row.get("searchRange") for row in rows if isinstance(row, dict)]
    if any(own not in (None, 0, SEARCH_RANGE) for own in ranges):
        odd.append(f"{NOVELAI.name}'s `searchRange`: {CHARACTERS} characters are one message here")
    return rows, odd


def _fits(form: str, value: Any) -> bool:
    found = told(value)
    return found is not None and found.form == form


FORMS: tuple[Form[Lorebook], ...] = tuple(
    Form(name, partial(_fits, name), _read) for name in (WORLD_INFO, CARD_BOOK, V3, CHUB, *BY_FORM)
)
"""Every form of a lorebook; a value has one at most, as `told` names one."""
