"""Lore as story events, so that a request carries it without a field of its own.

An event of lore is public, has always happened (order 0) and keeps what an event has no place for
in `extensions["lore"]`. `split_lore` takes such events out of a story again, as the same book;
`in_force` leaves out what never takes part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cards.lore.lorebook import HASHED, Lorebook, LoreEntry
from cards.lore.own import ENTRY, NAMES, dumped
from cards.lore.scene import Activation
from schemas.errors import BadRequest
from schemas.kept import Kept
from schemas.rag import RAGChunk
from schemas.request import LORE, StoryEvent

MAX_KEYWORDS = 200
MAX_KEYWORD = 1_000

NEAR = 10
"""Messages from the end; by custom, notes that shall be heeded stand at a depth of 4."""


def to_events(book: Lorebook) -> list[StoryEvent]:
    """The entries of a book as events, those that are switched off or empty, too.

    Keys that are plain words are the event's keywords. Texts keep their macros.
    """
    return [_event(row, entry, book) for row, entry in enumerate(book.entries)]


def in_force(book: Lorebook) -> Lorebook:
    """A book without the entries that never take part, whatever is said."""
    entries = tuple(entry for entry in book.entries if entry.enabled and entry.content)
    return book if len(entries) == len(book.entries) else replace(book, entries=entries)


def is_off(event: StoryEvent) -> bool:
    """Whether an event is lore that never takes part."""
    lore = event.extensions.get(LORE)
    return isinstance(lore, dict) and (not event.text or lore.get("enabled") is False)


def split_lore(events: Sequence[StoryEvent]) -> tuple[Lorebook, list[StoryEvent]]:
    """The lore among a story's events as a book, and the events that are story.

    A chat sends its lore with every turn: what is equal to what came before is the same book.

    Raises:
        BadRequest: an event's `extensions.lore` is none of ours; names the event's row.
    """
    story, sent, places = [], [], []
    for row, event in enumerate(events):
        if (data := event.extensions.get(LORE)) is None:
            story.append(event)
        else:
            sent.append((event.text, data))
            places.append(row)
    key = _Sent(tuple(sent))
    book = _read_before.get(key)
    if book is None:
        book = _read(sent, places)
        _read_before.put(key, book, sum(BYTES_OF_ENTRY + 4 * len(text) for text, _ in sent))
    return book, story


BYTES_OF_ENTRY = 2_500  # with what was sent, beside its text

READ_BYTES = 32_000_000
"""Of lore as it was sent: two books of 5,000 entries."""


@dataclass(frozen=True)
class _Sent:
    """Texts and settings of entries. To compare 5,000 takes 2 ms, to read them 37."""

    entries: tuple[tuple[str, Any], ...]

    def __hash__(self) -> int:
        return hash((len(self.entries), *(text for text, _ in self.entries[:HASHED])))


_read_before: Kept[_Sent, Lorebook] = Kept(READ_BYTES)


def _read(sent: Sequence[tuple[str, Any]], places: Sequence[int]) -> Lorebook:
    """The book in what was sent, at these rows of the story."""
    entries = []
    name, budget = "", None
    for row, (text, data) in zip(places, sent, strict=True):
        try:
            settings = {key: value for key, value in data.items() if key in NAMES}
            entries.append(ENTRY.validate_python({**settings, "content": text}))
            name, budget = str(data.get("book", "")), _BUDGET.validate_python(data.get("budget"))
        except (ValidationError, TypeError, AttributeError):
            raise BadRequest(
                "is no lore entry; make it with `cards.lore.events.to_events`",
                field=f"story.{row}.extensions.lore",
            ) from None
    return Lorebook(entries=tuple(entries), name=name, token_budget=budget)


_BUDGET = TypeAdapter[int | None](int | None)


def lore_chunks(activation: Activation) -> tuple[list[RAGChunk], list[RAGChunk]]:
    """Active entries: those that stand in every turn of a chat and belong to the prompt's cached
    beginning, in the prompt's order; and those that this turn called for, the first to the budget
    first."""
    standing: list[RAGChunk] = []
    passing: list[tuple[int, RAGChunk]] = []
    for place, (entry, text, tokens, why, rank) in enumerate(activation.active):
        meta = {
            "why": [f"lore: {why}"],
            "order": place - len(activation.active),  # before all events
            "position": entry.position,
            "depth": entry.depth,
            "role": entry.role,
            "tokens": tokens,
        }
        if entry.position == "outlet":
            meta["outlet"] = entry.outlet
        chunk = RAGChunk(id=f"lore/{entry.id}", source="story", text=text, meta=meta)
        if is_standing(entry):
            standing.append(chunk)
        else:
            passing.append((rank, chunk))
    return standing, [chunk for _, chunk in sorted(passing, key=lambda pair: pair[0])]


def is_standing(entry: LoreEntry) -> bool:
    """Whether an entry takes part in every turn of a chat, and belongs to the prompt's beginning:
    one that is wanted a few messages from the end stands with the notes."""
    near = entry.position == "at_depth" and entry.depth < NEAR
    return entry.constant and entry.probability >= 100 and not near


def _event(row: int, entry: LoreEntry, book: Lorebook) -> StoryEvent:
    words = [key[:MAX_KEYWORD] for key in entry.keys if not key.startswith("/")]
    lore = dumped(entry, exclude=frozenset({"content"}))
    if book.name:
        lore["book"] = book.name
    if book.token_budget is not None:
        lore["budget"] = book.token_budget
    return StoryEvent(
        id=f"lore/{row:05d}/{entry.id}"[:200],
        order=0,
        text=entry.content,
        visibility="public",
        keywords=words[:MAX_KEYWORDS],
        constant=entry.constant,
        extensions={LORE: lore},
    )
