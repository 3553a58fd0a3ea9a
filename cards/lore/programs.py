"""Lorebooks of other programs, entry by entry in the words of World Info.

A reader takes the settings it knows from a `Row`; what is left and in use is told, and kept in the
entry's `extensions` under the program's name, so that it is written back. What only we have words
for (several conditions) goes where we keep our own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from cards.files import object_in
from cards.lore.lorebook import SCAN_DEPTH
from cards.lore.wording import OWN, flag, in_use, split_keys

MAX_CLAUSES = 64
"""Conditions that combined keys of one entry may come to."""

SEARCH_RANGE = 1_000
"""Characters that NovelAI looks back by default; World Info looks back two messages."""

CHARACTERS = SEARCH_RANGE // SCAN_DEPTH
"""Of a story, that are taken as one message."""


class Row:
    """The settings of one entry, of which a reader takes those it understands.

    Args:
        data: the entry as it was parsed.
        usual: settings without a place here, at the values that mean nothing.
    """

    def __init__(self, data: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
        self._data, self._usual = data, usual
        self._taken: set[str] = set()

    def take(self, *names: str) -> Any:
        """The first of these that says anything; all of them count as understood."""
        self._taken.update(names)
        found = [value for name in names if (value := self._at(name)) is not None]
        return next(filter(in_use, found), found[0] if found else None)

    def text(self, *names: str) -> str | None:
        """The first of these that is a text; a number is written out."""
        values = [self.take(name) for name in names]
        texts = [
            str(v) for v in values if isinstance(v, str | int | float) and not isinstance(v, bool)
        ]
        return next(filter(str.strip, texts), texts[0] if texts else None)

    def keys(self, *names: str) -> list[str]:
        """Keys in a list, or in one text with commas."""
        value = self.take(*names)
        if isinstance(value, str):
            return split_keys(value)
        listed = value if isinstance(value, list) else []
        return [str(key) for key in listed if isinstance(key, str | int | float)]

    def rest(self) -> dict[str, Any]:
        """What is in use and was not taken, by names such as `contextConfig.tokenBudget`."""
        found = {}
        for name, value in self._data.items():
            inner = value.items() if isinstance(value, dict) and name not in self._taken else ()
            parts = {f"{name}.{key}": part for key, part in inner} or {name: value}
            for place, part in parts.items():
                usual = self._usual.get(place, ())
                known = part in usual if isinstance(usual, tuple) else part == usual
                if place not in self._taken and in_use(part) and not known and usual is not None:
                    found[place] = part
        return found

    def _at(self, name: str) -> Any:
        outer, dot, inner = name.partition(".")
        return object_in(self._data, outer).get(inner) if dot else self._data.get(name)


@dataclass(frozen=True)
class Program:
    """How one program writes an entry.

    Args:
        name: of the program.
        form: what its books are called.
        entry: an entry in the words of World Info; without `content` where it has no text.
        usual: settings without a place here that need no word: at which value, at which of several
            (a tuple), or whatever they are (None).
    """

    name: str
    form: str
    entry: Callable[[Row], dict[str, Any]]
    usual: Mapping[str, Any] = field(default_factory=dict)


def _janitor(row: Row) -> dict[str, Any]:
    chance = row.take("probability")
    if isinstance(chance, int | float) and 0 < chance <= 1:
        chance = 100 * chance
    placement, side = str(row.take("placement") or ""), row.take("placementPosition")
    place: Any = {"personality": "personality", "scenario": "scenario"}.get(placement)
    whole = row.take("matchWholeWords")
    known = placement in ("", "default", "personality", "scenario")
    return {
        "left": {} if known else {"placement": placement},
        "uid": row.take("id"),
        "key": row.keys("key", "keys", "keysRaw", "keywordsRaw", "keywords"),
        "keysecondary": row.keys("keysecondary", "keysecondaryRaw", "secondary_keys"),
        "comment": row.take("name", "comment", "title"),
        "content": row.text("content"),
        "constant": row.take("constant"),
        "selectiveLogic": row.take("selectiveLogic"),
        "order": row.take("insertion_order", "order"),
        "priority": row.take("priority"),
        "enabled": row.take("enabled"),
        "disable": row.take("disable"),
        "probability": chance,
        "position": place or row.take("position") or (0 if side == "before" else None),
        "depth": row.take("depth"),
        "caseSensitive": row.take("case_sensitive", "caseSensitive"),
        "matchWholeWords": False if whole is None else whole,
        "group": row.take("inclusionGroupRaw", "inclusionGroup"),
        "groupOverride": row.take("prioritizeInclusion"),
        "groupWeight": row.take("groupWeight"),
        "delay": row.take("minMessages"),
        "excludeRecursion": row.take("excludeRecursion", "exclude_recursion"),
        "preventRecursion": row.take("preventRecursion", "prevent_recursion"),
    }


def _novelai(row: Row) -> dict[str, Any]:
    text = row.text("text")
    if text is not None:
        around = [row.take(f"contextConfig.{name}") for name in ("prefix", "suffix")]
        head, tail = (part if isinstance(part, str) else "" for part in around)
        text = f"{head}{text}{tail}".strip() if text.strip() else ""
    plain, combined = [], []
    for key in row.keys("keys"):
        parts = [part.strip() for part in key.split(" & ")]
        if key.startswith("/"):
            plain.append(_as_javascript(key))
        elif len(parts) > 1 and all(parts):
            combined.append(parts)
        else:
            plain.append(key)
    keys, conditions, left = _any_of(plain, combined)
    groups = row.take("loreBiasGroups")
    biased = [
        group
        for group in (groups if isinstance(groups, list) else ())
        if isinstance(group, dict) and group.get("phrases")
    ]
    back = row.take("searchRange")
    is_own = isinstance(back, int | float) and back > 0 and back != SEARCH_RANGE
    depth = math.ceil(back / CHARACTERS) if is_own else None
    return {
        "uid": row.take("id"),
        "key": keys,
        "comment": row.take("displayName"),
        "content": text,
        "enabled": row.take("enabled"),
        "constant": row.take("forceActivation"),
        "priority": row.take("contextConfig.budgetPriority"),
        "scanDepth": depth,
        "excludeRecursion": not row.take("nonStoryActivatable"),
        "extensions": {OWN: {"conditions": conditions}} if conditions else {},
        "left": {"combined keys": left, "loreBiasGroups": biased},
    }


def _as_javascript(key: str) -> str:
    """A pattern of NovelAI: over lines unless it says `-m`; a flag after a minus is off."""
    pattern, slash, flags = key.rpartition("/")
    if not pattern or not re.fullmatch(r"(?:-?[imsu])*", flags):
        return key
    off = {flags[at + 1] for at, sign in enumerate(flags) if sign == "-"}
    on = dict.fromkeys(flag for flag in f"{flags}m" if flag != "-" and flag not in off)
    return f"{pattern}{slash}{''.join(on)}"


def _any_of(
    plain: list[str], combined: list[list[str]]
) -> tuple[list[str], list[tuple[list[str], str]], list[str]]:
    """Keys of which one is enough, and combined ones that must all be there, as keys and
    conditions that hold together; and what is left because it would be too many of them."""
    kept: list[list[str]] = []
    clauses, left = 1, []
    for parts in combined:
        if clauses * len(parts) <= MAX_CLAUSES:
            kept.append(parts)
            clauses *= len(parts)
        else:
            left.append(" & ".join(parts))
    first, *others = (list(dict.fromkeys([*plain, *chosen])) for chosen in product(*kept))
    return first, [(keys, "and_any") for keys in others], left


def _agnai(row: Row) -> dict[str, Any]:
    return {
        "uid": row.take("id"),
        "key": [_wildcards(key) for key in row.keys("keywords", "keys")],
        "keysecondary": row.keys("secondaryKeys"),
        "selective": row.take("selective"),
        "comment": row.take("name", "comment"),
        "content": row.text("entry", "content"),
        "priority": row.take("priority"),
        "order": row.take("weight"),
        "enabled": row.take("enabled"),
        "constant": row.take("constant"),
        "position": row.take("position"),
    }


def _wildcards(key: str) -> str:
    """A keyword of Agnai, in which `*` stands for letters and `?` for one, as a pattern."""
    if key.startswith("/") or not {"*", "?"} & set(key) or not key.strip("*? "):
        return key
    letter = r"[\p{L}\p{N}_]"
    words = _SYNTAX.sub(r"\\\g<0>", key).replace(r"\*", f"{letter}*").replace(r"\?", letter)
    return f"/(?<!{letter}){words}(?!{letter})/iu"


_SYNTAX = re.compile(r"[\\^$.*+?()\[\]{}|/]")
"""What JavaScript wants to be escaped in a pattern."""


def _risu(row: Row) -> dict[str, Any]:
    mode = row.take("mode")
    key = row.take("key")
    pattern = flag(row.take("useRegex")) and isinstance(key, str)
    secondary = row.keys("secondkey", "secondKey")
    own = row.take("extentions.risu_case_sensitive", "extensions.risu_case_sensitive")
    return {
        "uid": row.take("id"),
        "key": [_in_slashes(key)] if pattern else row.keys("key", "keys"),
        "keysecondary": secondary,
        "selective": row.take("selective") or False,
        "comment": row.take("comment", "name"),
        "content": row.text("content"),
        "order": row.take("insertorder", "insertOrder"),
        "constant": bool(flag(row.take("alwaysActive"))) or mode == "constant",
        "probability": row.take("activationPercent"),
        "caseSensitive": own,
        "matchWholeWords": False,
        "left": {"mode": mode if mode in ("child", "multiple") else None},
    }


def _in_slashes(pattern: str) -> str:
    """A pattern, in slashes as a key is one."""
    if pattern.startswith("/"):
        return pattern
    escaped = re.sub(r"(\\.)|/", lambda found: found[1] or r"\/", pattern, flags=re.DOTALL)
    return f"/{escaped}/"


def _ai_dungeon(row: Row) -> dict[str, Any]:
    return {
        "uid": row.take("id"),
        "key": row.keys("keys", "triggers"),
        "comment": row.take("title", "name"),
        "content": row.text("value", "entry"),
        "disable": bool(row.take("deletedAt")) or None,
    }


def _kobold(row: Row) -> dict[str, Any]:
    secondary = row.keys("keysecondary")
    selective = row.take("selective")
    conditions = [(secondary, "and_any")] if secondary and flag(selective) is not False else []
    if without := row.keys("keyanti"):
        conditions.append((without, "not_any"))
    return {
        "key": row.keys("key", "keys", "key_list"),
        "comment": row.take("comment", "title"),
        "content": row.text("content", "manual_text"),
        "constant": row.take("constant"),
        "probability": row.take("probability"),
        "disable": row.take("widisabled"),
        "extensions": {OWN: {"conditions": conditions}} if conditions else {},
    }


def _backyard(row: Row) -> dict[str, Any]:
    return {
        "uid": row.take("id"),
        "key": row.keys("key", "keys"),
        "content": row.text("value"),
        "disable": bool(row.take("deletedAt")) or None,
    }


def _ignored(*names: str) -> dict[str, None]:
    """Settings for people, or for the program's own screen."""
    return dict.fromkeys(names)


