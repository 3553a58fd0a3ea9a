"""Stop strings and split characters, however the text is cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.streaming import TextStream


def streamed(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stream = TextStream(stops)
    given_out = [stream.feed(piece) for piece in pieces]
    return "".join(given_out) + stream.flush(), stream.stopped


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["안녕", "하세요\n", "민", "준:", " 뭐"], ["\n민준:"], "안녕하세요"),
        (["a\n", "\n민", "수:"], ["\n민준:"], "a\n\n민수:"),
        (["<|im", "_e", "nd|>x"], ["<|im_end|>"], ""),
        (["aaa", "ab"], ["aab"], "aa"),  # the held start is itself the start of the stop string
        (["ab", "cd"], ["bc", "abcd"], "a"),  # the first that is complete, not the first begun
        (["abc"], ["bc", "abc"], ""),
        (["no stop", " at all"], [""], "no stop at all"),
    ],
)
def test_text_ends_before_the_stop_string(
    pieces: list[str], stops: list[str], expected: str
) -> None:
    assert streamed(pieces, stops)[0] == expected


def test_nothing_is_held_back_without_need() -> None:
    stream = TextStream(["\nUser:"])
    assert stream.feed("A whole sentence.") == "A whole sentence."
    assert stream.feed(" And\nUse") == " And"
    assert stream.feed("ful") == "\nUseful"
    assert stream.feed("\nUser: x") == ""
    assert stream.stopped
    assert stream.feed("more") == ""


def test_halves_of_a_character_are_joined() -> None:
    first, second = "\ud83d", "\ude00"
    assert streamed(["웃음 " + first, second + "!"], [])[0] == "웃음 😀!"
    assert streamed([first, "x"], [])[0] == "\ufffdx"
    assert streamed([second, "끝" + first], [])[0] == "\ufffd끝\ufffd"


LETTERS = st.text(alphabet="ab\n가", max_size=30)


@given(text=LETTERS, stops=st.lists(LETTERS.filter(bool), max_size=4), data=st.data())
def test_the_cutting_into_pieces_changes_nothing(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
    pieces = [text[a:b] for a, b in pairwise(cuts)]
    assert streamed(pieces, stops) == streamed(list(text), stops)


@given(text=LETTERS, stop=LETTERS.filter(bool))
def test_one_stop_string_cuts_like_partition(text: str, stop: str) -> None:
    before, found, _ = text.partition(stop)
    assert streamed(list(text), [stop]) == (before, bool(found))


@given(st.lists(st.text(alphabet=st.characters(), max_size=5), max_size=10))
def test_what_leaves_can_always_be_encoded(pieces: list[str]) -> None:
    streamed(pieces, ["x"])[0].encode("utf-8")
