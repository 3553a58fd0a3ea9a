"""Lorebooks back to World Info and to `lorebook_v3`, so that reading them gives the same book.

An entry that did not change is written as its file had it. Any other is written field by field over
what its file had, so that unknown fields stay. Then it is read again as it would be from the file:
what does not come back, as the form has no place for it, is kept in `extensions.iyagi`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from cards.files import object_in
from cards.lore.lorebook import (
    SCAN_DEPTH,
    Condition,
    Logic,
    Lorebook,
    LoreEntry,
    LoreRole,
    Position,
)
from cards.lore.own import ENTRY, NAMES
from cards.lore.wording import OWN, settled
from cards.lore.world_info import as_world_info, parse_book

_NUMBERS = {place: number for number, place in enumerate(get_args(Position))}
_NUMBERS |= {"personality": 1, "scenario": 1, "from_start": 0}
_LOGICS: dict[Logic, int] = {"and_any": 0, "not_all": 1, "not_any": 2, "and_all": 3}
_ROLES = {role: number for number, role in enumerate(get_args(LoreRole))}
_SCAN_ALSO = {
    "matchPersonaDescription": "persona_description",
    "matchCharacterDescription": "character_description",
    "matchCharacterPersonality": "character_personality",
    "matchCharacterDepthPrompt": "character_depth_prompt",
    "matchScenario": "scenario",
    "matchCreatorNotes": "creator_notes",
}
_IN_EXTENSIONS = (
    *("selectiveLogic", "depth", "role", "outletName", "probability", "useProbability"),
    *("scanDepth", "matchWholeWords", "excludeRecursion", "preventRecursion", "position"),
    *("delayUntilRecursion", "sticky", "cooldown", "delay", "group", "groupOverride"),
    *("groupWeight", "useGroupScoring", "ignoreBudget", "characterFilter", "triggers"),
    *_SCAN_ALSO,
)
"""Settings of World Info that a card's book has no field for: apps write them in snake case."""
_SNAKE = {"".join(f"_{c.lower()}" if c.isupper() else c for c in n): n for n in _IN_EXTENSIONS}

_NEVER = {"entries", "spec", "spec_version", "data"}
_RESOLVED = {"scan_depth", "recursive_scanning"}
"""Settings of a whole book that are part of each entry here."""


def to_world_info(book: Lorebook) -> dict[str, Any]:
    """The book as a World Info file of SillyTavern."""
    native = _is_written_in(book, "key")
    head = _head(book, native=native)
    numbers = _numbers(book)
    forms = [
        _world_info(entry, number, row)
        for row, (entry, number) in enumerate(zip(book.entries, numbers, strict=True))
    ]
    before = [
        _as_it_was(entry, str(number)) if native else None
        for entry, number in zip(book.entries, numbers, strict=True)
    ]
    rows = _complete(book, head, forms, before)
    return {**head, "entries": dict(zip(map(str, numbers), rows, strict=True))}


def to_lorebook_v3(book: Lorebook) -> dict[str, Any]:
    """The book as a stand-alone file of version 3 of the card format."""
    native = _is_written_in(book, "keys")
    head = {"extensions": {}, **_head(book, native=native)}
    forms = [
        _of_card(_world_info(entry, entry.id, row), entry) for row, entry in enumerate(book.entries)
    ]
    before = [
        {"use_regex": _has_pattern(entry), **(entry.source or {})} if native else None
        for entry in book.entries
    ]
    rows = _complete(book, head, forms, before)
    return {"spec": "lorebook_v3", "data": {**head, "entries": rows}}


def _is_written_in(book: Lorebook, keys: Literal["key", "keys"]) -> bool:
    """Whether a book was read from a file of a form, told by how its entries call their keys."""
    sources = [entry.source for entry in book.entries]
    wanted = keys == "keys"
    return book.source is not None and all(
        source is not None and ("keys" in source) is wanted for source in sources
    )


def _head(book: Lorebook, *, native: bool) -> dict[str, Any]:
    """What stands beside the entries. Of a file in the same form, everything that stood there."""
    left_out = _NEVER if native else _NEVER | _RESOLVED
    head = {name: value for name, value in (book.source or {}).items() if name not in left_out}
    for name, value in (("name", book.name or None), ("token_budget", book.token_budget)):
        head.pop(name, None)
        if value is not None:
            head[name] = value
    return head


def _numbers(book: Lorebook) -> list[int]:
    """A number of its own for each entry, its id where that is one."""
    wanted = [
        int(entry.id) if entry.id.isascii() and entry.id.isdigit() and len(entry.id) < 10 else None
        for entry in book.entries
    ]
    own = {number for number in wanted if number is not None and str(number)}
    free = iter(number for number in range(2 * len(wanted) + 1) if number not in own)
    used: set[int] = set()
    numbers = []
    for number in wanted:
        if number is None or number in used:
            number = next(free)
        used.add(number)
        numbers.append(number)
    return numbers


def _as_it_was(entry: LoreEntry, number: str) -> dict[str, Any] | None:
    """The entry as its file had it; None if its number there is another's here."""
    source = dict(entry.source or {})
    return source if str(source.get("uid", "")) == number else None


