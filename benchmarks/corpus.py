"""Conversations and stories with questions, read from `*.chat.jsonl` and `*.story.jsonl`.

    chat:  {"id", "messages": [{"id", "speaker", "text", "session"}],
            "queries": [{"text", "relevant": [ids], "category", "context": [{"speaker", "text"}]}]}
    story: {"id", "events": [{"id", "order", "text", "characters": [names] or null}],
            "queries": [{"text", "relevant": [ids], "position", "character", "category"}]}

Other fields are ignored; `context`, `position` and `character` may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.hybrid import CHAT, PART_SIZE, STORY, Index, Passage, Weights
from retrieval.query import Query, Turn, make_query
from retrieval.story import EVENT_PART_SIZE


@dataclass(frozen=True, slots=True)
class Question:
    """A query with what it ought to find."""

    query: Query
    gold: set[str]
    category: str
    position: int | None = None
    character: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation or a story, indexed, with its questions."""

    id: str
    index: Index
    weights: Weights
    questions: list[Question]
    orders: list[int]  # of each event, on the story's clock
    characters: list[list[str] | None]  # of each event

    @property
    def ids(self) -> list[str]:
        """Of the passages, in order."""
        return [passage.id for passage in self.index.passages]


def read_chats(path: Path, *, context: bool = True, plain: bool = False) -> Iterator[Case]:
    """The conversations of a file; `plain` leaves questions as they are, for the baselines."""
    for data in _lines(path):
        messages = data["messages"]
        passages = [
            Passage(it["id"], it["text"], it["speaker"], str(it.get("session", "")))
            for it in messages
        ]
        speakers = [] if plain else list(dict.fromkeys(it["speaker"] for it in messages))
        questions = [
            Question(
                make_query(it["text"], _turns(it) if context else [], speakers=speakers),
                set(it["relevant"]),
                it.get("category", ""),
            )
            for it in data["queries"]
        ]
        yield Case(data["id"], Index(passages, part_size=PART_SIZE), CHAT, questions, [], [])


def read_stories(path: Path) -> Iterator[Case]:
    """The stories of a file."""
    for data in _lines(path):
        events = sorted(data["events"], key=lambda event: event["order"])
        passages = [Passage(event["id"], event["text"]) for event in events]
        questions = [
            Question(
                make_query(it["text"]),
                set(it["relevant"]),
                it.get("category", ""),
                it.get("position"),
                it.get("character"),
            )
            for it in data["queries"]
        ]
        yield Case(
            data["id"],
            Index(passages, part_size=EVENT_PART_SIZE),
            STORY,
            questions,
            [event["order"] for event in events],
            [event.get("characters") for event in events],
        )


def _turns(question: dict[str, Any]) -> list[Turn]:
    return [Turn(it["text"], it["speaker"]) for it in question.get("context") or []]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)
