"""What a pattern needs is never more than it needs, and enough to spare most lines the pattern."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from cards.grams import Grams
from cards.keys import Clock, Key, KeyIndex
from cards.literals import fold, required
from retrieval.text import mentions
from tests.cards.cards_support import unhurried


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        (r"\bdragons?\b", ["dragon"]),
        (r"(?i)DRAGON|wyvern|용", ["dragon", "wyvern", "용"]),
        (r"(?:은빛|금빛)\s*숲(?:은|는)?", ["은빛", "금빛"]),
        (r"^\x01민준: .*숲", ["\x01민준: "]),
        (r"검(?:사|객)+", ["검"]),
        (r"[Ww]yrm", ["yrm"]),
        (r"a\.b\|c", ["a.b|c"]),
        (r"x{2,3}yz", ["yz"]),
        (r"(?=dragon)\w+ lair(?!s)", [" lair"]),
        (r"\u0041\u{1F409}", []),
        (r"(ab)?c*(de|)", []),
        (r"[가-힣]{2}\d+", []),
        (r"(?:dragon){e<=1}", []),
        (r"(?x)d r a", []),
        (r"[[:alpha:]]x", []),
        (r"(", []),
        (r"a)b", []),
    ],
)
def test_what_a_pattern_needs(pattern: str, literals: list[str]) -> None:
    assert required(pattern) == set(literals)


def test_thousands_of_ways_and_levels_are_not_followed() -> None:
    assert not required("|".join(map(str, range(1000))))
    assert not required("(" * 5_000 + "a" + ")" * 5_000)


PIECES = st.sampled_from(
    ["a", "b", "ab", "İ", "i", "ſ", "s", "K", "ß", "ss", "숲", "는", "\\b", "^", "$", ".", "[ab]",
     "[^a]", "[]a]", "\\d", "\\.", "\\x61", "*", "+", "?", "{0}", "{1,2}", "{,2}", "*?", "++", "|",
     "(", "(?:", "(?=", "(?!", "(?<!", ")", "(?i:", "(?>", "\\1", "(?P<n>", "-", " "]
)  # fmt: skip


@unhurried
@given(
    st.sampled_from(["", "(?i)", "(?ms)"]),
    st.lists(PIECES, max_size=9).map("".join),
    st.text(st.sampled_from("aAbBiİıIsSſkKKßẞ숲는.1 -"), max_size=12),
)
def test_no_match_lacks_what_its_pattern_needs(flags: str, pattern: str, text: str) -> None:
    try:
        matches = regex.search(flags + pattern, text, timeout=1)
    except (regex.error, TimeoutError):
        return
    needs = required(flags + pattern)
    if matches and needs:
        assert any(literal in fold(text) for literal in needs)


def test_every_character_that_a_pattern_takes_for_equal_folds_alike() -> None:
    cased = [chr(c) for c in range(0x11000) if chr(c).swapcase() != chr(c) and chr(c) != "\ufeff"]
    text = "".join(cased)
    for character in cased:
        for equal in regex.findall(f"(?i){regex.escape(character)}", text):
            assert fold(equal) == fold(character)


WORDS = st.text(st.sampled_from("ab숲은"), min_size=1, max_size=5)


@unhurried
@given(st.lists(st.lists(WORDS, max_size=3), max_size=6), st.text(st.sampled_from("ab숲은 ")))
def test_grams_find_what_is_there_and_no_more(words: list[list[str]], text: str) -> None:
    wanted = {row for row, some in enumerate(words) if any(word in text for word in some)}
    assert Grams(dict(enumerate(words))).found(text) == wanted


PATTERNS = st.lists(PIECES, min_size=1, max_size=5).map(lambda parts: f"/{''.join(parts)}/i")


@unhurried
@given(st.lists(PATTERNS, min_size=1, max_size=5, unique=True), st.text("aAb숲. ", max_size=8))
def test_an_index_finds_what_each_pattern_finds_alone(keys: list[str], text: str) -> None:
    clock = Clock(60)
    found = KeyIndex([Key(key) for key in keys]).found(text, clock)
    alone = {row for row, key in enumerate(keys) if Key(key).is_pattern and mentions(text, key)}
    assert {row for row in found if Key(keys[row]).is_pattern} == alone - clock.slow