def _world_info(entry: LoreEntry, uid: int | str, row: int) -> dict[str, Any]:
    """The entry in the words of World Info, over what its file had."""
    before: dict[str, Any] = {}
    if entry.source is not None:
        before = settled(entry.source, lambda _: None, Counter())
        if "keys" in before:
            before = {**entry.source, **as_world_info(before)}
            for name in (
                "id",
                "keys",
                "secondary_keys",
                "insertion_order",
                "enabled",
                "case_sensitive",
            ):
                before.pop(name, None)
        extensions = {k: v for k, v in object_in(before, "extensions").items() if k != OWN}
        before = {"displayIndex": row, **before, "extensions": extensions}
        before.pop(OWN, None)
    keys, logic = entry.conditions[0] if entry.conditions else Condition(())
    chance = entry.probability
    return {
        "addMemo": bool(entry.name),
        "displayIndex": row,
        "vectorized": False,
        "automationId": "",
        **before,
        "uid": uid,
        "key": list(entry.keys),
        "keysecondary": list(keys),
        "comment": entry.name,
        "content": entry.content,
        "constant": entry.constant,
        "selective": True,
        "selectiveLogic": _LOGICS[logic],
        "order": entry.order,
        "priority": entry.priority,
        "position": _NUMBERS[entry.position],
        "depth": entry.depth,
        "role": _ROLES[entry.role],
        "disable": not entry.enabled,
        "outletName": entry.outlet,
        "probability": int(chance) if chance == int(chance) else chance,
        "useProbability": True,
        "scanDepth": None if entry.scan_depth == SCAN_DEPTH else entry.scan_depth,
        "caseSensitive": entry.case_sensitive or None,
        "matchWholeWords": None if entry.whole_words else False,
        "excludeRecursion": entry.exclude_recursion,
        "preventRecursion": entry.prevent_recursion,
        "delayUntilRecursion": entry.recursion_level,
        "sticky": max(0, entry.sticky),
        "cooldown": max(0, entry.cooldown),
        "delay": entry.delay,
        "group": ",".join(entry.groups),
        "groupOverride": entry.group_override,
        "groupWeight": entry.group_weight,
        "useGroupScoring": entry.group_scoring or None,
        "ignoreBudget": entry.ignore_budget,
        **{name: ours in entry.scan_also for name, ours in _SCAN_ALSO.items()},
        "characterFilter": {
            "isExclude": entry.exclude_characters,
            "names": list(entry.characters),
            "tags": list(entry.tags),
        },
        "triggers": list(entry.triggers),
    }


def _of_card(form: Mapping[str, Any], entry: LoreEntry) -> dict[str, Any]:
    """An entry of World Info in the words of a card's book."""
    inner = object_in(form, "extensions")
    unknown = {name: value for name, value in form.items() if name not in _KNOWN}
    return {
        "id": form["uid"],
        "keys": form["key"],
        "secondary_keys": form["keysecondary"],
        "comment": form["comment"],
        "name": form["comment"],
        "content": form["content"],
        "constant": form["constant"],
        "selective": bool(form["keysecondary"]),
        "insertion_order": form["order"],
        "enabled": entry.enabled,
        "priority": form["priority"],
        "case_sensitive": entry.case_sensitive,
        "position": "before_char" if form["position"] == 0 else "after_char",
        "use_regex": _has_pattern(entry),
        "extensions": {**unknown, **inner, **{name: form[camel] for name, camel in _SNAKE.items()}},
    }


_WORLD_INFO = {
    *("uid", "key", "keysecondary", "comment", "content", "constant", "selective", "order"),
    *("priority", "disable", "caseSensitive"),
}
"""Settings of World Info that a card's book has a field for."""

_KNOWN = {*_IN_EXTENSIONS, *_WORLD_INFO, "extensions"}


def _has_pattern(entry: LoreEntry) -> bool:
    """Keys in slashes are patterns, whatever `use_regex` says; so it says whether there are any."""
    return any(key.startswith("/") for key in entry.keys)


def _complete(
    book: Lorebook,
    head: Mapping[str, Any],
    forms: Sequence[dict[str, Any]],
    before: Sequence[dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """Each entry as it was, if that says all of it; else its form, and beside it what that does
    not say."""

    def lost(rows: list[dict[str, Any]]) -> list[set[str]]:
        """The settings of each entry that do not come back; all, where the reader's bound is."""
        read = parse_book({**head, "entries": rows}).entries
        found = [
            {name for name in NAMES if getattr(again, name) != getattr(entry, name)}
            for again, entry in zip(read, book.entries, strict=False)
        ]
        return [*found, *(set(NAMES) for _ in book.entries[len(found) :])]

    tried = [form if old is None else old for form, old in zip(forms, before, strict=True)]
    rows = [
        form if names else old for form, old, names in zip(forms, tried, lost(tried), strict=True)
    ]
    for row, entry, names in zip(rows, book.entries, lost(rows), strict=True):
        if names:
            kept = ENTRY.dump_python(replace(entry, source=None), mode="json", include=names)
            row["extensions"] = {**object_in(row, "extensions"), OWN: kept}
    return rows
