"""Which entries of a lorebook take part in a turn, and why every other one does not.

1. Keys are looked for in the newest messages, each scanned as `\\x01Name: text`.
2. Of what is found, groups keep one winner, chance decides, and the budget takes the sticky ones
   first, then the card's own, then by priority and order; what does not fit leaves room to smaller.
3. What was taken is scanned itself, until nothing new comes up.

Keys that the turn's budget does not allow to look for are not found, and the outcome says so.
Nothing is stored between turns, and the same chat always gives the same outcome: sticky and
cooldown are replayed from the messages.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import accumulate, chain, islice
from typing import Literal, NamedTuple, get_args

from cards.lore.keys import CompiledBook, compiled
from cards.lore.lorebook import Lorebook, LoreEntry, Position
from cards.lore.scene import Activation, Active, Scene, why_barred
from cards.macros import draw, expand
from schemas.budget import Budget, current, spending

Count = Callable[[str], int]

BUDGET_SHARE = 0.25
"""Of the context for lore, by custom of the apps that books are written for."""

REPLAYED = 400
"""Newest messages that are replayed; an effect that began before them is over."""

MAX_BROKEN = 100
"""Invalid patterns that the outcome names."""

_PLACES = {place: number for number, place in enumerate(get_args(Position))}


def activate(book: Lorebook, scene: Scene, *, budget: int, count: Count) -> Activation:
    """The entries that take part in this turn.

    Args:
        budget: tokens for lore, `BUDGET_SHARE` of the context by custom; a smaller
            `token_budget` of the book goes before it.
        count: tokens of a text.
    """
    if book.token_budget is not None:
        budget = min(budget, book.token_budget)
    run = _Run(compiled(book), scene, budget, count)
    run.recurse(run.start())

    def place(row: int) -> tuple[int, int, int]:
        return _PLACES[book.entries[row].position], book.entries[row].order, row

    return Activation(
        book=book,
        active=[run.taken[row] for row in sorted(run.taken, key=place)],
        reasons=run.reasons,
        budget=budget,
        warnings=run.warnings(),
    )


class _Run:
    """One activation; entries are known by their row in the book."""

    def __init__(self, book: CompiledBook, scene: Scene, budget: int, count: Count) -> None:
        self.taken: dict[int, Active] = {}
        self.reasons: dict[int, str] = {}
        self._book, self._scene, self._count = book, scene, count
        self._turn = len(scene.messages)
        self._left = budget
        self._budget = current()
        self._macros = self._budget.beside()  # the card's words do not depend on the lore of a turn
        self._out: set[int] = set()  # found, and lost for good
        self._said: dict[str, str] = {}  # text of a taken entry: its name
        self._level = 0
        self._inside: dict[int, str] = {}  # key: the taken entry that mentions it
        self._back: dict[int, int] = {}  # key: the messages behind the newest one that mentions it
        self._taken_of: dict[str, int] = {}  # group: the entry that was taken of it
        depth = max(book.windows, default=0)
        newest = reversed(scene.messages[-depth:] if depth else [])
        for back, line in enumerate(newest):
            for key in book.index.found(scene.line(line), self._budget):
                self._back.setdefault(key, back)
        self._effects = timed_effects(book, scene, self._budget)
        self._sticky = {row for row, effect in self._effects.items() if effect.kind == "sticky"}

    def start(self) -> list[int]:
        """Takes what the chat calls for; gives the rows."""
        rows = {row for key in self._back for row in self._book.by_key[key]}
        return self._take(rows.union(self._book.always, self._sticky))

    def recurse(self, fresh: list[int]) -> None:
        """Takes what the entries taken last call for, and so on; then the delayed, by level."""
        levels = sorted(self._book.delayed)
        while fresh or levels:
            keys = self._mentioned(fresh)
            fresh = self._take({row for key in keys for row in self._book.by_key[key]})
            if not fresh and levels:
                self._level = levels.pop(0)
                fresh = self._take(self._book.delayed[self._level])

    def _mentioned(self, fresh: Iterable[int]) -> set[int]:
        """The keys that these entries' texts mention for the first time."""
        first = set[int]()
        for row in fresh:
            entry = self._book.entries[row]
            if not entry.prevent_recursion:
                found = self._book.index.found(self._text(entry, scanning=True), self._budget)
                new = found - self._inside.keys()
                self._inside.update(dict.fromkeys(new, _label(entry)))
                first |= new
        return first

    def _take(self, rows: Iterable[int]) -> list[int]:
        """Takes those of the rows that are called for, as far as the budget goes."""
        found: dict[int, str] = {}
        with self._budget.keywords as time:
            for row in rows:
                if time.is_empty():
                    break
                if row not in self.taken and row not in self._out:
                    called, why = self._is_called(row)
                    (found if called else self.reasons)[row] = why
            self._settle_groups(found)
        chosen = sorted(found.keys() - self._out, key=self._claim)
        return [row for row in chosen if self._afford(row, found[row])]

    def _claim(self, row: int) -> tuple[bool, bool, int, int, int, int]:
        """Who goes first to the budget."""
        one, passing = self._book.entries[row], row not in self._sticky
        return passing, one.drop_first, one.rank, -one.priority, -one.order, row

    def _afford(self, row: int, why: str) -> bool:
        self._budget.check()
        entry = self._book.entries[row]
        if row not in self._sticky and not is_lucky(entry, self._scene, self._turn):
            return self._lose(row, f"found, but chance ({entry.probability:g} %) was against it")
        text = self._text(entry)
        if not text:
            return self._lose(row, "its text is empty")
        if text in self._said:  # a card's own book is often there as a world book, too
            return self._lose(row, f"says the same as `{self._said[text]}`")
        tokens = self._count(text)
        if not entry.ignore_budget:
            if tokens > self._left:
                over = f"{tokens} tokens, {self._left} left"
                return self._lose(row, f"found, but over the budget: {over}")
            self._left -= tokens
        self._said[text] = _label(entry)
        self.taken[row] = Active(entry, text, tokens, why, len(self.taken))
        for group in entry.groups:
            self._taken_of.setdefault(group, row)
        self.reasons.pop(row, None)
        return True

    def _text(self, entry: LoreEntry, *, scanning: bool = False) -> str:
        with spending(self._macros):
            return expand(entry.content, self._scene.scope(entry, scanning=scanning)).strip()

    def _lose(self, row: int, why: str) -> bool:
        self._out.add(row)
        self.reasons[row] = why
        return False

    def _is_called(self, row: int) -> tuple[bool, str]:
        """Whether the chat, or what was taken, calls for an entry; and why or why not."""
        entry = self._book.entries[row]
        if barred := why_barred(entry, self._scene):
            return False, barred
        if effect := self._effects.get(row):
            words = "for good" if math.isinf(effect.left) else f"{effect.left:g} messages more"
            return effect.kind == "sticky", f"{effect.kind}: {words}"
        if entry.recursion_level > self._level:
            return False, "waits to be found in other entries"
        if entry.constant:
            return True, "constant"
        is_found = self._looks(row)
        key = next(filter(is_found, self._book.primary[row]), None)
        if key is None:
            return False, "no key found" if entry.keys else "has no keys"
        for asked in self._book.asked[row]:
            if not asked.holds(is_found):
                return False, f"a key found, but `{asked.logic}` of its other keys does not hold"
        return True, f"key `{self._book.index.keys[key].text}` {self._where(row, key)}"

    def _looks(self, row: int) -> Callable[[int], bool]:
        """Whether a key is found where an entry looks."""
        entry, back = self._book.entries[row], self._back
        texts = filter(None, map(self._scene.fields.get, entry.scan_also))
        others: list[Container[int]] = [self._book.index.found(it, self._budget) for it in texts]
        if not entry.exclude_recursion:
            others.append(self._inside)

        def is_found(key: int) -> bool:
            return back.get(key, math.inf) < entry.scan_depth or any(key in it for it in others)

        return is_found

    def _where(self, row: int, key: int) -> str:
        back = self._back.get(key, math.inf)
        if back < self._book.entries[row].scan_depth:
            return "in the message" if back == 0 else f"in the message {back} before"
        return f"in the entry `{self._inside[key]}`" if key in self._inside else "in the card"

    def _settle_groups(self, found: Iterable[int]) -> None:
        """Leaves one of each group in `found`: the one taken before, else the winner."""
        entries = self._book.entries
        groups: dict[str, list[int]] = {}
        for row in sorted(found):
            for group in entries[row].groups:
                groups.setdefault(group, []).append(row)
        for group, members in groups.items():
            rivals = [row for row in members if row not in self._out]
            if self._budget.keywords.is_empty():
                break
            winner = self._taken_of.get(group)
            if winner is None and rivals:
                winner = self._winner(rivals, group)
            for row in rivals:
                if winner is not None and row != winner:
                    self._lose(row, f"`{_label(entries[winner])}` won the group `{group}`")

    def _winner(self, rivals: list[int], group: str) -> int:
        """A sticky entry wins; then the best score where entries ask for it; then the highest
        order among those with override; else chance, by weight."""
        entries = self._book.entries
        rivals = [row for row in rivals if row in self._sticky] or rivals
        if any(entries[row].group_scoring for row in rivals):
            best = max(map(self._score, rivals))
            rivals = [r for r in rivals if not entries[r].group_scoring or self._score(r) == best]
        if forced := [row for row in rivals if entries[row].group_override]:
            return max(forced, key=lambda row: (entries[row].order, -row))
        ends = list(accumulate(entries[row].group_weight for row in rivals))
        drawn = draw(max(1, ends[-1]), self._scene.chat, self._turn, "group", group)
        return next((row for row, end in zip(rivals, ends, strict=True) if drawn < end), rivals[0])

    def _score(self, row: int) -> int:
        """How many keys of an entry were found; other keys count where finding them is asked."""
        wanted = [asked.rows for asked in self._book.asked[row] if asked.logic.startswith("and")]
        return sum(map(self._looks(row), chain(self._book.primary[row], *wanted)))

    def warnings(self) -> list[str]:
        """Keys that could not be used."""
        broken = (f"key `{key.text}` is no valid pattern" for key in self._book.index.broken)
        return [*islice(broken, MAX_BROKEN), *self._budget.warnings()]


