"""Terms, keyword matching and parts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.text import mentioned_in, mentions, normal, parts, tokens

WORDS = st.text(alphabet="abcdefg가나다라마 東京剣はをカナ.,!?…\n'’-/🙂é", max_size=200)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("세라피나는 숲으로 갔다", "세라피나"),
        ("세라피나, 어디 가?", "세라피나"),
        ("세라피나님께서는요", "세라피나"),
        ("민준아!", "민준"),
        ("숲에서 만나자", "숲"),
        ("그 AI는 말했다", "AI"),
        ("Caroline's dog", "caroline"),
        ("the  Black\ncat", "black cat"),
        ("ÉLAN vital", "e\u0301lan"),
        ("東京都に行った", "東京"),
        ("剣を取る", "剣"),
        ("a (dragon)", "dragon"),
        ("they SAID so", "/s[ai]+d/i"),
    ],
)
def test_mentions(text: str, keyword: str) -> None:
    assert mentions(text, keyword)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("은빛숲길을 걷다", "숲"),
        ("우리세라피나", "세라피나"),
        ("숲길", "숲"),
        ("an artist", "art"),
        ("driftwood", "wood"),
        ("wood2", "wood"),
        ("真剣だ", "剣"),
        ("they SAID so", "/said/"),
        ("anything", ""),
        ("anything", "  "),
        ("anything", "/(unclosed/"),
    ],
)
def test_does_not_mention(text: str, keyword: str) -> None:
    assert not mentions(text, keyword)


def test_a_hanging_pattern_is_given_up() -> None:
    start = time.perf_counter()
    assert not mentions("a" * 5000 + "!", "/(a+)+$/")
    assert time.perf_counter() - start < 2


@given(WORDS, WORDS)
def test_mentions_never_fails(text: str, keyword: str) -> None:
    mentions(text, keyword)
    mentions(text, f"/{keyword}/i")


@given(st.from_regex(r"[a-z가-힣]{2,8}", fullmatch=True))
def test_a_word_mentions_itself_alone_and_between_spaces(word: str) -> None:
    assert mentions(word, word)
    assert mentions(f"oh {word}, yes", word)


def test_terms_meet_across_forms() -> None:
    assert tokens("They went to the caves") == tokens("Going to THE cave, they...")
    assert tokens("세라피나는") == tokens("세라피나에게서") == ["세라", "라피", "피나"]
    assert set(tokens("숲에서")) & set(tokens("숲은")) == {"숲"}
    assert tokens("кошки") == tokens("кошка")
    assert tokens("東京へ") == ["東京"]
    assert tokens("🙂 … !") == []


def test_a_particle_never_takes_the_whole_word() -> None:
    assert set(tokens("아이는")) & set(tokens("아이"))


@given(WORDS)
def test_terms_do_not_depend_on_case_or_composition(text: str) -> None:
    assert tokens(text) == tokens(normal(text)) == tokens(text.upper().lower())


@given(WORDS, st.integers(min_value=5, max_value=80))
def test_parts_hold_the_whole_text_in_order(text: str, size: int) -> None:
    cut = parts(text, size)
    assert cut
    assert "".join("".join(cut).split()) == "".join(text.split())
    assert all(len(part) <= 3 * size for part in cut)


def test_parts_end_with_sentences() -> None:
    text = 'He asked, "Who is there?" Nobody spoke. The wind\nwent on. 바람이 불었다. 비가 왔다.'
    assert parts(text, 30) == [
        'He asked, "Who is there?"',
        "Nobody spoke. The wind\nwent on.",
        "바람이 불었다. 비가 왔다.",
    ]


def test_a_wall_of_text_is_cut_quickly() -> None:
    start = time.perf_counter()
    assert max(map(len, parts("가" * 100_000, 600))) <= 1200
    tokens("가" * 100_000)
    assert time.perf_counter() - start < 2


def test_keywords_seen_for_the_first_time_cost_little() -> None:
    """In processor time: 2,000 keywords that nobody has asked for before, in three messages."""
    mentioned = mentioned_in(["바람이 분다. 세라는 문을 열고 밖으로 나갔다. " * 10] * 3)
    started = time.process_time()
    assert not any(mentioned(f"처음 보는 말 {number}") for number in range(2_000))
    assert mentioned("세라")
    assert time.process_time() - started < 0.3
