"""An entry of a lorebook in the words of its form, however loosely an app or a person wrote it.

Apps write the same setting under several names, numbers and flags as text, and keys as one text.
Here they are put into the words of World Info, or of the book of a card where an entry has `keys`;
what they mean is read in `cards.lore.world_info`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from cards.files import object_in

OWN = "iyagi"
"""Key of `extensions` under which we keep what a form has no place for."""

_ALIASES: dict[str, tuple[str, ...]] = {
    "uid": ("id",),
    "key": ("keys", "keywords", "keysRaw", "keywordsRaw"),
    "keysecondary": (
        *("secondaryKeys", "secondary_keys", "keySecondary", "secondkey", "keysecondaryRaw"),
    ),
    "comment": ("name", "title", "displayName"),
    "content": ("entry", "text"),
    "order": ("insertion_order", "insertionOrder", "insertorder"),
    "group": ("inclusionGroup", "inclusionGroupRaw"),
}
"""Settings of World Info, and other names under which apps write them."""

_CARD_ALIASES = {
    "insertion_order": ("order", "insertionOrder"),
    "secondary_keys": ("secondaryKeys", "keysecondary"),
    "case_sensitive": ("caseSensitive",),
    "name": ("title", "displayName"),
    "content": ("entry", "text"),
}
_CARD = {
    *("id", "keys", "secondary_keys", "comment", "name", "content", "constant", "selective"),
    *("insertion_order", "enabled", "priority", "case_sensitive", "position", "extensions"),
    *("use_regex",),
}
"""What an entry of a card's book says itself."""

SETTINGS = {
    *("uid", "key", "keysecondary", "comment", "content", "constant", "selective"),
    *("selectiveLogic", "order", "priority", "position", "depth", "role", "disable", "outletName"),
    *("probability", "useProbability", "scanDepth", "caseSensitive", "matchWholeWords"),
    *("excludeRecursion", "preventRecursion", "delayUntilRecursion", "sticky", "cooldown", "delay"),
    *("group", "groupOverride", "groupWeight", "useGroupScoring", "ignoreBudget"),
    *("matchPersonaDescription", "matchCharacterDescription", "matchCharacterPersonality"),
    *("matchCharacterDepthPrompt", "matchScenario", "matchCreatorNotes"),
    *("characterFilter", "triggers", "extensions"),
}
"""Settings of World Info that are read."""

