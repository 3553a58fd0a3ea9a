"""The index of words: growing, shrinking, windows."""

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.lexical import MAX_QUERY_TERMS, LexicalIndex, LexicalScores
from retrieval.text import tokens

TEXTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), min_size=1, max_size=12)


def build(texts: list[list[str]], scene_size: int = 4, each: int = 1) -> LexicalIndex:
    """Of passages with so many parts each."""
    index = LexicalIndex()
    for row, terms in enumerate(texts):
        index.add(terms, passage=row // each, scene=str(row // scene_size))
    return index


def scores(
    index: LexicalIndex, query: Mapping[str, float], allowed: np.ndarray | None = None
) -> LexicalScores:
    return index.scores(query, index.candidates(allowed))


@given(TEXTS, TEXTS, st.integers(1, 3))
def test_growing_and_shrinking_leaves_no_trace(
    texts: list[list[str]], more: list[list[str]], each: int
) -> None:
    index = build(texts, each=each)
    expected = scores(index, {"a": 1.0, "b": 0.5})
    for terms in more:
        index.add(terms, passage=len(index) // each, scene="new")
        scores(index, {"a": 1.0})
    index.truncate(len(texts))
    found = scores(index, {"a": 1.0, "b": 0.5})
    np.testing.assert_array_equal(found.window, expected.window)
    np.testing.assert_array_equal(found.own, expected.own)


@given(TEXTS)
def test_scores_are_shares(texts: list[list[str]]) -> None:
    index = build(texts)
    found = scores(index, {"a": 1.0, "z": 1.0})
    near = index.near({"a": 1.0, "b": 1.0, "z": 1.0}, index.candidates())
    for array in (found.window, found.own, found.alone, near):
        assert ((array >= 0) & (array <= 1)).all()


@given(TEXTS)
def test_a_passage_is_one_whatever_its_parts(texts: list[list[str]]) -> None:
    cut = [half for terms in texts for half in (terms[:2], terms[2:])]
    whole, parted = (
        scores(index, {"a": 1.0, "b": 0.5}).own for index in (build(texts), build(cut, each=2))
    )
    np.testing.assert_array_equal(parted, whole)


def test_a_rare_term_outweighs_a_common_one() -> None:
    index = build([["a", "b"], ["a", "c"], ["a", "d"], ["a", "e"]])
    assert scores(index, {"a": 1.0, "c": 1.0}).own.argmax() == 1


def test_neighbours_count_within_the_scene_and_the_one_before_most() -> None:
    index = build([["x"], ["q"], ["y"], ["x"], ["x"], ["x"]], scene_size=5)
    window = scores(index, {"q": 1.0}).window
    assert window[1] > window[2] > window[0] > 0
    assert window[5] == 0


def test_what_is_left_out_is_not_there() -> None:
    texts = [["q"], ["y"], ["q", "y"], ["y"], ["z", "q"], ["q"]]
    allowed = np.array([True, False, True, True, False, True])
    index, only = build(texts, scene_size=6), build([texts[at] for at in (0, 2, 3, 5)], 6)
    among, without = index.candidates(allowed), only.candidates()
    found, expected = scores(index, {"q": 1.0, "z": 1.0}, allowed), scores(only, {"q": 1, "z": 1})
    for name in ("window", "own", "alone"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    values = np.array([0, 1, 0, 0], dtype=np.float32)
    np.testing.assert_array_equal(among.smooth(values), without.smooth(values))
    np.testing.assert_array_equal(among.before(values), [0, 0, 1, 0])
    assert among.rows.tolist() == among.parts.tolist() == [0, 2, 3, 5]


def test_what_stands_together_as_it_is_asked_is_nearest() -> None:
    together, apart = tokens("파란 배가 항구에 있다"), tokens("파란 항구에 배가 있다")
    turned, other = tokens("배가 파란 항구에 있다"), tokens("파란 항구가 있다")
    index, query = build([other, turned, apart, together]), dict.fromkeys(tokens("파란 배는?"), 1.0)
    near = index.near(query, index.candidates())
    assert near[3] > near[1] > 0
    assert near[3] > near[2] > 0
    assert near[0] == 0
    assert not index.near({"배": 1.0}, index.candidates()).any(), "a term alone is near to none"


def test_who_stands_between_does_not_part_a_scene() -> None:
    index = LexicalIndex()
    for row, line in enumerate(["q a", "y b", "y a", "y b"]):
        term, scene = line.split()
        index.add([term], passage=row, scene=scene)
    window = scores(index, {"q": 1.0}).window
    assert window[0] > window[2] > 0
    assert not window[[1, 3]].any()
    numbers = index.candidates().scenes
    assert numbers.tolist() == [index.scene_number(scene) for scene in "abab"]
    assert index.scene_number("c") not in numbers


def test_smoothing_leaves_out_what_is_unknown() -> None:
    index = build([["a"], ["a"], ["a"]])
    smooth = index.candidates().smooth(np.array([1.0, np.nan, 1.0], dtype=np.float32))
    np.testing.assert_allclose(smooth, [1.0, 1.0, 1.0])


def test_an_unknown_term_and_an_empty_query_find_nothing() -> None:
    index = build([["a"]])
    assert not scores(index, {"z": 1.0}).window.any()
    assert not scores(index, {}).own.any()


def test_of_a_long_query_the_terms_that_weigh_most_count() -> None:
    index = build([["a"], ["x0"], ["y"]], scene_size=1)
    light = {f"x{number}": 0.1 for number in range(MAX_QUERY_TERMS)}
    assert scores(index, light | {"a": 1.0}).own.argmax() == 0
    assert scores(index, light).own.argmax() == 1


@given(TEXTS)
def test_windows_are_wide_where_most_parts_leave_out_what_was_named(texts: list[list[str]]) -> None:
    texts = [["x"], *texts]
    narrow, wide = LexicalIndex(), LexicalIndex()
    for row, terms in enumerate(texts):
        narrow.add(terms, passage=row, scene="", elliptic=2 * row < len(texts) - 1)
        wide.add(terms, passage=row, scene="", elliptic=2 * row <= len(texts))
    plain = build(texts, scene_size=len(texts))
    np.testing.assert_array_equal(
        scores(narrow, {"x": 1.0}).window, scores(plain, {"x": 1.0}).window
    )
    reached = np.flatnonzero(scores(wide, {"x": 1.0}).window)
    assert reached.max() == min(len(texts) - 1, 3)
