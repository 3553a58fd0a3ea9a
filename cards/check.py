"""What is odd in a file, for whoever brings it: on the terminal, to the handler, on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cards.characters.card import Card, to_persona
from cards.lore.keys import Key, KeyIndex
from cards.lore.lorebook import Lorebook
from cards.lore.of_card import book_of
from cards.macros import Scope, oddities
from cards.read import Thing
from schemas.budget import MACRO_CHARACTERS, Budget, Purse
from schemas.request import Persona

MAX_TOLD = 8
"""Warnings that a person is told of beside something else."""


def warnings_of(thing: Thing) -> list[str]:
    """What of a thing was not understood."""
    match thing:
        case Card():
            return [*thing.warnings, *book_of(thing).warnings]
        case Persona():
            return []
    return list(thing.warnings)


LOOKED_AT = 10 * MACRO_CHARACTERS
"""Characters that the macros of a file may read and insert while they are checked: 200,000 macros,
which take 2 s."""


def shortened(warnings: list[str]) -> list[str]:
    """As many warnings as a person reads, and how many there are besides."""
    left = len(warnings) - MAX_TOLD
    if left <= 0:
        return warnings
    return [*warnings[:MAX_TOLD], f"{left:,} warnings more; `python -m cards validate` shows all"]


def check(thing: Thing) -> list[str]:
    """What of a thing was not understood, and what will not do what its author expects.

    Raises:
        BadRequest: it cannot be used at all.
    """
    match thing:
        case Card():
            persona, book = to_persona(thing), book_of(thing)
            texts = [*_texts(persona), *_entries(book, persona)]
            return [*thing.warnings, *book.warnings, *_macros(texts), *_keys(book)]
        case Persona():
            return _macros(_texts(thing))
        case Lorebook():
            return [*thing.warnings, *_macros(_entries(thing)), *_keys(thing)]
    return warnings_of(thing)


def _texts(persona: Persona) -> list[tuple[str, Scope]]:
    """The texts of a card in which macros are filled in."""
    fields = persona.model_dump(exclude={"extensions", "name", "language"})
    texts = [text for text in fields.values() if isinstance(text, str)]
    return [(text, Scope.of(persona, "User", text)) for text in texts]


def _entries(book: Lorebook, persona: Persona | None = None) -> list[tuple[str, Scope]]:
    """The texts of a book, where the card that they may name is known or not."""
    if persona is None:
        persona = Persona(name="Character", description=" ", personality=" ", scenario=" ")
    return [(entry.content, Scope.of(persona, "User", entry.content)) for entry in book.entries]


def _macros(texts: Iterable[tuple[str, Scope]]) -> list[str]:
    """What is written like a macro and is none, or has no meaning here."""
    unknown, budget = set[str](), Budget(characters=LOOKED_AT)
    for text, scope in texts:
        if budget.characters <= 0:
            break
        unknown |= oddities(text, scope, budget).unknown
    removed, ended = budget.removed, budget.characters <= 0
    return [
        *(["it has more macros than are looked at here; some are not checked"] * ended),
        *(f"unknown macro `{{{{{name}}}}}` stays as text" for name in sorted(unknown)),
        *(f"macro `{{{{{name}}}}}` is left out: it is not supported" for name in sorted(removed)),
    ]


def _keys(book: Lorebook) -> list[str]:
    """Keys in slashes that can never match, and why."""
    index = KeyIndex([Key(key) for key in {key for entry in book.entries for key in entry.keys}])
    index.found("", Budget(patterns=Purse(math.inf)))  # tries each
    faults = sorted((key.text, fault) for key, fault in index.faults)
    return [f"key `{text}` {fault}" for text, fault in faults]
