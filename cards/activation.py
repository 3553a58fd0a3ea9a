"""Which entries of a lorebook take part in a turn, and why every other one does not.

1. Keys are looked for in the newest messages, each scanned as `\\x01Name: text`.
2. Of what is found, groups keep one winner, chance decides, and the budget takes the sticky ones
   first, then the card's own, then by priority and order; what does not fit leaves room to smaller.
3. What was taken is scanned itself, until nothing new comes up.

Nothing is stored between turns (`cards.timed`), and the same chat always gives the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import get_args

from cards.keys import Clock, CompiledBook, compiled
from cards.lorebook import Lorebook, LoreEntry, Position
from cards.macros import draw, expand
from cards.scene import Activation, Active, Scene, why_barred
from cards.timed import Effect, Replay, is_lucky

Count = Callable[[str], int]

BUDGET_SHARE = 0.25
"""Of the context for lore, by custom of the apps that books are written for."""

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
        self._clock = Clock()
        self._out: set[int] = set()  # found, and lost for good
        self._sticky: set[int] = set()
        self._said: dict[str, str] = {}  # text of a taken entry: its name
        self._level = 0
        self._inside: dict[int, str] = {}  # key: the taken entry that mentions it
        self._within = frozenset[int]()  # its keys
        self._recent = self._scan()
        self._windows = {
            depth: frozenset[int]().union(*self._recent[:depth]) for depth in book.windows
        }
        self._replay = Replay(book, scene, self._clock)
        self._effects: dict[int, Effect | None] = {}

    def _scan(self) -> list[frozenset[int]]:
        """The keys in each message that an entry may look back to, newest first."""
        depth = max(self._book.windows, default=0)
        newest = reversed(self._scene.messages[-depth:] if depth else [])
        return [self._book.index.found(self._scene.line(line), self._clock) for line in newest]

    def start(self) -> list[int]:
        """Takes what the chat calls for; gives the rows."""
        everything = frozenset[int]().union(*self._windows.values())
        rows = {row for key in everything for row in self._book.by_key[key]}
        return self._take(rows.union(self._book.always, filter(self._is_sticky, self._book.timed)))

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
        new = set()
        for row in fresh:
            entry = self._book.entries[row]
            if entry.prevent_recursion:
                continue
            text = self._text(entry, scanning=True)
            for key in self._book.index.found(text, self._clock) - self._inside.keys():
                self._inside[key] = _label(entry)
                new.add(key)
        self._within |= new
        return new

    def _take(self, rows: Iterable[int]) -> list[int]:
        """Takes those of the rows that are called for, as far as the budget goes."""
        found: dict[int, str] = {}
        for row in rows:
            if row not in self.taken and row not in self._out:
                called, why = self._is_called(row)
                (found if called else self.reasons)[row] = why
        lost = _losers(
            self._book.entries,
            found,
            taken=self.taken,
            sticky=self._sticky,
            score=self._score,
            seed=(self._scene.chat, self._turn),
        )
        for row, why in lost.items():
            self._lose(row, why)
        chosen = sorted(found.keys() - lost.keys(), key=self._book.claim.__getitem__)
        chosen.sort(key=self._sticky.__contains__, reverse=True)  # keeps the order of equals
        return [row for row in chosen if self._afford(row, found[row])]

    def _afford(self, row: int, why: str) -> bool:
        entry = self._book.entries[row]
        if row not in self._sticky and not is_lucky(self._book, self._scene, row, self._turn):
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
        self.reasons.pop(row, None)
        return True

    def _text(self, entry: LoreEntry, *, scanning: bool = False) -> str:
        """An entry's text with its macros filled in."""
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
        if effect := self._effect(row):
            words = "for good" if effect.left == float("inf") else f"{effect.left:g} messages more"
            if effect.kind == "sticky":
                self._sticky.add(row)
            return effect.kind == "sticky", f"{effect.kind}: {words}"
        if entry.recursion_level > self._level:
            return False, "waits to be found in other entries"
        if entry.constant:
            return True, "constant"
        hits = self._hits(row)
        key = next((key for key in self._book.primary[row] if key in hits), None)
        if key is None:
            return False, "no key found" if entry.keys else "has no keys"
        for asked in self._book.asked[row]:
            if not asked.holds(hits):
                return False, f"a key found, but `{asked.logic}` of its other keys does not hold"
        return True, f"key `{self._book.index.keys[key].text}` {self._where(row, key)}"

    def _effect(self, row: int) -> Effect | None:
        entry = self._book.entries[row]
        if not (entry.sticky or entry.cooldown):
            return None
        if row not in self._effects:
            self._effects[row] = self._replay.effect(row)
        return self._effects[row]

    def _is_sticky(self, row: int) -> bool:
        effect = self._effect(row)
        return effect is not None and effect.kind == "sticky"

    def _hits(self, row: int) -> frozenset[int]:
        """The keys found where an entry looks."""
        entry = self._book.entries[row]
        hits = self._windows[self._book.depths[row]]
        for name in entry.scan_also:
            if text := self._scene.fields.get(name):
                hits |= self._book.index.found(text, self._clock)
        return hits if entry.exclude_recursion or not self._inside else hits | self._within

    def _where(self, row: int, key: int) -> str:
        for back, hits in enumerate(self._recent[: self._book.depths[row]]):
            if key in hits:
                return "in the message" if back == 0 else f"in the message {back} before"
        return f"in the entry `{self._inside[key]}`" if key in self._inside else "in the card"

    def _score(self, row: int) -> int:
        """How many keys of an entry were found; other keys count where finding them is asked."""
        hits = self._hits(row)
        wanted = [asked.rows for asked in self._book.asked[row] if asked.logic.startswith("and")]
        return sum(key in hits for keys in (self._book.primary[row], *wanted) for key in keys)

    def warnings(self) -> list[str]:
        """Keys that could not be used."""
        slow = sorted({key.text for key in self._clock.slow})
        return [
            *(f"key `{key.text}` is no valid pattern" for key in self._book.index.broken),
            *(f"key `{text}` takes too long" for text in slow),
            *(["the patterns took too long together; some were not tried"] * self._clock.spent),
        ]