_CAMEL = {re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", n): n for n in SETTINGS}
"""Settings as apps write them in snake case."""

_SILENT = {
    *("addMemo", "displayIndex", "vectorized", "automationId", "useRegex", "use_regex", "linked"),
    *("embedded", "weight", "characterFilterNames", "characterFilterTags", "folder", "uuid"),
    *("characterFilterExclude", "createdAt", "updatedAt", "hash"),
}
"""What an app keeps for its own screen, or what says the same as another setting."""

_NO_PLACE = ("vectorized", "automationId")
"""Settings of World Info that have no place here: said where they are used."""

_FLAGS = {
    *("constant", "selective", "disable", "enabled", "useProbability", "caseSensitive"),
    *("case_sensitive", "matchWholeWords", "excludeRecursion", "preventRecursion", "groupOverride"),
    *("useGroupScoring", "ignoreBudget", "vectorized", "use_regex", "matchPersonaDescription"),
    *("matchCharacterDescription", "matchCharacterPersonality", "matchCharacterDepthPrompt"),
    *("matchScenario", "matchCreatorNotes", "recursive_scanning", "use_probability"),
    *("match_whole_words", "exclude_recursion", "prevent_recursion", "group_override"),
    *("use_group_scoring", "ignore_budget"),
}
_OFF = {"false", "no", "off", "0"}

_PATTERN = re.compile(r"\s*+/(?:[^/\\]|\\.)++/[dgimsuvy]*+(?=\s*+(?:,|$))", re.DOTALL)
"""A pattern in slashes that ends where a key does; a slash inside it is escaped, as JavaScript
wants it."""

_POSITIONS = {
    **dict.fromkeys(("before", "beforechar", "beforecharacter", "worldinfobefore"), 0),
    **dict.fromkeys(("after", "afterchar", "aftercharacter", "worldinfoafter"), 1),
    **dict.fromkeys(("antop", "beforean", "beforenote", "authornotetop"), 2),
    **dict.fromkeys(("anbottom", "afteran", "afternote", "authornotebottom"), 3),
    **dict.fromkeys(("atdepth", "depth", "indepth", "d"), 4),
    **dict.fromkeys(("emtop", "beforeem", "beforeexamples"), 5),
    **dict.fromkeys(("embottom", "afterem", "afterexamples"), 6),
    "outlet": 7,
}
_LOGICS = {"andany": 0, "and": 0, "or": 0, "notall": 1, "notany": 2, "not": 2, "andall": 3}
_ROLES = {"system": 0, "user": 1, "human": 1, "assistant": 2, "char": 2, "character": 2, "bot": 2}

_CHOICES = {"position": (_POSITIONS, 7), "selectiveLogic": (_LOGICS, 3), "role": (_ROLES, 2)}
"""Settings that are numbers: the words for them, and the highest number."""


def settled(
    entry: Mapping[str, Any], warn: Callable[[str], None], unplaced: Counter[str]
) -> dict[str, Any]:
    """An entry in the words of its form; the entry itself is left as it is.

    Args:
        warn: told what cannot be meant as it is written.
        unplaced: settings in use that have no place here are counted in it.
    """
    words = _card_words if "keys" in entry and not entry.get("key") else _world_info_words
    form = words(entry, unplaced)
    if inner := object_in(form, "extensions"):
        form["extensions"] = inner = dict(inner)
    for part in (form, inner):
        for name, value in part.items():
            if isinstance(value, str) and name in _FLAGS:
                part[name] = flag(value)
        _settle_choices(part, warn)
    unplaced.update(n for n in _NO_PLACE if form.get(n) or inner.get(n))
    return form


def _settle_choices(form: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Puts numbers for what was chosen by a word; a number that is not known is left out."""
    for name, (known, most) in _CHOICES.items():
        value = form.get(name)
        if isinstance(value, str) and (word := re.sub("[^a-z]", "", value.lower())) in known:
            form[name] = known[word]
        elif (number := _number(value)) is not None and not 0 <= number <= most:
            warn(f"`{name}` is {number:g}, which is not known; left out")
            form[name] = None
    if isinstance(level := form.get("delayUntilRecursion"), str) and _number(level) is None:
        form["delayUntilRecursion"] = flag(level)


def flag(value: Any) -> Any:
    """A flag that may be written as a text; None if it says nothing."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    return None if word in ("", "null", "none") else word not in _OFF


def in_use(value: Any) -> bool:
    """Whether a setting says anything: an empty one, or one that is off, does not."""
    return value not in (None, "", False, 0, [], {})


def split_keys(text: str) -> list[str]:
    """Keys that were written as one text with commas; a pattern in slashes keeps its own."""
    keys: list[str] = []
    at = 0
    while at < len(text):
        pattern = _PATTERN.match(text, at)
        comma = text.find(",", pattern.end() if pattern else at)
        end = comma if comma >= 0 else len(text)
        keys.append(text[at:end].strip())
        at = end + 1
    return [key for key in keys if key]


def _number(value: Any) -> float | None:
    """A number, also one that is written as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _camel(name: str) -> str:
    """A setting by World Info's name for it, if it is one; else as it is."""
    return _CAMEL.get(name, name)


def _listed(value: Any) -> Any:
    return split_keys(value) if isinstance(value, str) else value


def _first(entry: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of these settings that says anything."""
    found = [entry[name] for name in names if entry.get(name) is not None]
    return next(filter(in_use, found), found[0] if found else None)


def _is_off(entry: Mapping[str, Any]) -> bool | None:
    """Whether an entry is switched off by any of the names for that; None if it says nothing."""
    off = [flag(entry.get(name)) for name in ("disable", "disabled")]
    on = [flag(entry.get(name)) for name in ("enabled", "enable")]
    said = [*(bool(v) for v in off if v is not None), *(not v for v in on if v is not None)]
    return any(said) if said else None


def _card_words(entry: Mapping[str, Any], unplaced: Counter[str]) -> dict[str, Any]:
    """An entry of a card's book: what it says in World Info's words goes to `extensions`."""
    form = {name: value for name, value in entry.items() if name in _CARD}
    for name, others in _CARD_ALIASES.items():
        form[name] = _first(entry, (name, *others))
    form["keys"] = _listed(form["keys"])
    form["secondary_keys"] = _listed(form["secondary_keys"])
    if (off := _is_off(entry)) is not None:
        form["enabled"] = not off
    beside = {"disable", "disabled", "enable", *chain(*_CARD_ALIASES.values())}
    rest = {name: value for name, value in entry.items() if name not in _CARD | beside}
    more = {name: rest[name] for name in rest if _camel(name) in SETTINGS | set(_NO_PLACE)}
    unplaced.update(n for n in rest.keys() - more.keys() - _SILENT if in_use(rest[n]))
    if more:
        if form["secondary_keys"] and "selective" not in entry:
            form["selective"] = "selectiveLogic" in more  # as in World Info, where it is from
        form["extensions"] = {**more, **object_in(form, "extensions")}
    return form


def _world_info_words(entry: Mapping[str, Any], unplaced: Counter[str]) -> dict[str, Any]:
    """An entry of World Info; settings that only its `extensions` hold count, too."""
    inner = object_in(entry, "extensions")
    form = {
        setting: value
        for name, value in inner.items()
        if (setting := _camel(name)) in SETTINGS - _ALIASES.keys() or name == OWN
    }
    form.update({_camel(name): value for name, value in entry.items() if name in _CAMEL})
    form.update({name: value for name, value in entry.items() if _camel(name) == name})
    for name, others in _ALIASES.items():
        form[name] = _first(form, (name, *others))
        for other in others:
            form.pop(other, None)
    form["key"], form["keysecondary"] = _listed(form["key"]), _listed(form["keysecondary"])
    form["disable"] = _is_off(entry) or False
    for name in ("disabled", "enabled", "enable"):
        form.pop(name, None)
    if isinstance(form["group"], list):
        form["group"] = ",".join(map(str, form["group"]))
    names, tags = entry.get("characterFilterNames"), entry.get("characterFilterTags")
    if form.get("characterFilter") is None and (names or tags):
        exclude = entry.get("characterFilterExclude")
        form["characterFilter"] = {"names": names, "tags": tags, "isExclude": exclude}
    unplaced.update(n for n in form.keys() - SETTINGS - _SILENT - {OWN} if in_use(form[n]))
    return form
