"""The index of words: it nominates what shares words, and can be lost without loss."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.text import tokens
from stores import word_index
from stores.word_index import Known, Span, WordIndex


@pytest.fixture
def index(tmp_path: Path) -> Iterator[WordIndex]:
    with closing(WordIndex(tmp_path / "words.sqlite")) as opened:
        yield opened


def line(
    place: int, text: str, *, at: int | None = None, name: str = ""
) -> tuple[Known, dict[str, int]]:
    identity = (name or str(place)).encode()
    known = Known(place, identity, text.encode(), place if at is None else at, place)
    return known, dict(Counter(tokens(text)))


def tell(index: WordIndex, *texts: str, chat: str = "chat-1", uid: str = "1") -> None:
    lines = [line(place, text) for place, text in enumerate(texts)]
    index.add(chat, uid, Span(0, len(texts), "r"), lines)


def search(index: WordIndex, question: str, chat: str = "chat-1", limit: int = 9) -> list[int]:
    terms = dict.fromkeys(tokens(question), 1.0)
    return index.search(chat, terms, index.corpus(chat, terms), limit)


def test_rare_words_count_more_and_the_best_come_first(index: WordIndex) -> None:
    tell(index, "the ferry leaves", "the ferry and the letter", "그 편지를 태웠다", "a lamp")
    assert search(index, "Where is the letter of the ferry?") == [1, 0]
    assert search(index, "편지는?") == [2]
    assert search(index, "ferry", limit=1) == [1], "of equal ones the newest"
    assert search(index, "nothing of it") == search(index, "ferry", chat="chat-2") == []
    corpus = index.corpus("chat-1", ["ferri", "zzz"])
    assert (corpus.messages, corpus.found) == (4, {"ferri": 2, "zzz": 0})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=12))
def test_counts_are_those_of_what_was_added_and_not_removed(lines: list[list[str]]) -> None:
    index = WordIndex(None)
    for place, words in enumerate(lines):
        known = Known(place, bytes([place % 5]), str(place).encode(), place, place)
        index.add("c", "1", Span(0, place + 1, ""), [(known, dict(Counter(words)))])
    newest = {place % 5: words for place, words in enumerate(lines)}  # of one identity the last
    corpus = index.corpus("c", "abcdefgh")
    assert corpus.messages == len(newest)
    assert corpus.terms == sum(map(len, newest.values()))
    counts = Counter(word for words in newest.values() for word in set(words))
    assert corpus.found == {word: counts[word] for word in "abcdefgh"}
    index.remove("c", range(len(lines)))
    assert index.corpus("c", "abcdefgh") == index.corpus("other", "abcdefgh")


def test_another_collection_of_the_name_and_a_forgotten_chat_leave_nothing(
    index: WordIndex,
) -> None:
    tell(index, "비밀 편지")
    tell(index, "another secret", chat="chat-2")
    assert index.span("chat-1", "1") == Span(0, 1, "r")
    assert index.span("chat-1", "2") is None
    assert search(index, "편지") == []
    index.forget("chat-2")
    assert search(index, "secret", chat="chat-2") == []
    assert index.newest("chat-2") == 0


def test_neighbours_come_in_the_order_of_the_chat(index: WordIndex) -> None:
    lines = [line(place, str(place), at=at) for place, at in enumerate([10, 20, 40, 30, 50])]
    index.add("chat-1", "1", Span(0, 5, "r"), lines)
    around = index.around("chat-1", [3, 0, 99], 1)
    assert {at: [known.place for known in row] for at, row in around.items()} == {
        3: [1, 3, 2],
        0: [0, 1],
    }
    assert [known.place for known in index.following("chat-1", lines[3][0], 9)] == [3, 2, 4]


def test_what_is_kept_is_bounded_by_the_chats_used_longest_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_index, "MESSAGES", 10)
    with closing(WordIndex(tmp_path / "words.sqlite")) as index:
        for chat in "abcd":
            tell(index, *["a ferry"] * 4, chat=chat)
        assert [bool(search(index, "ferry", chat=chat)) for chat in "abcd"] == [0, 0, 1, 1]


@pytest.mark.parametrize("fault", ["garbage", "a folder"])
def test_a_file_that_does_not_serve_costs_the_file_and_no_search(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "words.sqlite"
    path.mkdir() if fault == "a folder" else path.write_bytes(os.urandom(50_000))
    with closing(WordIndex(path)) as index:
        tell(index, "the ferry")
        assert search(index, "ferry") == [0]
    assert "word index: words.sqlite" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_two_processes_share_the_file(tmp_path: Path, index: WordIndex) -> None:
    tell(index, "the ferry")
    with closing(WordIndex(tmp_path / "words.sqlite")) as other:
        assert search(other, "ferry") == [0]
        other.forget("chat-1")
    assert search(index, "ferry") == []


def test_no_search_reads_all_messages_of_a_chat(index: WordIndex) -> None:
    tell(index, "the ferry", "a lamp", "the ferry again")
    asked: list[str] = []
    search(index, "ferry")
    db = index._file._reading.db
    assert db is not None
    db.set_trace_callback(asked.append)
    search(index, "ferry")
    [known] = index.of_identity("chat-1", [b"1"])
    index.of_words("chat-1", [b"a lamp"])
    index.following("chat-1", known, 2)
    index.around("chat-1", [1], 2)
    index.newest("chat-1")
    db.set_trace_callback(None)
    asked = [sql for sql in asked if sql.startswith(("SELECT", "WITH"))]
    assert len(asked) > 8
    for sql in asked:
        for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}"):
            assert not step.endswith("PRIMARY KEY (chat=?)"), sql