def _losers(
    entries: Sequence[LoreEntry],
    found: Collection[int],
    *,
    taken: Collection[int],
    sticky: Collection[int],
    score: Callable[[int], int],
    seed: tuple[object, ...],
) -> dict[int, str]:
    """Rows of `found` that lose their group, and why.

    An entry taken before or a sticky one wins; then the best score where entries ask for it; then
    the highest order among those with override; else chance, by weight.

    Args:
        score: how many keys of an entry were found.
        seed: of the turn, for chance.
    """
    lost: dict[int, str] = {}
    for group, members in _groups(entries, found).items():
        winner = next((row for row in taken if group in entries[row].groups), None)
        if winner is None:
            rivals = [row for row in members if row not in lost]
            staying = [row for row in rivals if row in sticky]
            winner = _winner(entries, staying or rivals, score, (*seed, "group", group))
        for row in members:
            if row != winner:
                label = _label(entries[winner]) if winner is not None else ""
                lost.setdefault(row, f"`{label}` won the group `{group}`")
    return lost


def _groups(entries: Sequence[LoreEntry], found: Collection[int]) -> Mapping[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for row in sorted(found):
        for group in entries[row].groups:
            groups.setdefault(group, []).append(row)
    return groups


def _winner(
    entries: Sequence[LoreEntry],
    rivals: list[int],
    score: Callable[[int], int],
    seed: tuple[object, ...],
) -> int | None:
    if any(entries[row].group_scoring for row in rivals):
        best = max(map(score, rivals))
        rivals = [r for r in rivals if not entries[r].group_scoring or score(r) == best]
    forced = [row for row in rivals if entries[row].group_override]
    if forced:
        return max(forced, key=lambda row: (entries[row].order, -row))
    left = draw(max(1, sum(entries[row].group_weight for row in rivals)), *seed)
    for row in rivals:
        left -= entries[row].group_weight
        if left < 0:
            return row
    return rivals[0] if rivals else None


def _label(entry: LoreEntry) -> str:
    return entry.name or entry.id
