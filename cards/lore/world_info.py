"""Reads lorebooks. Both forms are read as World Info, after a card's book is put into its words.

V3 adds decorators, the `@@name value` lines at the head of an entry's content, and RisuAI a few of
its own. A line with `@@@` is the fallback of the line above it, used where that one is not
supported. The first supported decorator of a name wins; of those that ask for keys, each line asks.
Unknown ones are left out of the text all the same.

A book is Risu's where its or its entries' `extensions` say so (`risu_...`). There keys are parts of
words and may stand several in one text, between commas, and what goes to the budget first is said
by the order alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

from cards.files import Fields, object_in, whole
from cards.lore.findings import Findings
from cards.lore.lorebook import (
    POSITIONS,
    SCAN_DEPTH,
    Condition,
    Logic,
    Lorebook,
    LoreEntry,
    LoreRole,
    Position,
)
from cards.lore.own import kept, restored
from cards.lore.wording import settled
from schemas.base import MAX_TEXT, size_of
from schemas.errors import BadRequest
from schemas.request import MAX_IMPORT, MAX_STORY

MAX_SCAN = 1_000
"""Messages an entry may look back."""

_NUMBERED = get_args(Position)[:8]
_LOGICS: tuple[Logic, ...] = ("and_any", "not_all", "not_any", "and_all")
_ROLES: tuple[LoreRole, ...] = ("system", "user", "assistant")
_SCAN_ALSO = {
    "matchPersonaDescription": "persona_description",
    "matchCharacterDescription": "character_description",
    "matchCharacterPersonality": "character_personality",
    "matchCharacterDepthPrompt": "character_depth_prompt",
    "matchScenario": "scenario",
    "matchCreatorNotes": "creator_notes",
}
_NEVER_IN_EXTENSIONS = {
    *("uid", "key", "keysecondary", "comment", "content", "constant", "selective", "order"),
    *("disable", "priority"),
}
"""What a card's book says of an entry itself. Other settings of World Info stand in `extensions`,
there also as `scan_depth`, and go before the entry's own."""

_DECORATOR = re.compile(r"(@{2,})([A-Za-z_]+)(?:[ \t]+(.*))?")
_PERCENT = re.compile(r"100|\d{1,2}(?:\.\d{1,9})?", re.ASCII)
_RISU = "risu_"
_PLACE = "pt_"
"""Of a place in a Risu prompt, which is named as an outlet is."""

_DECORATED: dict[str, tuple[str, Callable[[str], Any]]] = {
    "activate_only_after": ("delay", int),
    "activate_only_every": ("only_every", int),
    "keep_activate_after_match": ("sticky", lambda _: -1),
    "dont_activate_after_match": ("cooldown", lambda _: -1),
    "probability": ("probability", float),
    "priority": ("priority", int),
    "match_full_word": ("whole_words", lambda _: True),
    "match_partial_word": ("whole_words", lambda _: False),
    "case_sensitive": ("case_sensitive", lambda _: True),
    "recursive": ("prevent_recursion", lambda _: False),
    "unrecursive": ("prevent_recursion", lambda _: True),
    "no_recursive_search": ("exclude_recursion", lambda _: True),
    "end": ("depth", lambda _: 0),
    "is_greeting": ("greeting", int),
    "role": ("role", str),
    "position": ("position", lambda name: POSITIONS.get(name, "outlet")),
    "scan_depth": ("scan_depth", int),
    "instruct_scan_depth": ("scan_depth", int),
    "depth": ("depth", int),
    "instruct_depth": ("depth", int),
    "reverse_depth": ("depth", int),
    "reverse_instruct_depth": ("depth", int),
}
"""The setting of an entry that a decorator stands for."""

_ASKING: dict[str, Logic] = {
    "additional_keys": "and_any",
    "exclude_keys": "not_any",
    "exclude_keys_all": "not_all",
}
"""What decorators ask of the keys that they name."""

