"""Lorebooks: one model for the book in a card, a stand-alone V3 book and World Info.

Settings of a whole book are resolved into its entries, so an entry means the same wherever it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

Logic = Literal["and_any", "not_all", "not_any", "and_all"]
LoreRole = Literal["system", "user", "assistant"]
Position = Literal[
    "before_char",
    "after_char",
    "before_note",
    "after_note",
    "at_depth",
    "before_examples",
    "after_examples",
    "outlet",
    "personality",
    "scenario",
    "from_start",
]
"""Where an entry stands. `at_depth` counts messages from the end, `from_start` from the first."""

SCAN_DEPTH = 2
"""Messages that an entry looks back, if neither it nor its book says how many."""

HASHED = 20
"""Entries by which books are told apart at first sight."""

POSITIONS: dict[str, Position] = {
    **{name: name for name in get_args(Position)},
    **{"before_desc": "before_char", "after_desc": "after_char"},
}
"""Every name of a position; the first eight are in the order of World Info's numbers."""


class Condition(NamedTuple):
    """Secondary keys, and what must hold of them once a key was found."""

    keys: tuple[str, ...]
    logic: Logic = "and_any"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoreEntry:
    """An entry. Counts are in messages."""

    id: str
    name: str = ""
    content: str = ""
    keys: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    enabled: bool = True
    constant: bool = False
    order: int = 100
    """Higher is later in the prompt, and first to the budget."""
    priority: int = 0
    """Lower is left out first."""
    position: Position = "before_char"
    depth: int = 4
    role: LoreRole = "system"
    outlet: str = ""
    probability: float = 100.0
    """Percent."""
    scan_depth: int = SCAN_DEPTH
    case_sensitive: bool = False
    whole_words: bool = True
    exclude_recursion: bool = False
    """Not found in other entries."""
    prevent_recursion: bool = False
    """Its own text finds no others."""
    recursion_level: int = 0
    """Above 0: found in other entries only, from this level on."""
    sticky: int = 0
    """Stays for so many messages once found; -1 for good."""
    cooldown: int = 0
    """Stays away for so many messages afterwards; -1 for good."""
    delay: int = 0
    """Waits until the chat has so many messages."""
    only_every: int = 0
    """Only when the number of messages is a multiple of it."""
    groups: tuple[str, ...] = ()
    """Of a group, one entry wins."""
    group_override: bool = False
    group_weight: int = 100
    group_scoring: bool = False
    ignore_budget: bool = False
    drop_first: bool = False
    """Left out before all others when the budget is short."""
    greeting: int | None = None
    """Only in chats that began with this greeting; 0 is the first message."""
    scan_also: tuple[str, ...] = ()
    """Fields of the card that are scanned too, such as `character_description`."""
    characters: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    exclude_characters: bool = False
    """`characters` and `tags` name who is left out, not who is meant."""
    triggers: tuple[str, ...] = ()
    """Kinds of turns it takes part in; empty for all."""
    rank: int = 0
    """Of the book in a stack: 0 is the card's own, which goes before world books."""
    source: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The entry as its file has it, by which it is written back."""


@dataclass(frozen=True)
class Lorebook:
    """A book; equal to any with the same name, budget and entries."""

    entries: tuple[LoreEntry, ...] = ()
    name: str = ""
    token_budget: int | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)
    form: str = field(default="lorebook", compare=False)
    """What the file was taken for."""
    note: str = field(default="", compare=False)
    """That entries were left out, if some were."""
    source: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The book as its file has it, without its entries; None if that is in words of another."""

    def __hash__(self) -> int:
        """Of a few entries; to read all 5,000 takes as long as a turn may."""
        some = tuple(entry.content for entry in self.entries[:HASHED])
        return hash((self.name, self.token_budget, len(self.entries), some))


def stack(*books: Lorebook) -> Lorebook:
    """Several books as one. The first is the card's own and goes before the others."""
    full = [book for book in books if book.entries]
    if len(full) < 2:
        return full[0] if full else Lorebook()
    entries = [
        replace(entry, id=f"{rank}.{entry.id}", rank=rank)
        for rank, book in enumerate(full)
        for entry in book.entries
    ]
    budgets = [book.token_budget for book in full if book.token_budget is not None]
    return Lorebook(
        entries=tuple(entries),
        name=" + ".join(book.name for book in full if book.name),
        token_budget=sum(budgets) if len(budgets) == len(full) else None,
        warnings=tuple(warning for book in full for warning in book.warnings),
        note="; ".join(book.note for book in full if book.note),
    )
