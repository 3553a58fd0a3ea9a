"""The notes of a turn: memories, story and state, chosen within their share of the budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, zip_longest
from typing import Literal, get_args

from prompts.tokens import Count
from prompts.words import Words
from schemas.rag import ItemLedger, PromptBuildInput, PromptPlan, RAGChunk
from schemas.request import Role

Kind = Literal["memory", "story", "secret"]
ROLES = get_args(Role)
SURE = 0.25
"""Of the best memory's score, from which another may take free room."""


@dataclass(frozen=True)
class Note:
    """A retrieved chunk as a line of the notes."""

    kind: Kind
    chunk: RAGChunk
    text: str
    tokens: int

    def entry(self, reason: str = "") -> ItemLedger:
        """Its line in the ledger: delivered, or dropped for a reason."""
        return ItemLedger(
            id=self.chunk.id,
            source=self.chunk.source,
            delivered=not reason,
            reason=reason,
            tokens=self.tokens,
        )


@dataclass(frozen=True)
class Notes:
    """The notes of one turn, and what became of each chunk."""

    words: Words
    state: str = ""
    direction: str = ""
    wish: str = ""
    chosen: list[Note] = field(default_factory=list)
    """In the order of choice, best first."""
    dropped: list[ItemLedger] = field(default_factory=list)
    frame: int = 0
    """Tokens of headings, state, direction and wish."""

    @cached_property
    def text(self) -> str:
        """The notes in an order that does not depend on scores; empty if there are none."""
        return self.words.notes(
            memories=self._lines("memory"),
            story=self._lines("story"),
            secrets=self._lines("secret"),
            state=self.state,
            direction=self.direction,
            wish=self.wish,
        )

    def _lines(self, kind: Kind) -> list[str]:
        notes = [note for note in self.chosen if note.kind == kind]
        return [note.text for note in sorted(notes, key=lambda note: _place(note.chunk))]

    def tokens(self, *kinds: Kind) -> int:
        """Tokens of the delivered chunks of these kinds."""
        return sum(note.tokens for note in self.chosen if note.kind in kinds)

    @property
    def total(self) -> int:
        """Tokens of all notes."""
        return self.frame + sum(note.tokens for note in self.chosen)

    @property
    def items(self) -> list[ItemLedger]:
        """Every chunk that was found, delivered or dropped."""
        return [note.entry() for note in self.chosen] + self.dropped

    def fewer(self) -> Notes:
        """The same without the weakest chunk."""
        entry = self.chosen[-1].entry("the whole prompt is over its budget")
        return replace(self, chosen=self.chosen[:-1], dropped=[*self.dropped, entry])

    def none(self) -> Notes:
        """No notes at all, not even state, direction and wish."""
        return Notes(self.words, dropped=self.items)


def take_notes(given: PromptBuildInput, words: Words, planned: PromptPlan, count: Count) -> Notes:
    """Chooses whole chunks, best first and from chat and story in turn, until the share is used.

    One that does not fit is left out; smaller ones behind it still may fit. What already stands
    in the verbatim history is not said twice.
    """
    frame = _frame(given, words, count)
    notes = Notes(words, given.state, given.direction, given.wish, frame=frame)
    left = planned.volatile - notes.frame
    if left < 0:  # not even the headings fit
        notes, left = notes.none(), 0
    # What no line of the history fills costs no cache at the prompt's end. A find that is nearly as
    # sure as the best may have as much of it again; what only stands beside one may not.
    free = min(planned.budget - planned.tokens - planned.volatile, planned.volatile)
    if free < 0 or given.layout.volatile_tokens is not None:  # then that is the most
        free = 0
    sure = SURE * max((chunk.score or 0.0 for chunk in given.chat_context), default=0.0)
    verbatim = given.history[planned.verbatim_from :]
    texts = {line.content for line in verbatim} | {given.user_message}
    ids, offered = {line.id for line in verbatim}, set[tuple[str, str]]()
    for kind, chunk in _in_turn(given):
        text = _line(words, kind, chunk)
        note = Note(kind, chunk, text, count(f"- {text}\n"))
        room = left + free if kind != "memory" or (chunk.score or -1.0) >= sure else left
        reason = ""
        if kind == "memory" and (chunk.id in ids or chunk.text in texts):
            reason = "stands in the verbatim history"
        elif (chunk.source, chunk.id) in offered:
            reason = "is there already"
        elif note.tokens > room:
            reason = f"over the budget for notes by {note.tokens - max(0, room)} tokens"
        offered.add((chunk.source, chunk.id))
        if reason:
            notes.dropped.append(note.entry(reason))
        else:
            notes.chosen.append(note)
            left -= note.tokens
    is_more = notes.chosen or given.state or given.direction or given.wish
    return notes if is_more else replace(notes, frame=0)


def _in_turn(given: PromptBuildInput) -> Iterator[tuple[Kind, RAGChunk]]:
    """Chunks by rank, one of each kind after the other, so that no source starves another."""
    kinds: tuple[tuple[Kind, list[RAGChunk]], ...] = (
        ("story", given.story_context),
        ("memory", given.chat_context),
        ("secret", _secrets(given)),
    )
    ranks = zip_longest(*([(kind, chunk) for chunk in chunks] for kind, chunks in kinds))
    return (pair for pair in chain.from_iterable(ranks) if pair)


def _secrets(given: PromptBuildInput) -> list[RAGChunk]:
    """What only the narrator may tell."""
    return given.narrator_only if given.speaker == "narrator" else []


def _frame(given: PromptBuildInput, words: Words, count: Count) -> int:
    """Tokens of all that is not a chunk: headings (of lists that hold next to nothing), state,
    direction and wish."""
    text = words.notes(
        memories=["."] if given.chat_context else [],
        story=["."] if given.story_context else [],
        secrets=["."] if _secrets(given) else [],
        state=given.state,
        direction=given.direction,
        wish=given.wish,
    )
    return count(text + "\n\n") if text else 0


def _place(chunk: RAGChunk) -> tuple[float, str]:
    """By row of the history or order of the story, then by id."""
    place = chunk.meta.get("row", chunk.meta.get("order"))
    return (float(place) if isinstance(place, int | float) else 0.0, chunk.id)


def _line(words: Words, kind: Kind, chunk: RAGChunk) -> str:
    """A chunk as one line: who said it or when it was, and its text."""
    name, time = chunk.meta.get("name"), chunk.meta.get("time")
    told = kind == "memory" and (name or chunk.meta.get("role") in ROLES)
    speaker = str(name or words.role_name(chunk.meta["role"])) if told else None
    return words.note(speaker, time if isinstance(time, str) else "", chunk.text)