_BARE = {"ignore_on_max_context", "activate", "dont_activate"}
"""With these, all of V3 but `is_user_icon` and `disable_ui_prompt`, which are about a screen, and
all of Risu but `inject_lore` and its kin, which change the text of other entries."""

_ALLOWED = {
    "role": {"system", "user", "assistant"},
    "position": {"after_desc", "before_desc", "personality", "scenario"},
}
MAX_DECORATORS = 100


def parse_book(
    document: Mapping[str, Any], *, strict: bool = False, total: int | None = None
) -> Lorebook:
    """The book in World Info, a stand-alone `lorebook_v3` or the book of a card: the first entries,
    as many as a request can hold.

    Args:
        strict: refuses a book that is for the most part not understood; else that is a warning.
        total: entries of the file, where the document holds only the first of them.

    Raises:
        BadRequest: it holds no entries.
    """
    if "entries" in (inner := object_in(document, "data")):
        document = inner
    raw = document.get("entries")
    if not isinstance(raw, dict | list):
        raise BadRequest("is no lorebook; it has no `entries`")
    warnings: list[str] = []
    book = Fields(document, "", warnings)
    risu = _is_risu(document, raw.values() if isinstance(raw, dict) else raw)
    used: dict[str, int] = {}
    names = list(raw) if isinstance(raw, dict) else range(len(raw))
    values = raw.values() if isinstance(raw, dict) else raw
    entries, note, size, taken = [], "", 0, len(raw)
    found = Findings()
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        if row == MAX_STORY:
            taken = row
            break
        if not isinstance(value, dict):
            warnings.append(f"entry {name}: should be an object")
            found.unread(value)
            continue
        odd: list[str] = []
        form = settled(value, odd.append, found.unplaced)
        form = as_world_info(form) if "keys" in form else form
        if risu:
            form = _as_risu_means(form, object_in(document, "extensions"))
        own = kept(form)
        identity = _identity({**form, "uid": own.pop("id", None) or form.get("uid")}, name, used)
        entry = restored(_entry(form, identity, book, warnings), own, odd.append)
        texts = (entry.content, entry.name, entry.keys, entry.keys, entry.conditions)
        size += size_of(texts, MAX_IMPORT)
        if size > MAX_IMPORT:
            taken = row
            break
        warnings += [f"entry {identity}: {words}" for words in odd]
        entries.append(replace(entry, source=value))
        found.read(value, form, entry)
    if taken < (many := total or len(raw)):
        note = f"kept the first {taken:,} of {many:,} entries: a request holds no more"
    if strict and note and not entries:
        raise BadRequest("begins with an entry that is larger than a request; shorten it")
    budget = book.whole("token_budget", 0, 10**6, -1)
    return Lorebook(
        entries=tuple(entries),
        name=book.text("name"),
        token_budget=budget if budget >= 0 else None,
        warnings=(*filter(None, [note]), *found.judged(strict=strict), *warnings),
        note=note,
        source={name: value for name, value in document.items() if name != "entries"},
    )


def _identity(form: Mapping[str, Any], name: object, used: dict[str, int]) -> str:
    """The entry's own id if no other has it, else with the number of its copy.

    Args:
        used: the ids of the entries before, with the number of the copy that comes next.
    """
    own = form.get("uid")
    wanted = whole(str(own if isinstance(own, str | int) and str(own).strip() else name)[:100])
    identity, copy = wanted, used.get(wanted, 1)
    while identity in used:
        copy += 1
        identity = f"{wanted}#{copy}"
    used[wanted] = copy
    used.setdefault(identity, 1)
    return identity


