"""Which entries of a lorebook take part in a turn.

It comes before all retrieval: lore that stands in every turn takes room from the history, so what
is recalled of the chat depends on it.
"""

from __future__ import annotations

from collections.abc import Collection

from cards.lore.activation import BUDGET_SHARE, Count, activate
from cards.lore.events import is_standing, lore_chunks, split_lore
from cards.lore.lorebook import Lorebook
from cards.lore.scene import Activation, Scene
from cards.macros.scope import outlets_in
from prompts.words import language_of
from schemas.models import Model
from schemas.rag import Lore, RAGChunk
from schemas.request import USER, ChatRequest

LINE = 4
"""Tokens of a note beside its text."""

MAX_TOLD = 100
"""Entries of which the response says why they were left out."""


def active_lore(request: ChatRequest, model: Model, reply_tokens: int) -> Lore:
    """The lore of a turn.

    Args:
        model: counts the tokens.
        reply_tokens: kept free for the reply.

    Raises:
        BadRequest: an event's `extensions.lore` is no entry; names the event.
    """
    book, _ = split_lore(request.story)
    if not book.entries:
        return Lore()
    language = language_of(request.persona, request.message)
    activation = activate(
        book,
        Scene.of(request, USER[language], korean=language == "ko"),
        budget=_budget(request, model, reply_tokens),
        count=model.count,
    )
    standing, passing = lore_chunks(activation)
    outlets = outlets_in(request.persona)
    placed = [chunk for chunk in (*standing, *passing) if _stands_in(chunk, outlets)]
    placed.sort(key=lambda chunk: chunk.meta["order"])
    taken = {chunk.id for chunk in placed}
    standing, passing = ([it for it in of if it.id not in taken] for of in (standing, passing))
    share = int(BUDGET_SHARE * model.layout.context_length)
    return Lore(
        standing=standing,
        passing=passing,
        placed=placed,
        tokens=activation.tokens,
        budget=activation.budget,
        room=_room(book, share - sum(chunk.meta["tokens"] for chunk in standing), model.count),
        left_out=_left_out(activation),
        warnings=activation.warnings,
    )


def _stands_in(chunk: RAGChunk, outlets: Collection[str]) -> bool:
    """Whether the card names the outlet of an entry; one that nobody names stands with others."""
    return chunk.meta.get("outlet", "").strip().casefold() in outlets


def _budget(request: ChatRequest, model: Model, reply_tokens: int) -> int:
    """A share of the context, and at most half of what card and message leave."""
    card = request.persona
    texts = (card.description, card.personality, card.scenario, card.system_prompt, request.message)
    size = model.layout.context_length
    room = size - reply_tokens - sum(map(model.count, texts))
    return max(0, min(int(BUDGET_SHARE * size), room // 2))


def _room(book: Lorebook, most: int, count: Count) -> int:
    """Tokens that the notes keep for lore that comes and goes: what the book has of it, up to
    `most`. It is the same in every turn, so that the history is cut at the same place."""
    room = 0
    for entry in book.entries:
        if room >= most:
            break
        if not is_standing(entry):
            room += count(entry.content) + LINE
    return max(0, min(room, most))


def _left_out(activation: Activation) -> dict[str, str]:
    """Entries that were found and lost, by id."""
    entries = activation.book.entries
    rows = sorted(row for row, why in activation.reasons.items() if why != "no key found")
    return {entries[row].id: activation.reasons[row] for row in rows[:MAX_TOLD]}