class Effect(NamedTuple):
    """A timed effect in force, and for how many more messages; infinity is for good."""

    kind: Literal["sticky", "cooldown"]
    left: float


def timed_effects(book: CompiledBook, scene: Scene, budget: Budget) -> dict[int, Effect]:
    """Which entries stay or stay away in this turn, by their row in the book.

    Each message of the user stands for a turn that was generated behind it. What a group, the
    budget or another entry did to an entry on a past turn is not replayed: its keys and chance are.
    """
    if not book.timed:
        return {}
    first = max(0, len(scene.messages) - REPLAYED)
    places: dict[int, list[int]] = {}  # key: the messages that mention it, as turns
    for turn, message in enumerate(scene.messages[first:], first):
        for key in book.timed_hits(scene.line(message), budget):
            places.setdefault(key, []).append(turn)
    past = enumerate(scene.messages[first:-1], first + 1)
    turns = [turn for turn, message in past if message.role == "user"]
    effects = {}
    with budget.keywords as time:
        for row in book.timed:
            if time.is_empty():
                break
            if effect := _effect(book, row, places, scene, turns):
                effects[row] = effect
    return effects


def _effect(
    book: CompiledBook, row: int, places: dict[int, list[int]], scene: Scene, turns: Sequence[int]
) -> Effect | None:
    """The effect that an entry is under by what past turns found."""
    entry, now = book.entries[row], len(scene.messages)
    if not entry.constant and places.keys().isdisjoint(book.primary[row]):
        return None
    stays = away = 0.0
    for turn in turns:
        if turn >= max(stays, away) and _was_found(book, row, places, scene, turn):
            stays = turn + _messages(entry.sticky)
            away = stays + _messages(entry.cooldown)
    if now < stays:
        return Effect("sticky", stays - now)
    return Effect("cooldown", away - now) if now < away else None


def _was_found(
    book: CompiledBook, row: int, places: dict[int, list[int]], scene: Scene, turn: int
) -> bool:
    """Whether an entry was found on a past turn, by the keys in the messages before it."""
    entry = book.entries[row]

    def is_found(key: int) -> bool:
        lines = places.get(key, ())
        at = bisect_left(lines, turn - entry.scan_depth)
        return at < len(lines) and lines[at] < turn

    return (
        turn >= entry.delay
        and (entry.constant or any(map(is_found, book.primary[row])))
        and all(asked.holds(is_found) for asked in book.asked[row])
        and is_lucky(entry, scene, turn)
    )


def is_lucky(entry: LoreEntry, scene: Scene, turn: int) -> bool:
    """Whether chance lets an entry take part in a turn; the same turn always draws the same."""
    if entry.probability >= 100:
        return True
    return draw(10_000, scene.chat, turn, "probability", entry.id) < 100 * entry.probability


def _messages(count: int) -> float:
    return math.inf if count < 0 else count


def _label(entry: LoreEntry) -> str:
    return entry.name or entry.id
