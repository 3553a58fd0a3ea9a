"""Ranking."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.hybrid import (
    CHAT,
    STORY,
    Hit,
    Knobs,
    Weights,
    beside_best,
    rank,
)
from retrieval.index import Index, Passage
from retrieval.query import make_query
from retrieval.text import tokens
from retrieval.vectors import first_to_embed
from schemas.rag import Corpus, CosineScale

SCENE = [
    Passage("m1", "Where did you learn to sail?", "Jon", "1"),
    Passage("m2", "At my grandmother's, when I was seven.", "Mia", "1"),
    Passage("m3", "The soup is getting cold.", "Jon", "2"),
    Passage("m4", "I lost the silver locket near the lighthouse.", "Mia", "2"),
    Passage("m5", "The lighthouse keeper waved at us.", "Jon", "2"),
]


def ids(index: Index, hits: list[Hit]) -> list[str]:
    return [index.passages[hit.row].id for hit in hits]


def ask(index: Index, message: str, **options: object) -> list[Hit]:
    query = make_query(message, speakers={it.speaker for it in index.passages})
    return rank(index, query, **{"limit": 3, **options})  # type: ignore[arg-type]


def one_hot(*rows: int, size: int = 5) -> np.ndarray:
    return np.eye(size, dtype=np.float32)[list(rows)]


def test_words_find_the_message() -> None:
    index = Index(SCENE)
    hits = ask(index, "Who lost a locket?")
    assert ids(index, hits)[0] == "m4"
    assert hits[0].why == ("lexical",)


def test_an_answer_is_found_by_its_question() -> None:
    index = Index(SCENE)
    hits = ask(index, "Where did Mia learn to sail?")
    assert set(ids(index, hits)[:2]) == {"m1", "m2"}
    (answer,) = (hit for hit in hits if hit.row == 1)
    assert answer.why == ("neighbour", "speaker")


def test_vectors_find_what_words_do_not() -> None:
    index = Index(SCENE)
    hits = ask(index, "dinner", vectors=one_hot(0, 1, 2, 3, 4), query_vectors=one_hot(2))
    assert ids(index, hits)[0] == "m3"
    assert hits[0].why == ("dense",)


def test_what_is_not_allowed_takes_no_place_and_lends_nothing() -> None:
    index = Index(SCENE)
    allowed = np.array([True, True, True, False, True])
    with_all = {hit.row: hit.score for hit in ask(index, "silver locket", limit=5)}
    without = {hit.row: hit.score for hit in ask(index, "silver locket", limit=5, allowed=allowed)}
    assert without.keys() == {0, 1, 2, 4}
    assert with_all[4] > without[4]  # its neighbour had lent it "silver locket"


def test_nothing_allowed_and_nothing_there() -> None:
    assert ask(Index(SCENE), "locket", allowed=np.zeros(5, dtype=bool)) == []
    assert ask(Index(), "locket") == []


def test_the_threshold_filters_by_score() -> None:
    index = Index(SCENE)
    best, *others = ask(index, "Who lost the silver locket near the lighthouse?", limit=5)
    knobs = Knobs(threshold=best.score)
    assert others
    assert ask(index, "Who lost the silver locket near the lighthouse?", knobs=knobs) == [best]


def test_near_duplicates_are_returned_once_and_the_newest_wins() -> None:
    again = [Passage(f"again{row}", "The dragon sleeps!", "Jon", str(row)) for row in range(3)]
    index = Index([*SCENE, *again, Passage("emoji1", "🙂", "Jon", "9")])
    found = ids(index, ask(index, "dragon", limit=20))
    assert found[0] == "again2"
    assert len(found) == len(SCENE) + 2


def test_a_long_message_takes_one_place() -> None:
    filler = "It was a quiet day in the village, and nobody spoke of it. " * 30
    index = Index([*SCENE, Passage("long", f"{filler}Then the griffin came. {filler}", "Jon", "3")])
    found = ids(index, ask(index, "griffin", limit=9))
    assert found[0] == "long" and found.count("long") == 1


def test_parts_without_vectors_can_still_be_found() -> None:
    index = Index(SCENE)
    vectors = one_hot(0, 1, 2, 3, 4)
    vectors[3] = np.nan
    found = ask(index, "silver locket", vectors=vectors, query_vectors=one_hot(0))
    assert "m4" in ids(index, found)
    nothing = np.full_like(vectors, np.nan)
    by_words = ask(index, "silver locket")
    assert ask(index, "silver locket", vectors=nothing, query_vectors=one_hot(0)) == by_words


def test_the_chat_decides_what_the_message_leaves_open() -> None:
    index = Index(SCENE)
    lines = ["Do you remember your silver locket?"]
    hits = rank(index, make_query("Tell me more about it!", lines), limit=1)
    assert ids(index, hits) == ["m4"]
    hits = rank(index, make_query("Who let the soup get cold?", lines), limit=1)
    assert ids(index, hits) == ["m3"]


def test_a_find_of_the_running_chat_passes_a_threshold_and_noise_does_not() -> None:
    rain = [Passage(f"x{row}", f"Rain {row}.", "Jon", "9") for row in range(20)]
    index = Index([*SCENE, *rain])
    lines = [
        "I miss my silver locket, the silver one.",
        "The locket was so pretty.",
    ]
    query = make_query("It was lost near the lighthouse.", lines)
    hits = rank(index, query, limit=5, knobs=Knobs(threshold=0.001))
    assert ids(index, hits) == ["m4", "m5"]


def test_recency_and_the_running_scene_count_by_setting() -> None:
    twins = [Passage("old", "A raven sat there.", scene="1"), Passage("x", "Yes.", scene="2")]
    index = Index([*twins, Passage("new", "There sat one raven.", scene="3")])
    query = replace(make_query("raven"), scene="1")
    in_scene = rank(index, query, limit=1, knobs=Knobs(in_scene=0.2))
    recent = rank(index, query, limit=1, knobs=Knobs(recency=0.2))
    assert ids(index, in_scene) == ["old"]
    assert ids(index, recent) == ["new"]


def raised(evidence: list[float], *allowed: int) -> list[float]:
    """What `beside_best` makes of the evidence for those of `SCENE`, to three places."""
    mask = np.isin(np.arange(5), allowed) if allowed else None
    total = np.array(evidence, dtype=np.float32)
    among = Index(SCENE).lexical.candidates(mask)
    return np.round(beside_best(among, total, STORY), 3).tolist()  # type: ignore[no-any-return]


def test_the_neighbours_of_the_best_event_gain_within_its_scene() -> None:
    some = STORY.beside
    assert raised([0.4, 0.4, 0.2, 0.9, 0.3]) == pytest.approx(
        [0.4, 0.4, 0.2 + some, 0.9, 0.3 + some]
    )
    assert raised([0.4, 0.4, 0.9, 0.2, 0.3]) == pytest.approx([0.4, 0.4, 0.9, 0.2 + some, 0.3])
    assert raised([0.4, 0.4, 0.2, 0.9], 0, 1, 2, 4) == pytest.approx([0.4, 0.4, 0.2 + some, 0.9])


@pytest.mark.parametrize("near", [0.9, 0.89, 0.85])
def test_a_neighbour_does_not_overtake_the_best_event(near: float) -> None:
    total = np.array([0.4, 0.4, near, 0.9, near], dtype=np.float32)
    order = np.argsort(-beside_best(Index(SCENE).lexical.candidates(), total, STORY), kind="stable")
    assert order.tolist() == np.argsort(-total, kind="stable").tolist()


def test_an_event_beside_the_best_is_likelier_and_says_why() -> None:
    tale = [
        "The smith forged a ring for the queen.",
        "It was a cold day.",
        "Bread was dear that year.",
        "Seven ravens came at dusk.",
        "Nobody spoke.",
        "A boat lay on the shore.",
        "The children were asleep.",
    ]
    index = Index([Passage(str(row), text) for row, text in enumerate(tale)])
    query = make_query("Who saw seven ravens?")

    def found(beside: float) -> dict[int, Hit]:
        alone = replace(STORY, beside=beside, lexical_window=0, lexical_before=0)
        knobs = Knobs(weights=alone)
        return {hit.row: hit for hit in rank(index, query, limit=7, knobs=knobs)}

    without, with_it = found(0), found(0.3)
    assert next(iter(with_it)) == next(iter(without)) == 3
    assert with_it[2].score > without[2].score
    assert with_it[0] == without[0]
    assert without[2].why == ()
    assert with_it[2].why == ("neighbour",)


def test_updating_gives_the_same_index_as_building() -> None:
    edited = [*SCENE[:3], Passage("m4", "Nothing happened.", "Mia", "2"), SCENE[4]]
    index = Index(SCENE)
    assert index.update(edited) == 3
    assert index.update([*edited, Passage("m6", "A locket!", "Jon", "2")]) == 5
    fresh = Index([*edited, Passage("m6", "A locket!", "Jon", "2")])
    assert ask(index, "What did Jon say of the locket?") == ask(
        fresh, "What did Jon say of the locket?"
    )


TEXTS = st.lists(st.text(alphabet="abc 가나🙂?.", max_size=30), max_size=8)


@given(TEXTS, TEXTS, st.text(alphabet="abc 가나", max_size=10))
def test_any_history_any_order_of_changes(old: list[str], new: list[str], message: str) -> None:
    index = Index([Passage(str(row), text, "s", str(row // 3)) for row, text in enumerate(old)])
    passages = [Passage(str(row), text, "s", str(row // 3)) for row, text in enumerate(new)]
    index.update(passages)
    hits = ask(index, message, limit=8)
    assert hits == ask(Index(passages), message, limit=8)
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert hits == sorted(hits, key=lambda hit: -hit.score)


@given(TEXTS, st.text(alphabet="abc 가나", max_size=10), st.data())
def test_what_is_masked_moves_no_score(texts: list[str], message: str, data: st.DataObject) -> None:
    """Leak 0 is true of scores: a ranking is that of an index without what may not be found."""
    passages = [Passage(str(row), text, "s", str(row // 5)) for row, text in enumerate(texts)]
    allowed = np.array([data.draw(st.booleans()) for _ in texts], dtype=bool)
    whole = Index(passages)
    only = Index([it for it, may in zip(passages, allowed, strict=True) if may])
    vectors = one_hot(*(row % 5 for row in range(len(texts))))
    vectors[[data.draw(st.booleans()) for _ in texts]] = np.nan
    query = make_query(message, ["a b 가나"], speakers=["s"])
    how: dict[str, Any] = {"limit": 8, "query_vectors": one_hot(1, 2)}
    for weights in CHAT, STORY:
        how["knobs"] = Knobs(weights=weights, recency=0.05)
        masked = rank(whole, query, allowed=allowed, vectors=vectors, **how)
        alone = rank(only, query, vectors=vectors[allowed], **how)
        rows = np.flatnonzero(allowed)
        assert masked == [replace(it, row=rows[it.row]) for it in alone]


def test_an_event_to_come_does_not_make_a_word_common() -> None:
    now = [Passage("1", "The raven sat on the gate."), Passage("2", "Bread was dear.")]
    future = [Passage(str(row), f"The raven spoke {row} times.") for row in range(3, 9)]
    knobs = Knobs(weights=STORY)
    before = rank(Index(now), make_query("raven"), limit=9, knobs=knobs)
    index, allowed = Index([*now, *future]), np.arange(8) < 2
    assert rank(index, make_query("raven"), limit=9, knobs=knobs, allowed=allowed) == before


def test_what_to_embed_first() -> None:
    index = Index(SCENE)
    missing = np.array([0, 1, 3, 4])
    first = first_to_embed(index, make_query("silver locket"), missing, 2, newest=1)
    assert first.tolist() == [4, 3]


def test_what_may_not_be_found_takes_no_place_among_what_is_embedded() -> None:
    missing, allowed = np.arange(5), np.arange(5) < 3
    query = make_query("silver locket")
    first = first_to_embed(Index(SCENE), query, missing, 2, allowed=allowed)
    alone = first_to_embed(Index(SCENE[:3]), query, missing[:3], 2)
    assert first.tolist() == alone.tolist()
    none = first_to_embed(Index(SCENE), query, missing, 2, newest=1, allowed=allowed & False)
    assert none.tolist() == []


@pytest.mark.parametrize("text", ["", "🙂🙂", "x" * 100_000, "가" * 100_000, "\ud800", "a\x00b"])
def test_strange_messages_do_no_harm(text: str) -> None:
    index = Index([*SCENE, Passage("strange", text, "Jon", "2")])
    assert ids(index, ask(index, "silver locket"))[0] == "m4"
    assert len(ask(index, text, limit=10)) == 6


def test_the_first_index_of_a_long_history_is_quick() -> None:
    words = ["river", "stone", "lantern", "harbour", "letter", "winter", "promise", "market"]
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(words, 25)) for _ in range(1000)]
    passages = [Passage(str(row), line, "Jon", str(row // 20)) for row, line in enumerate(lines)]
    start = time.perf_counter()
    Index(passages)
    assert time.perf_counter() - start < 1  # some 40 ms; the bound is for a busy machine


def test_an_answer_comes_before_the_question_that_it_answers() -> None:
    said = [Passage("q", "The locket is silver?"), Passage("x", "Yes.", scene="x")]
    index = Index([*said, Passage("a", "The locket is silver.", scene="y")])
    for order in (index, Index(index.passages[::-1])):
        best, *_ = rank(order, make_query("locket"), limit=1)
        assert order.passages[best.row].id == "a"


def test_of_equal_passages_the_newest_comes_first_and_always_the_same() -> None:
    names = ("oak", "elm", "ash", "fir", "yew", "box")
    index = Index([Passage(name, f"locket {name}", "", name) for name in names])
    hits = ask(index, "locket", limit=6)
    assert len({hit.score for hit in hits}) == 1
    assert ids(index, hits) == [*reversed(names)]
    assert ids(index, ask(index, "locket", limit=2)) == ["box", "yew"], "also where some are cut"


def test_a_few_of_many_are_ranked_as_among_all() -> None:
    """With the counts of what they were chosen from, candidates have the scores of the whole."""
    lines = ["The silver locket lay there.", "A locket.", "The boat left.", *["Silver rain."] * 37]
    passages = [Passage(str(row), text, scene=str(row)) for row, text in enumerate(lines)]
    query = make_query("silver locket")
    found = {term: sum(term in tokens(line) for line in lines) for term in ("silver", "locket")}
    corpus = Corpus(len(lines), sum(len(tokens(line)) for line in lines), found)
    whole = rank(Index(passages), query, limit=3)
    few = rank(Index(passages[:3]), query, limit=3, corpus=corpus)
    alone = rank(Index(passages[:3]), query, limit=3)
    assert few[0].score == pytest.approx(whole[0].score, rel=0.02)
    assert few[1].score == pytest.approx(whole[1].score, rel=0.02)
    assert abs(alone[1].score - whole[1].score) > 2 * abs(few[1].score - whole[1].score)


def alike(texts: list[str], cosine: float) -> np.ndarray:
    """Unit vectors that are no nearer to each other than this, but for equal texts."""
    own = np.sqrt(1 - cosine) * np.eye(64)[[sum(map(ord, text)) % 64 for text in texts]]
    return np.hstack([np.full((len(texts), 1), np.sqrt(cosine)), own]).astype(np.float32)


@pytest.mark.parametrize("weights", [CHAT, STORY])
def test_a_cosine_that_all_texts_have_is_no_evidence(weights: Weights) -> None:
    """To some embedders unrelated texts are near: it must change nothing, in any ranking."""
    index = Index([*SCENE, Passage("m6", "Storm.", "Jon", "3"), Passage("m7", "Bread?", "Jon")])
    lines = ["Do you remember your silver locket?"]
    query = make_query("Tell me more about it!", lines)
    found = []
    for floor in (0.0, 0.8):
        read = replace(query, cosines=CosineScale(floor))
        found.append(
            rank(
                index,
                read,
                limit=9,
                vectors=alike(index.parts, floor),
                query_vectors=alike(query.texts, floor),
                knobs=Knobs(weights=weights),
            )
        )
    assert ids(index, found[1][:1]) == ["m4"], "the running chat speaks"
    assert [hit.row for hit in found[1]] == [hit.row for hit in found[0]]
    assert [hit.why for hit in found[1]] == [hit.why for hit in found[0]]
    assert not any("dense" in hit.why for hit in found[1])
    np.testing.assert_allclose(
        [hit.score for hit in found[1]], [hit.score for hit in found[0]], atol=1e-5
    )


def test_a_follow_up_needs_a_clearer_find_than_a_question() -> None:
    query = make_query("silver locket", ["The soup is cold.", "The soup!"])
    for follow_up, best in ((0.0, "m4"), (1.0, "m3")):
        hits = rank(Index(SCENE), replace(query, follow_up=follow_up), limit=1)
        assert ids(Index(SCENE), hits) == [best]


def test_what_was_not_embedded_is_taken_for_one_of_the_farther() -> None:
    index = Index([Passage(str(row), f"word{row}", scene=str(row)) for row in range(5)])
    cosines = np.array([[0.6], [0.4], [np.nan], [0.2], [0.0]], dtype=np.float32)
    one = np.ones((1, 1), dtype=np.float32)
    hits = ask(index, "boat", limit=5, vectors=cosines, query_vectors=one)
    assert ids(index, hits) == ["0", "1", "3", "2", "4"]


def test_who_says_much_is_heard_up_to_a_bound() -> None:
    lines = [" ".join(f"w{row}x{word}" for word in range(row)) for row in (1, 20, 40, 400)]
    index = Index([Passage(line[:3], line, scene=line[:3]) for line in lines], part_size=9999)
    one, some, many, wall = (hit.score for hit in reversed(ask(index, "boat", limit=4)))
    assert one < some < many == wall


def test_what_follows_the_event_that_was_told_is_likelier_than_what_led_to_it() -> None:
    index = Index([Passage("a", "It rained."), Passage("b", "A raven."), Passage("c", "She left.")])
    alone = replace(STORY, lexical_window=0, beside=0)
    hits = ask(index, "raven", knobs=Knobs(weights=alone))
    assert ids(index, hits) == ["b", "c", "a"]


def test_who_did_it_to_whom_is_told_by_the_order() -> None:
    told = ["The wolf chased the bear at dawn.", "The bear chased the wolf by night."]
    for texts in (told, told[::-1]):
        index = Index([Passage(text, text, scene=text) for text in texts])
        hits = ask(index, "Did the wolf chase the bear?", limit=2, knobs=Knobs(weights=STORY))
        assert ids(index, hits) == told


def test_of_equally_good_events_the_neighbours_of_the_newest_gain() -> None:
    some = STORY.beside
    assert raised([0.9, 0.4, 0.9, 0.4, 0.4]) == pytest.approx([0.9, 0.4, 0.9, 0.4 + some, 0.4])


def test_an_embedder_that_is_not_trusted_is_outvoted() -> None:
    index = Index(SCENE)
    how: dict[str, Any] = {"limit": 1, "vectors": one_hot(0, 1, 2, 3, 4)}
    query = make_query("silver locket")
    for trust, best in ((1.0, "m3"), (0.0, "m4")):
        read = replace(query, cosines=CosineScale(0.0, trust))
        hits = rank(index, read, query_vectors=one_hot(2) * 3, **how)
        assert ids(index, hits) == [best]