def as_world_info(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A card book's entry in the words of World Info; `extensions` go before the entry's own."""
    form: dict[str, Any] = {
        "uid": entry.get("id"),
        "key": entry.get("keys"),
        "keysecondary": entry.get("secondary_keys"),
        "comment": entry.get("comment") or entry.get("name"),
        "content": entry.get("content"),
        "constant": entry.get("constant"),
        "selective": entry.get("selective") or False,
        "order": entry.get("insertion_order"),
        "disable": not entry.get("enabled", True),
        "priority": entry.get("priority"),
        "caseSensitive": entry.get("case_sensitive"),
        "position": entry.get("position"),
    }
    for name, value in object_in(entry, "extensions").items():
        setting = re.sub("_([a-z])", lambda letter: letter[1].upper(), name)
        if value is not None and setting not in _NEVER_IN_EXTENSIONS:
            form[setting] = value
    return form


def _is_risu(document: Mapping[str, Any], entries: Iterable[Any]) -> bool:
    """Whether a book was made with RisuAI."""
    owners = [document, *(entry for entry in entries if isinstance(entry, dict))]
    return any(
        str(name).startswith(_RISU) for owner in owners for name in object_in(owner, "extensions")
    )


def _as_risu_means(form: Mapping[str, Any], of_book: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a Risu book, with what that program takes for granted."""
    given = {name: value for name, value in form.items() if value is not None}
    return {
        "matchWholeWords": bool(of_book.get(f"{_RISU}fullWordMatching")),
        "caseSensitive": form.get("risuCaseSensitive"),
        "probability": form.get("risuActivationPercent"),
        "priority": form.get("order"),
        **given,
        "key": _between_commas(form.get("key")),
        "keysecondary": _between_commas(form.get("keysecondary")),
    }


def _between_commas(keys: Any) -> Any:
    """Keys, those in one text apart; a regular expression stays whole."""
    if not isinstance(keys, list):
        return keys
    return [
        part
        for key in keys
        for part in (key.split(",") if isinstance(key, str) and key[:1] != "/" else [key])
    ]


def _entry(form: Mapping[str, Any], identity: str, book: Fields, warnings: list[str]) -> LoreEntry:
    """An entry of World Info, its decorators and the book's settings worked in."""
    read = Fields(form, f"entry {identity}", warnings)
    decorators, content, unknown = _split_decorators(read.text("content"))
    if len(content) > MAX_TEXT:
        read.warn(f"`content` has more than {MAX_TEXT:,} characters; the rest is left out")
    for name in unknown:
        read.warn(f"decorator `@@{name}` is not supported")
    who = Fields(read.object("characterFilter"), f"entry {identity}", warnings)
    book_depth = book.whole("scan_depth", 0, MAX_SCAN, SCAN_DEPTH)
    recursive = book.flag("recursive_scanning", True)
    level = form.get("delayUntilRecursion")
    always = "activate" in decorators
    entry = {
        "name": read.text("comment"),
        "content": content[:MAX_TEXT].strip(),
        "keys": _stripped(read.texts("key")),
        "conditions": _conditions(read, decorators),
        "enabled": not read.flag("disable") and "dont_activate" not in decorators,
        "constant": read.flag("constant") or always,
        "order": read.whole("order", -(10**9), 10**9, 100),
        "priority": read.whole("priority", -(10**9), 10**9, 0),
        "outlet": read.text("outletName"),
        "probability": read.number("probability", 0, 100, 100)
        if read.flag("useProbability", True) and not always
        else 100.0,
        "scan_depth": read.whole("scanDepth", 0, MAX_SCAN, book_depth),
        "case_sensitive": read.flag("caseSensitive"),
        "whole_words": read.flag("matchWholeWords", True),
        "exclude_recursion": read.flag("excludeRecursion") or not recursive,
        "prevent_recursion": read.flag("preventRecursion") or not recursive,
        "recursion_level": int(level)
        if isinstance(level, bool)
        else read.whole("delayUntilRecursion", 0, 100, 0),
        "sticky": read.whole("sticky", 0, 10**6, 0),
        "cooldown": read.whole("cooldown", 0, 10**6, 0),
        "delay": read.whole("delay", 0, 10**6, 0),
        "groups": _stripped(read.text("group").split(",")),
        "group_override": read.flag("groupOverride"),
        "group_weight": read.whole("groupWeight", 0, 10**6, 100),
        "group_scoring": read.flag("useGroupScoring"),
        "ignore_budget": read.flag("ignoreBudget"),
        "drop_first": "ignore_on_max_context" in decorators,
        "scan_also": tuple(name for camel, name in _SCAN_ALSO.items() if read.flag(camel)),
        "characters": who.texts("names"),
        "tags": who.texts("tags"),
        "exclude_characters": who.flag("isExclude"),
        "triggers": read.texts("triggers"),
    }
    return LoreEntry(id=identity, **{**entry, **_place(read), **_decorated(decorators)})


def _conditions(read: Fields, decorators: Mapping[str, str]) -> tuple[Condition, ...]:
    """What is asked of other keys, once a key was found."""
    found = []
    secondary = _stripped(read.texts("keysecondary"))
    if secondary and read.flag("selective", True):
        found.append(Condition(secondary, _LOGICS[read.whole("selectiveLogic", 0, 3, 0)]))
    for name, logic in _ASKING.items():
        for line in decorators.get(name, "").split("\n"):
            if keys := _stripped(line.split(",")):
                found.append(Condition(keys, logic))
    return tuple(found)


def _stripped(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, texts)))


