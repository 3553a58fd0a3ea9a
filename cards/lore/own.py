"""What a form has no place for, kept beside an entry: `extensions.iyagi`, by our own names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cards.files import object_in, whole
from cards.lore.lorebook import LoreEntry
from cards.lore.wording import OWN
from schemas.base import MAX_TEXT

ENTRY = TypeAdapter(LoreEntry)
NAMES = tuple(field.name for field in fields(LoreEntry) if field.compare)
"""The settings of an entry, by our own names."""


def dumped(entry: LoreEntry, *, exclude: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The settings of an entry that differ from their defaults, as JSON."""
    data: dict[str, Any] = ENTRY.dump_python(
        entry, mode="json", exclude={"source", *exclude}, exclude_defaults=True
    )
    return data


def kept(form: Mapping[str, Any]) -> dict[str, Any]:
    """What we kept beside an entry of World Info."""
    own = object_in(form, OWN) or object_in(object_in(form, "extensions"), OWN)
    settings = {name: value for name, value in own.items() if name in NAMES}
    found: dict[str, Any] = json.loads(whole(json.dumps(settings, ensure_ascii=False)))
    return found


def restored(entry: LoreEntry, own: Mapping[str, Any], warn: Callable[[str], None]) -> LoreEntry:
    """The entry with what was kept beside it; as it is, where that makes no sense."""
    if not own:
        return entry
    try:
        found = ENTRY.validate_json(json.dumps({**dumped(entry), **own}), strict=True)
    except ValidationError:
        found = None
    if found is None or len(found.content) > MAX_TEXT:
        warn(f"`extensions.{OWN}` is not as it was written here; left out")
        return entry
    return found
