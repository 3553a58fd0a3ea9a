"""Sticky and cooldown, replayed from the chat instead of stored.

Each message of the user stands for a turn that was generated behind it. What a group, the budget
or another entry did to an entry on a past turn is not replayed: its keys and chance are.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Literal, NamedTuple

from cards.keys import Clock, CompiledBook
from cards.macros import draw
from cards.scene import Scene

REPLAYED = 400
"""Newest messages that are replayed; an effect that began before them is over."""


class Effect(NamedTuple):
    """A timed effect in force, and for how many more messages; infinity is for good."""

    kind: Literal["sticky", "cooldown"]
    left: float


class Replay:
    """The past turns of a chat, for the entries of a book that have timed effects."""

    def __init__(self, book: CompiledBook, scene: Scene, clock: Clock) -> None:
        """Scans the messages for the keys of those entries, if there are any."""
        self._book, self._scene = book, scene
        self._turn = len(scene.messages)
        self._first = max(0, self._turn - REPLAYED)
        recent = scene.messages[self._first :] if book.timed else []
        self._hits = [book.timed_hits(scene.line(message), clock) for message in recent]
        self._rows: dict[int, list[int]] = {}  # key: messages that mention it, by number
        for row, hits in enumerate(self._hits, self._first):
            for key in hits:
                self._rows.setdefault(key, []).append(row)
        self._ends = [
            row + 1 for row, message in enumerate(recent, self._first) if message.role == "user"
        ]
        self._windows: dict[tuple[int, int], frozenset[int]] = {}

    def effect(self, at: int) -> Effect | None:
        """The effect on the entry at this row of the book in the present turn."""
        entry = self._book.entries[at]
        sticky, cooldown = map(_messages, (entry.sticky, entry.cooldown))
        stays = away = 0.0
        for end in self._turns(at):
            if end >= max(stays, away) and self._found(at, end):
                stays = end + sticky
                away = stays + cooldown
        if self._turn < stays:
            return Effect("sticky", stays - self._turn)
        return Effect("cooldown", away - self._turn) if self._turn < away else None

    def _turns(self, at: int) -> list[int]:
        """Past turns that could see a key of the entry, by the messages that they had."""
        ends = self._ends[: bisect_left(self._ends, self._turn)]
        if self._book.entries[at].constant:
            return ends
        rows = {row for key in self._book.primary[at] for row in self._rows.get(key, ())}
        depth = self._book.depths[at]
        return sorted(
            {
                end
                for row in rows
                for end in ends[bisect_right(ends, row) : bisect_right(ends, row + depth)]
            }
        )

    def _found(self, at: int, end: int) -> bool:
        """Whether the entry was found on the turn that had so many messages."""
        entry, hits = self._book.entries[at], self._window(self._book.depths[at], end)
        return (
            end >= entry.delay
            and (entry.constant or not hits.isdisjoint(self._book.primary[at]))
            and all(asked.holds(hits) for asked in self._book.asked[at])
            and is_lucky(self._book, self._scene, at, end)
        )

    def _window(self, depth: int, end: int) -> frozenset[int]:
        """The keys in the messages that the turn could see."""
        if (depth, end) not in self._windows:
            last = end - self._first
            seen = self._hits[max(0, last - depth) : last]
            self._windows[depth, end] = frozenset[int]().union(*seen)
        return self._windows[depth, end]


def is_lucky(book: CompiledBook, scene: Scene, at: int, turn: int) -> bool:
    """Whether chance lets an entry take part in a turn; the same turn always draws the same."""
    entry = book.entries[at]
    if entry.probability >= 100:
        return True
    return draw(10_000, scene.chat, turn, "probability", entry.id) < 100 * entry.probability


def _messages(count: int) -> float:
    return math.inf if count < 0 else count
