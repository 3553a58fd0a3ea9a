"""Which program wrote a lorebook, told by what the file holds.

A file is a list of entries, an object that holds them, or one of these in a wrapper. The program
is told by marks at its head, else by the keys of its first entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from cards.characters.card import is_card
from cards.files import object_in
from cards.lore.programs import (
    AGNAI,
    AI_DUNGEON,
    BACKYARD,
    JANITOR,
    KOBOLD,
    NOVELAI,
    RISU,
    Program,
)
from cards.lore.wording import in_use

MAX_WRAPPERS = 3
"""Objects around a book; a list of one book is one, too."""

LOOKED_AT = 20
"""Entries by whose keys a program is told."""

WORLD_INFO, CARD_BOOK, V3 = "World Info", "book of a character card", "lorebook V3"
CHUB = "lorebook of Chub"


class Told(NamedTuple):
    """What a value was taken for.

    Args:
        form: what that is called.
        rows: its entries, as a list or by their names.
        head: what stands beside them; settings of the whole book.
        program: whose entries they are, if they are not in the words of World Info.
        beside: what the file holds that is no lore and is not read.
    """

    form: str
    rows: Any
    head: Mapping[str, Any]
    program: Program | None = None
    beside: tuple[str, ...] = ()


def told(value: Any, wrappers: int = 0) -> Told | None:
    """Which book a value is; None if it is none.

    Args:
        wrappers: objects that stand around it.
    """
    if wrappers > MAX_WRAPPERS:
        return None
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], dict) and not _kind(value[0]):
            return told(value[0], wrappers + 1)
        return _told_by_rows(value, {})
    if not isinstance(value, dict) or is_card(value):
        return None
    if not str(value.get("spec", "lorebook")).startswith("lorebook"):
        return None
    if _is_other(value):
        entries = value.get("entries")
        return _told_by_entries(value) if entries and _told_by_rows(_listed(entries), {}) else None
    return _told_by_mark(value) or _told_in_wrapper(value, wrappers + 1) or _told_by_entries(value)


_OF_CHARACTERS = {
    *("char_name", "char_persona", "aiName", "aiPersona", "character", "persona", "personality"),
    *("first_mes", "first_message", "firstMessage", "greeting", "mes_example", "creator_notes"),
    *("alternate_greetings", "sampleChat", "visualType", "example_dialogs", "world_scenario"),
}
_OF_CHATS = {
    *("messages", "history", "actions", "chat_metadata", "histories", "conversations", "turns"),
    *("message", "internal", "data_visible", "chat_messages", "mapping"),
}


def _is_other(value: Mapping[str, Any]) -> bool:
    """Whether an object is a character or a chat, which may have lore beside."""
    if "description" in value and not {"character_book", "characterBook"}.isdisjoint(value):
        return True
    return not (_OF_CHARACTERS | _OF_CHATS).isdisjoint(value)


def _told_by_mark(value: dict[str, Any]) -> Told | None:
    """By what a program writes at the head of its files."""
    entries, data = value.get("entries"), value.get("data")
    if "lorebookVersion" in value and isinstance(entries, list | dict):
        return Told(NOVELAI.form, entries, value, NOVELAI)
    if value.get("kind") == "memory" and isinstance(entries, list | dict):
        return Told(AGNAI.form, entries, value, AGNAI)
    if value.get("type") == "risu" and isinstance(data, list):
        return Told(RISU.form, data, {}, RISU)
    module = object_in(value, "module")
    if value.get("type") == "risuModule" and isinstance(module.get("lorebook"), list):
        beside = tuple(n for n in ("regex", "trigger", "assets", "cjs") if in_use(module.get(n)))
        return Told(RISU.form, module["lorebook"], {"name": module.get("name")}, RISU, beside)
    if str(value.get("spec", "")).startswith("lorebook") and isinstance(data, dict):
        return Told(V3, data.get("entries"), data)
    if isinstance(value.get("loreItems"), list):
        return Told(BACKYARD.form, value["loreItems"], value, BACKYARD)
    script = value.get("script")
    named = {"name": value.get("title")}
    if isinstance(script, str) and value.get("type") in ("lorebook", "advanced"):
        return Told(JANITOR.form, script, named, JANITOR)
    if isinstance(script, list) and (found := _told_by_rows(script, named)):
        return found
    return None


_WRAPPERS = (
    *("lorebook", "character_book", "characterBook", "book", "world_info", "worldInfo", "data"),
    *("worldinfo", "worldinfo_v2", "storyCards", "content", "definition", "embedded_lorebook"),
)


_OF_STORIES = ("prompt", "context", "memory", "story", "authorsNote", "ephemeralContext")


def _told_in_wrapper(value: dict[str, Any], wrappers: int) -> Told | None:
    """By what is inside an object that only wraps a book, or a story that holds one."""
    if wrappers > MAX_WRAPPERS or isinstance(value.get("entries"), list | dict):
        return None
    node = object_in(value, "node")
    if str(node.get("projectSpace") or node.get("fullPath") or "").startswith("lorebooks"):
        found = _told_in_wrapper(node, wrappers + 1) or _told_by_entries(node)
        return found and found._replace(form=CHUB, head={"name": node.get("name"), **found.head})
    for name in _WRAPPERS:
        inner = value.get(name)
        if name in ("content", "definition"):
            found = _told_in_wrapper(inner, wrappers + 1) if isinstance(inner, dict) else None
        else:
            found = told(inner, wrappers)
        if found:
            beside = tuple(key for key in _OF_STORIES if in_use(value.get(key)))
            named = {"name": value.get("name") or value.get("title")}
            head = {**named, **{key: one for key, one in found.head.items() if one is not None}}
            return found._replace(head=head, beside=(*found.beside, *beside))
    return None


def _told_by_entries(value: dict[str, Any]) -> Told | None:
    """By its entries, or as nothing but entries by their numbers."""
    entries = value.get("entries")
    if isinstance(entries, list | dict):
        rows = _listed(entries)
        found = _told_by_rows(rows, value)
        if found is None and _is_chat_like(rows):
            return None
        if found is None or found.program is None:
            return Told(found.form if found else WORLD_INFO, entries, value)
        return found
    if value and all(isinstance(row, dict) for row in value.values()):
        found = _told_by_rows(list(value.values()), {})
        return found and (found if found.program else found._replace(rows=value))
    return None


def _listed(entries: Any) -> list[Any]:
    """Entries as a list, also where they stand by their names."""
    if isinstance(entries, dict):
        return list(entries.values())
    return entries if isinstance(entries, list) else []


def _told_by_rows(rows: list[Any], head: Mapping[str, Any]) -> Told | None:
    """By the keys that most of the first entries have."""
    first = rows[:LOOKED_AT]
    kinds = Counter(kind for row in first if isinstance(row, dict) and (kind := _kind(row)))
    if not kinds or 2 * kinds.total() < len(first):
        return None
    form = kinds.most_common(1)[0][0]
    return Told(form, rows, head, BY_FORM.get(form))


def _is_chat_like(rows: list[Any]) -> bool:
    first = [row for row in rows[:LOOKED_AT] if isinstance(row, dict)]
    return bool(first) and all(_is_said(row) for row in first)


def _is_said(row: Mapping[str, Any]) -> bool:
    """Whether a row is a line of a chat, or an event of a story of ours."""
    if "key" in row or "keys" in row:
        return False
    return (
        isinstance(row.get("role"), str)
        or not {"mes", "msg", "is_user", "message", "from"}.isdisjoint(row)
        or ("text" in row and "order" in row)
    )


_JANITORS = {
    *("keysRaw", "keysecondaryRaw", "keywordsRaw", "inclusionGroupRaw", "activationMode"),
    *("keyMatchPriority", "minMessages", "prioritizeInclusion", "activationScript"),
}
_KOBOLDS = {"keyanti", "wigroup", "widisabled", "use_wpp", "key_list", "manual_text"}
_RISUS = {"secondkey", "insertorder", "alwaysActive"}
_NOVELAIS = {"contextConfig", "forceActivation", "searchRange", "keyRelative", "loreBiasGroups"}
_WORLD_INFO = {
    *("keysecondary", "selectiveLogic", "uid", "comment", "constant", "order", "position"),
    *("disable", "insertion_order", "enabled", "probability"),
}


def _kind(row: Mapping[str, Any]) -> str:
    """The form of which an entry is; empty if it is none."""
    names = row.keys()
    if _is_said(row):
        return ""
    if names >= {"uid", "key", "order", "disable"}:  # whatever else an app keeps in it
        return WORLD_INFO
    for form, marks in (
        (RISU.form, _RISUS),
        (NOVELAI.form, _NOVELAIS),
        (KOBOLD.form, _KOBOLDS),
        (JANITOR.form, _JANITORS if "keys" not in row or "key" in row else {"keysRaw"}),
    ):
        if not marks.isdisjoint(names):
            return form
    return _kind_by_shape(row)


def _kind_by_shape(row: Mapping[str, Any]) -> str:
    """The form of an entry that has no mark of a program."""
    if "keywords" in row and "entry" in row:
        return AGNAI.form
    if "keys" in row and ("entry" in row or "value" in row) and "content" not in row:
        return AI_DUNGEON.form
    if "keys" in row and "text" in row and "content" not in row:
        return NOVELAI.form
    if "content" not in row:
        return ""
    if "key" in row:
        if "insertion_order" in row and "uid" not in row and "order" not in row:
            return JANITOR.form
        if isinstance(row["key"], str) and isinstance(row.get("keysecondary", ""), str):
            return KOBOLD.form if "selective" in row and "uid" not in row else WORLD_INFO
        return WORLD_INFO
    if "keys" in row:
        return CARD_BOOK
    return WORLD_INFO if "uid" in row and not _WORLD_INFO.isdisjoint(row) else ""


BY_FORM = {
    program.form: program
    for program in (AGNAI, AI_DUNGEON, BACKYARD, JANITOR, KOBOLD, NOVELAI, RISU)
}
"""The programs by what their books are called."""
