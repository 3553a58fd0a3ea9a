"""Which events of a story may be told: the clock, and who knows."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from schemas.request import Persona, StoryEvent


def has_happened(event: StoryEvent, position: int | None) -> bool:
    """Whether the story's clock has reached the event; without a clock, all has happened."""
    return position is None or event.order <= position


def may_know(event: StoryEvent, names: frozenset[str]) -> bool:
    """Whether the bearer of these names (see `names_of`) knows of the event.

    Public events are known to all, witnessed ones to who was present or is named in
    `known_by`, secret ones only to who is named in `known_by`.
    """
    if event.visibility == "public" or not names.isdisjoint(map(_folded, event.known_by)):
        return True
    return event.visibility == "witnessed" and not names.isdisjoint(map(_folded, event.characters))


def told_and_hidden(
    events: Sequence[StoryEvent], persona: Persona, position: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of n events, (n,) bool each: those that have happened and the character may know of, and
    those that have happened and only the narrator may see."""
    names = names_of(persona)
    happened = np.array([has_happened(event, position) for event in events], dtype=bool)
    knows = np.array([may_know(event, names) for event in events], dtype=bool)
    return happened & knows, happened & ~knows


def names_of(persona: Persona) -> frozenset[str]:
    """The names that an event may call the character by."""
    return frozenset(_folded(name) for name in _all(persona))


def _all(persona: Persona) -> Iterable[str]:
    return (persona.name, *persona.aliases)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()