JANITOR = Program(
    "JanitorAI",
    "lorebook of JanitorAI",
    _janitor,
    {
        **_ignored("category", "tags", "comment", "keysRaw", "extensions", "placementPosition"),
        **_ignored("selective", "useProbability", "addMemo", "displayIndex", "uid", "type"),
        "activationMode": ("standard", "default"),
    },
)
NOVELAI = Program(
    "NovelAI",
    "lorebook of NovelAI",
    _novelai,
    {
        **_ignored("lastUpdatedAt", "category", "hidden", "contextConfig.maximumTrimType"),
        "contextConfig.tokenBudget": (1, 2048),
        "contextConfig.reservedTokens": (0, 1),
        "contextConfig.trimDirection": ("trimBottom", "doNotTrim"),
        "contextConfig.insertionType": "newline",
        "contextConfig.insertionPosition": -1,
    },
)
AGNAI = Program(
    "Agnai", "memory book of Agnai", _agnai, _ignored("_id", "userId", "createdAt", "updatedAt")
)
RISU = Program(
    "Risu",
    "lorebook of Risu",
    _risu,
    {
        **_ignored("bookVersion", "loreCache", "folder", "extentions", "extensions"),
        "mode": "normal",
    },
)
AI_DUNGEON = Program(
    "AI Dungeon",
    "world info of AI Dungeon",
    _ai_dungeon,
    _ignored(
        *("type", "description", "useForCharacterCreation", "createdAt", "updatedAt", "hidden"),
        *("genre", "attributes", "isSelected", "factionName", "publicId", "__typename", "image"),
    ),
)
KOBOLD = Program(
    "KoboldAI",
    "world info of KoboldAI",
    _kobold,
    _ignored(
        *("wigroup", "folder", "num", "init", "uid", "token_length", "used_in_game", "sort_order"),
        *("manual_text", "object_type", "wpp.type", "wpp.format"),
    ),
)
BACKYARD = Program(
    "Backyard", "lore of Backyard", _backyard, _ignored("order", "createdAt", "updatedAt", "type")
)


def entries_of(
    program: Program, rows: Iterable[Any], count: Callable[[Iterable[str]], object]
) -> list[Any]:
    """The entries of a program's book in the words of World Info; one without text as it is.

    Args:
        count: told the settings of each entry that have no place here.
    """
    found: list[Any] = []
    for data in rows:
        if not isinstance(data, dict):
            found.append(data)
            continue
        row = Row(data, program.usual)
        form = program.entry(row)
        more = form.pop("left", {})
        left = {**row.rest(), **{name: value for name, value in more.items() if in_use(value)}}
        if form.get("content") is None:
            found.append(data)
            continue
        count(list(left))
        beside = {**form.get("extensions", {}), **({program.name: left} if left else {})}
        form = {name: value for name, value in form.items() if value is not None}
        found.append({**form, "extensions": beside})
    return found
