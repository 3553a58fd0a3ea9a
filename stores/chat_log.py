"""The messages of a chat in the vector database: a log whose places are numbered from 0.

The number is the row's id, so what is new is read by asking for the next numbers, and neighbours
are asked for by theirs. A row is never changed: `add` leaves an id that exists as it is, so of two
workers that write to the same place one finds the other's row there and takes a later place.

    "12"     the message at place 12: its first part as text and vector, the whole as metadata
    "12.1"   its second part, of a message longer than a part
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.documents import Document

from retrieval.index import PART_SIZE
from retrieval.text import parts, tokens
from stores.chat_order import Remembered, identity_digest, words_digest
from stores.database import CollectionState, Row, VectorDatabase
from stores.word_index import Known, Span, WordIndex

PAGE = 1_000
"""Messages read at once: some 0.1 s."""

AHEAD = 64
"""Places asked for beyond the end as it is labelled, which may be a little behind."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message to be written."""

    item: Remembered
    parts: Sequence[str]
    vectors: np.ndarray  # (parts, dimension)


class ChatLog:
    """Logs in a database, and the index of their words, which is kept in step."""

    def __init__(self, database: VectorDatabase, words: WordIndex) -> None:
        """Touches neither yet."""
        self._database = database
        self._words = words

    def read_on(self, name: str, state: CollectionState, pages: int) -> int:
        """Reads words that the index lacks: what was written since, then what is older.

        Args:
            name: of the chat's collection.
            state: its own.
            pages: how many to read at most.

        Returns:
            The place from which on all is known.
        """
        end = int(state.label.get("end", 0))
        span = self._words.span(name, state.uid) or Span(end, end, "")
        while span.revision != state.revision and pages:
            upto = min(max(end, span.high) + AHEAD, span.high + PAGE)
            rows = self._rows(name, range(span.high, upto))
            reached = max((known.place + 1 for known, _ in rows), default=span.high)
            is_all = upto >= end + AHEAD and reached <= max(end, span.high)
            high = max(reached, min(end, upto))
            span = Span(span.low, high, state.revision if is_all else "")
            self._words.add(name, state.uid, span, rows)
            pages -= len(rows) > AHEAD
        while span.low and pages:
            low = max(0, span.low - PAGE)
            rows = self._rows(name, range(low, span.low))
            span = span._replace(low=low)
            self._words.add(name, state.uid, span, rows)
            pages -= 1
        return span.low

    def append(self, name: str, label: dict[str, str], entries: Sequence[Entry]) -> None:
        """Writes messages at the end; they are on disk when this returns."""
        state = self._database.state(name)
        span = self._words.span(name, state.uid) if state else None
        place = span.high if span else 0
        own: list[tuple[int, Entry]] = []
        while entries:
            stamp = uuid.uuid4().hex
            placed = list(enumerate(entries, place))
            self._database.add(
                name, label, [row for at, it in placed for row in _rows_of(at, it, stamp)]
            )
            ids = [str(at) for at, _ in placed]
            theirs = {
                int(str(row.id))
                for row in self._database.fetch(name, ids)
                if (item := _item(row)) is None or item.stamp != stamp
            }
            own += [(at, entry) for at, entry in placed if at not in theirs]
            lost = [(at, entry) for at, entry in placed if at in theirs]
            beside = [_id(at, part) for at, it in lost for part in range(1, len(it.parts))]
            self._database.delete(name, [
                str(row.id)
                for row in self._database.fetch(name, beside)
                if row.metadata.get("stamp") == stamp  # the winner of the place has parts, too
            ])  # fmt: skip
            place, entries = place + len(entries), [entry for _, entry in lost]
        self._database.relabel(name, {"end": place})
        state = self._database.state(name)
        if state:
            self.read_on(name, state, pages=1 + len(own) // PAGE)

    def all(self, name: str) -> list[Remembered]:
        """All messages, oldest first; of any version."""
        rows = self._database.fetch(name, self._database.ids(name))
        found = [item for row in rows if (item := _item(row))]
        return sorted(found, key=lambda item: (item.at, item.written))

    def texts(self, name: str, places: Sequence[int]) -> dict[int, Remembered]:
        """The messages at these places, as far as they exist."""
        rows = self._database.fetch(name, [str(place) for place in places])
        found = {int(str(row.id)): _item(row) for row in rows}
        self._words.remove(name, [place for place in places if place not in found])
        return {place: item for place, item in found.items() if item}

    def vectors(self, name: str, rows: Iterable[tuple[int, int]]) -> dict[str, np.ndarray]:
        """The vectors of some parts, (place, part), by their text."""
        return self._database.vectors(name, [_id(place, part) for place, part in rows])

    def remove(self, name: str, places: Collection[int]) -> None:
        """Removes messages, with all their parts."""
        items = self.texts(name, list(places))
        self._database.delete(name, [
            _id(place, part)
            for place, item in items.items()
            for part in range(len(parts(item.message.content, PART_SIZE)))
        ])  # fmt: skip
        self._words.remove(name, places)
        self._database.relabel(name, {})

    def _rows(self, name: str, places: range) -> list[tuple[Known, dict[str, int]]]:
        """What the index keeps of the messages at some places."""
        read = []
        for row in self._database.fetch(name, [str(place) for place in places]):
            if item := _item(row):
                message = item.message
                known = Known(
                    int(str(row.id)), identity_digest(message), words_digest(message), item.at,
                    item.written,
                )  # fmt: skip
                read.append((known, dict(Counter(tokens(message.content, self._words.analyzer)))))
        return read


def _id(place: int, part: int) -> str:
    return f"{place}.{part}" if part else str(place)


def _rows_of(place: int, entry: Entry, stamp: str) -> list[Row]:
    """The rows of a message. One that is a single part has its words as the row's text only: a turn
    reads some hundred rows, and what they weigh is what it waits for."""
    item = entry.item.model_copy(update={"stamp": stamp})
    whole = list(entry.parts) == [item.message.content]
    left_out = {"message": {"content"}} if whole else None
    data = item.model_dump_json(exclude=left_out, exclude_none=True)
    return [
        Row(_id(place, part), {"stamp": stamp} if part else {"item": data}, vector, text)
        for part, (text, vector) in enumerate(zip(entry.parts, entry.vectors, strict=True))
    ]


def _item(row: Document) -> Remembered | None:
    """The message of a row; None where it is none."""
    try:
        data = json.loads(str(row.metadata.get("item", "")))
        data["message"].setdefault("content", row.page_content)
        data.setdefault("written", row.metadata.get("written", 0))  # of version 1
        return Remembered.model_validate(data)
    except (ValueError, TypeError, KeyError):
        return None