def _place(read: Fields) -> dict[str, Any]:
    """Position, depth and role."""
    position, role = read.data.get("position"), read.data.get("role")
    if isinstance(position, str) and position in POSITIONS:
        place = POSITIONS[position]
    else:
        place = _NUMBERED[read.whole("position", 0, len(_NUMBERED) - 1, 0)]
    if role in _ROLES:
        spoken: LoreRole = role
    else:
        spoken = _ROLES[read.whole("role", 0, len(_ROLES) - 1, 0)]
    return {"position": place, "depth": read.whole("depth", 0, MAX_SCAN, 4), "role": spoken}


def _split_decorators(content: str) -> tuple[dict[str, str], str, list[str]]:
    """The decorators in force, the text without the lines of any, and the unknown ones' names."""
    found: dict[str, str] = {}
    unknown: list[str] = []
    settled = False  # whether the chain of fallbacks has found one that works
    rest = content
    for _ in range(MAX_DECORATORS):
        line, newline, behind = rest.partition("\n")
        match = _DECORATOR.fullmatch(line.strip())
        if match is None:
            break
        if len(match[1]) == 2:
            settled = False
        name, value = match[2].lower(), (match[3] or "").strip()
        if not settled:
            settled = _works(name, value)
            if settled and name in _ASKING and name in found:
                found[name] += f"\n{value}"
            elif settled:
                found.setdefault(name, value)
            else:
                unknown.append(name)
        rest = behind if newline else ""
    return found, rest, unknown


def _decorated(decorators: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a `LoreEntry` that decorators put in place of its own."""
    said: dict[str, Any] = {}
    for name, value in decorators.items():
        if name not in _DECORATED:
            continue
        setting, read = _DECORATED[name]
        said.setdefault(setting, read(value))
        if setting == "depth":
            said.setdefault("position", "from_start" if "reverse" in name else "at_depth")
        if name == "position" and value.startswith(_PLACE):
            said["outlet"] = value.removeprefix(_PLACE)
    return said


def _works(name: str, value: str) -> bool:
    """Whether a decorator is supported and its value makes sense."""
    if name == "position" and value.startswith(_PLACE):
        return len(value) > len(_PLACE)
    if name == "priority":
        value = value.removeprefix("-")
    if name in _DECORATED and _DECORATED[name][1] is int:
        return (
            value.isascii() and value.isdigit() and len(value) <= (9 if name == "priority" else 4)
        )
    if name == "probability":
        return _PERCENT.fullmatch(value) is not None
    supported = name in _DECORATED or name in _ASKING or name in _BARE
    return supported and value in _ALLOWED.get(name, {value})
