"""Decorators of V3 lore: the `@@name value` lines at the head of an entry's content.

A line `@@@name value` is the fallback of the line above it, used where that one is not supported.
The first supported decorator of a name wins; unknown ones are left out of the text all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cards.lorebook import POSITIONS

_LINE = re.compile(r"(@{2,})([A-Za-z_]+)(?:[ \t]+(.*))?")

_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "activate_only_after": ("delay", int),
    "activate_only_every": ("only_every", int),
    "keep_activate_after_match": ("sticky", lambda _: -1),
    "dont_activate_after_match": ("cooldown", lambda _: -1),
    "is_greeting": ("greeting", int),
    "role": ("role", str),
    "position": ("position", POSITIONS.__getitem__),
    "scan_depth": ("scan_depth", int),
    "instruct_scan_depth": ("scan_depth", int),
    "depth": ("depth", int),
    "instruct_depth": ("depth", int),
    "reverse_depth": ("depth", int),
    "reverse_instruct_depth": ("depth", int),
}
"""The setting of an entry that a decorator stands for."""

_BARE = {"ignore_on_max_context", "additional_keys", "exclude_keys", "activate", "dont_activate"}
"""With these, all of V3 but `is_user_icon` and `disable_ui_prompt`, which are about a screen."""

_WORDS = {
    "role": {"system", "user", "assistant"},
    "position": {"after_desc", "before_desc", "personality", "scenario"},
}
MAX_LINES = 100


def split_decorators(content: str) -> tuple[dict[str, str], str, list[str]]:
    """The decorators in force, the text without the lines of any, and the unknown ones' names."""
    found: dict[str, str] = {}
    unknown: list[str] = []
    settled = True  # whether the chain of fallbacks has found one that works
    rest = content
    for _ in range(MAX_LINES):
        line, newline, behind = rest.partition("\n")
        match = _LINE.fullmatch(line.strip())
        if match is None:
            break
        if len(match[1]) == 2:
            settled = False
        name, value = match[2].lower(), (match[3] or "").strip()
        if not settled:
            settled = _works(name, value)
            if settled:
                found.setdefault(name, value)
            else:
                unknown.append(name)
        rest = behind if newline else ""
    return found, rest, unknown


def settings_of(decorators: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a `LoreEntry` that decorators put in place of its own."""
    said: dict[str, Any] = {}
    for name, value in decorators.items():
        if name not in _SETTINGS:
            continue
        setting, read = _SETTINGS[name]
        said.setdefault(setting, read(value))
        if setting == "depth":
            said.setdefault("position", "from_start" if "reverse" in name else "at_depth")
    return said


def _works(name: str, value: str) -> bool:
    """Whether a decorator is supported and its value makes sense."""
    if name in _SETTINGS and _SETTINGS[name][1] is int:
        return value.isascii() and value.isdigit() and len(value) <= 4
    return name in (_SETTINGS.keys() | _BARE) and value in _WORDS.get(name, {value})
