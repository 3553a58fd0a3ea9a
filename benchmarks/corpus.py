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
from itertools import count, islice
from pathlib import Path
from typing import Any

from retrieval.hybrid import CHAT, STORY, Weights
from retrieval.index import PART_SIZE, Index, Passage
from retrieval.query import CHAT_LINES, make_query
from retrieval.story import EVENT_PART_SIZE
from retrieval.text import RULES
from schemas.protocols import Analyzer
from schemas.rag import Query


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


def read_chats(
    path: Path,
    *,
    context: bool = True,
    plain: bool = False,
    interrupted: bool = False,
    messages: int = 0,
    analyzer: Analyzer = RULES,
) -> Iterator[Case]:
    """The conversations of a file.

    Args:
        path: of the file.
        context: let the lines before a question be part of its query.
        plain: leave questions as they are, for the baselines.
        interrupted: the last lines of another conversation come before each question, so that the
            running chat has nothing to do with it.
        messages: make the first conversation this long and leave it at that; for times only.
        analyzer: cuts texts into terms.
    """
    chats = list(read_lines(path))
    for data, other in zip(chats, chats[1:] + chats[:1], strict=True):
        if messages:
            data["messages"] = list(islice(recombined(chats), messages))
        if interrupted:
            last = [{"speaker": it["speaker"], "text": it["text"]} for it in other["messages"]]
            data["queries"] = [it | {"context": last[-CHAT_LINES:]} for it in data["queries"]]
        passages = [
            Passage(it["id"], it["text"], it["speaker"], str(it.get("session", "")))
            for it in data["messages"]
        ]
        speakers = [] if plain else list(dict.fromkeys(it["speaker"] for it in data["messages"]))
        questions = [
            Question(
                make_query(
                    it["text"],
                    context_lines(it) if context else [],
                    speakers=speakers,
                    analyzer=analyzer,
                ),
                set(it["relevant"]),
                it.get("category", ""),
            )
            for it in data["queries"]
        ]
        index = Index(passages, part_size=PART_SIZE, analyzer=analyzer)
        yield Case(data["id"], index, CHAT, questions, [], [])
        if messages:
            return


def read_stories(path: Path, analyzer: Analyzer = RULES) -> Iterator[Case]:
    """The stories of a file."""
    for data in read_lines(path):
        events = sorted(data["events"], key=lambda event: event["order"])
        passages = [Passage(event["id"], event["text"]) for event in events]
        questions = [
            Question(
                make_query(it["text"], analyzer=analyzer),
                set(it["relevant"]),
                it.get("category", ""),
                it.get("position"),
                it.get("character"),
            )
            for it in data["queries"]
        ]
        yield Case(
            data["id"],
            Index(passages, part_size=EVENT_PART_SIZE, analyzer=analyzer),
            STORY,
            questions,
            [event["order"] for event in events],
            [event.get("characters") for event in events],
        )


def recombined(chats: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All messages again and again, each with the second half of another one, so that none repeats.

    Nothing if there are none.
    """
    lines = [(chat["id"], it) for chat in chats for it in chat["messages"]]
    for turn in count() if lines else ():
        for row, (chat, it) in enumerate(lines):
            words = it["text"].split()
            others = lines[(row + 7 * turn) % len(lines)][1]["text"].split()
            yield it | {
                "id": f"{turn}-{row}",
                "text": " ".join(words[: len(words) // 2] + others[len(others) // 2 :]),
                "session": f"{turn} {chat} {it.get('session', '')}",
            }


def context_lines(question: dict[str, Any]) -> list[str]:
    """The lines before a question."""
    return [it["text"] for it in question.get("context") or []]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, one a line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)
