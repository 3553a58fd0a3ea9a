"""Inclusion groups: of the entries found for a group, one takes part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from cards.chance import draw
from cards.lorebook import LoreEntry


def losers(
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
            held = [row for row in rivals if row in sticky]
            winner = _winner(entries, held or rivals, score, (*seed, "group", group))
        for row in members:
            if row != winner:
                label = entries[winner].name or entries[winner].id if winner is not None else ""
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
