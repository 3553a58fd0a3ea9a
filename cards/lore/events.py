"""Lore as story events, so that a request carries it without a field of its own.

An event of lore is public, has always happened (order 0) and keeps what an event has no place for
in `extensions["lore"]`. `split_lore` takes such events out of a story again, as a book.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from cards.lore.lorebook import Lorebook, LoreEntry
from cards.lore.scene import Activation
from schemas.errors import BadRequest
from schemas.rag import RAGChunk
from schemas.request import LORE, StoryEvent

MAX_KEYWORDS = 200
MAX_KEYWORD = 1_000

NEAR = 10
"""Messages from the end; by custom, notes that shall be heeded stand at a depth of 4."""

_ENTRY = TypeAdapter(LoreEntry)


def to_events(book: Lorebook) -> list[StoryEvent]:
    """The entries of a book that can ever take part, as events.

    Keys that are plain words are the event's keywords. Texts keep their macros.
    """
    return [
        _event(row, entry, book)
        for row, entry in enumerate(book.entries)
        if entry.enabled and entry.content
    ]


def split_lore(events: Sequence[StoryEvent]) -> tuple[Lorebook, list[StoryEvent]]:
    """The lore among a story's events as a book, and the events that are story.

    Raises:
        BadRequest: an event's `extensions.lore` is none of ours; names the event's row.
    """
    story, entries = [], []
    name, budget = "", None
    for row, event in enumerate(events):
        data = event.extensions.get(LORE)
        if data is None:
            story.append(event)
            continue
        try:
            entries.append(_ENTRY.validate_python({**data, "content": event.text}))
            name, budget = str(data.get("book", "")), _BUDGET.validate_python(data.get("budget"))
        except (ValidationError, TypeError):
            raise BadRequest(
                "is no lore entry; make it with `cards.lore.events.to_events`",
                field=f"story.{row}.extensions.lore",
            ) from None
    return Lorebook(entries=tuple(entries), name=name, token_budget=budget), story


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
    lore = _ENTRY.dump_python(entry, mode="json", exclude={"content"}, exclude_defaults=True)
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
