"""The history is cut in blocks, at places that the chat's text decides."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompts.plan import content_marks, plan, reach_of, verbatim_from
from schemas.rag import PromptBuildInput
from tests.prompts.prompts_support import chat, turn

BUDGET = 3000


def talk(seed: int, lines: int = 400) -> tuple[list[int], list[int]]:
    """Tokens and marks of a chat."""
    draw = random.Random(seed)
    counts = [
        draw.randint(20, 60) if row % 2 == 0 else draw.randint(80, 200) for row in range(lines)
    ]
    return counts, content_marks([f"{seed} {row}" for row in range(lines)])


def cuts(counts: list[int], marks: list[int], keep: float) -> list[int]:
    """The cut after each user message."""
    rows = range(1, len(counts) + 1, 2)
    return [verbatim_from(counts[:row], marks[:row], BUDGET, keep) for row in rows]


@pytest.mark.parametrize("keep", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(3))
def test_the_cut_moves_seldom_and_never_back(seed: int, keep: float) -> None:
    counts, marks = talk(seed)
    places = cuts(counts, marks, keep)
    moved = [now - before for before, now in pairwise(places) if now != before]
    assert all(step > 0 for step in moved)
    dropped = (1 - keep) * BUDGET  # on average, at each cut
    assert len(moved) <= 1.5 * sum(counts) / dropped


@pytest.mark.parametrize("seed", range(5))
def test_what_stays_fits_and_is_no_scrap(seed: int) -> None:
    counts, marks = talk(seed)
    kept = []
    for turn_, first in enumerate(cuts(counts, marks, 0.5)):
        kept.append(sum(counts[first : 2 * turn_ + 1]))
        assert kept[-1] <= BUDGET
        assert first == 0 or kept[-1] >= 0.25 * BUDGET
    assert sum(kept[50:]) / len(kept[50:]) > 0.65 * BUDGET  # sliding keeps about 0.97


@given(seed=st.integers(0, 10**6), length=st.integers(60, 300), extra=st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_the_recent_part_is_cut_at_the_same_message(seed: int, length: int, extra: int) -> None:
    """A worker that sees the window, one reach more and a message more, whatever lies before."""
    counts, marks = talk(seed, length)
    whole = verbatim_from(counts, marks, BUDGET)
    needed, start = BUDGET + reach_of(BUDGET, 0.5), length
    while start > 0 and sum(counts[start:]) <= needed:
        start -= 1
    start = max(0, start - extra)
    texts = [f"{seed} {row}" for row in range(length)]
    recent = verbatim_from(
        counts[start:],
        content_marks(texts[start:]),
        BUDGET,
        recent_only=start > 0,
    )
    assert start + recent == whole


def test_all_stays_while_it_fits() -> None:
    assert verbatim_from([100] * 30, list(range(30)), 3000) == 0
    assert verbatim_from([100] * 31, list(range(31)), 3000) > 0


def test_a_sliding_part_of_a_chat_is_cut_at_an_anchor_though_it_fits() -> None:
    """So that the prompt stays when the oldest message falls out of what the backend sends."""
    counts, marks = talk(7)
    seen = set()
    for row in range(200, 230):
        part = slice(row - 20, row)
        first = verbatim_from(counts[part], marks[part], BUDGET, recent_only=True)
        seen.add(row - 20 + first)
    assert len(seen) <= 6  # of 30


def test_equal_messages_and_huge_ones_are_no_trouble() -> None:
    same = content_marks(["ok"] * 100)
    assert 0 < verbatim_from([100] * 100, same, 3000) <= 99
    assert verbatim_from([5000, 5000, 10], [1, 2, 3], 3000) == 2
    assert verbatim_from([10], [1], 5) == 0


def test_of_equal_marks_within_reach_the_latest_is_the_anchor() -> None:
    """Whoever sees less of the past, or more, must choose the same of two that are alike."""
    marks = [1000 - row for row in range(60)]
    marks[34] = marks[37] = 0
    assert verbatim_from([100] * 60, marks, BUDGET) == 37
    assert verbatim_from([100] * 50, marks[10:], BUDGET, recent_only=True) == 27
    assert verbatim_from([100] * 60, [7] * 60, BUDGET) == 30, "no anchor: what fits"


def test_keep_one_slides() -> None:
    counts, marks = talk(1, 101)
    first = verbatim_from(counts, marks, BUDGET, 1.0)
    assert sum(counts[first:]) <= BUDGET < sum(counts[first - 1 :])


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_plan_cuts_a_recent_part_at_the_same_message(language: str) -> None:
    history = chat(300, seed=5, language=language)
    whole: PromptBuildInput = turn(history=history, context_length=4096)
    first = plan(whole).verbatim_from
    recent = whole.model_copy(update={"history": history[-150:]})
    assert first > 150
    assert plan(recent).verbatim_from == first - 150
