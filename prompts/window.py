"""Where the verbatim history begins: cuts in blocks, at places that the text itself decides.

A history that slides by a message each turn moves every later token, and the engine's cache is
lost. So the history grows until the window is full, then a block falls away at once, and the
prompt stays as it is until the next one.

Every stateless worker must cut at the same place, also when the backend sends only the recent
part of the chat: so no rule may count from the first message it sees. A cut falls on an *anchor*,
as in content-defined chunking: a message whose hash is the smallest within a reach of tokens on
both sides. That depends on its neighbourhood alone. The cut is the oldest anchor from which
everything fits the window; it stays while that is so, then the next anchor takes over. A worker
that sees the window and one reach more sees the same cut as one that sees the whole chat.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

_FINER = (1, 2, 4)
"""Reaches to try, as divisors: where no anchor lies in the window's older part, a nearer one."""


def content_sum(text: str) -> int:
    """A pseudo-random number of a text."""
    return zlib.crc32(text.encode())


def content_marks(sums: Sequence[int]) -> list[int]:
    """A pseudo-random number for each message, of its own text and the one before it.

    The pair tells equal messages ("ok") apart. The first has none before it, so its mark is not
    the one it has within a longer chat.

    Args:
        sums: `content_sum` of each message's text.
    """
    return [zlib.crc32(b"%d %d" % pair) for pair in pairwise([0, *sums])]


def reach_of(budget: int, keep: float) -> float:
    """Reach of an anchor on each side, in tokens.

    Anchors lie two reaches apart on average, and a cut drops what lies between two of them.
    """
    return (1 - keep) / 2 * budget


def verbatim_from(
    counts: Sequence[int],
    marks: Sequence[int],
    budget: int,
    keep: float = 0.5,
    *,
    recent_only: bool = False,
) -> int:
    """Row of the first message that stays verbatim.

    Args:
        counts: tokens of each message, oldest first, the user's new message last.
        marks: `content_marks` of the same messages.
        budget: tokens of the window: what stays fits it, but for the last message.
        keep: share of the window that a cut leaves on average, and half of it at least.
        recent_only: the first message given is not the first of the chat, so it is no place to
            cut: where it falls out next turn, the cache would be lost.

    Returns:
        0 while everything fits; at most `len(counts) - 1`.
    """
    last = len(counts) - 1
    first, fitting = last, counts[last]
    while first > 0 and fitting + counts[first - 1] <= budget:
        first -= 1
        fitting += counts[first]
    if first == 0 and not recent_only:
        return 0
    floor, reach = keep / 2 * min(budget, fitting), reach_of(budget, keep)
    for divisor in _FINER:
        tokens = fitting
        for row in range(first, last):
            if tokens < max(floor, reach / divisor):
                break
            if _is_anchor(row, counts, marks, reach / divisor):
                return row
            tokens -= counts[row]
    return first


def _is_anchor(row: int, counts: Sequence[int], marks: Sequence[int], reach: float) -> bool:
    """Whether no mark within reach is smaller; of equal ones the latest counts.

    A message whose older neighbours are not all known is none.
    """
    tokens, before = 0, row - 1
    while tokens < reach:
        if before < 0 or marks[before] < marks[row]:
            return False
        tokens += counts[before]
        before -= 1
    tokens, behind = counts[row], row + 1
    while behind < len(counts) and tokens < reach:
        if marks[behind] <= marks[row]:
            return False
        tokens += counts[behind]
        behind += 1
    return True
