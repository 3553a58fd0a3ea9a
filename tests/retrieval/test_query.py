"""The query of a turn."""

import numpy as np
import pytest

from retrieval.query import (
    CHAT_LINES,
    CHAT_SIZE,
    MESSAGE_WEIGHT,
    chat_text,
    in_first_person,
    make_query,
    view_vectors,
)


def test_a_named_speaker_is_asked_in_the_first_person() -> None:
    query = make_query("When did Mia lose Mia's ring?", speakers=["Mia", "Jon"])
    assert query.texts == ["When did I lose my ring?"]
    assert query.speakers == {"mia"}
    assert "mia" not in query.views[0].terms
    assert {"lose", "ring"} <= query.views[0].terms.keys()


def test_only_whole_names_are_replaced() -> None:
    assert in_first_person("Miami and Mia", ["Mia"]) == "Miami and I"


def test_a_speaker_is_named_by_part_of_the_name_or_with_a_particle() -> None:
    assert make_query("Where is Aldric?", speakers=["Sir Aldric"]).speakers == {"sir aldric"}
    assert make_query("세라피나는 어디 갔어?", speakers=["세라피나"]).speakers == {"세라피나"}


def test_a_pronoun_means_the_one_last_named() -> None:
    lines = ["Jon was here.", "And Mia too.", "Really?"]
    assert make_query("What did she say?", lines, speakers=["Mia", "Jon"]).speakers == {"mia"}
    assert not make_query("What is new?", lines, speakers=["Mia", "Jon"]).speakers


def test_the_running_chat_is_a_view_of_its_own_with_the_newest_lines_weighing_most() -> None:
    lines = [f"line{number}x" for number in range(10)]
    message, chat = make_query("ring", lines, names=["harbour"]).views
    assert message.terms == {"ring": 1.0}
    assert chat.terms["ring"] > chat.terms["line9x"] > chat.terms["line8x"]
    assert chat.terms["harbour"] < chat.terms["ring"]
    assert f"line{9 - CHAT_LINES}x" not in chat.terms
    assert chat.text.endswith("line8x line9x"), "it is known before the message comes"


def test_a_word_that_comes_back_is_the_topic() -> None:
    lines = ["The harbour is cold.", "Which harbour? Hello!"]
    _, chat = make_query("Yes.", lines).views
    assert chat.terms["harbour"] > chat.terms["hello"] > chat.terms["cold"]


def test_what_asks_for_something_new_does_not_carry_the_chat_on() -> None:
    lines = ["등대에 가자.", "The harbour is cold."]
    new = make_query("Where is the ring?", lines).follow_up
    stated = make_query("I lost the ring.", lines).follow_up
    assert new == 0
    assert new < stated < make_query("The harbour is so cold!", lines).follow_up
    assert make_query("반지는 어디 있어?", lines).follow_up == 0
    assert make_query("Be honest. Where is the ring? I must know.", lines).follow_up == 0
    assert make_query("Really? I lost the ring.", lines).follow_up == stated
    assert make_query("등대에서 기다릴게", lines).follow_up > stated


def test_a_name_of_the_scene_that_was_said_keeps_the_weight_of_what_was_said() -> None:
    said, unsaid = (
        make_query("Yes.", [line], names=["harbour"]).views[1].terms["harbour"]
        for line in ("The harbour is cold.", "It is cold.")
    )
    assert said > unsaid > 0


def test_a_long_chat_is_cut_from_its_beginning() -> None:
    query = make_query("And then?", ["long " * 1000 + "end"])
    assert len(query.texts[1]) == CHAT_SIZE
    assert query.texts[1].endswith("long end")


def test_a_reply_may_be_kept_trimmed() -> None:
    assert chat_text(["가자.\n\n", " *He nods.* "]) == chat_text(["가자.", "*He nods.*"])


def test_the_message_has_its_length_for_a_share_of_the_chat() -> None:
    lines = ["등대로 가는 배는 언제 떠나? " * 4]
    rows = np.eye(2, dtype=np.float32)  # what was said before is nothing like the message

    def vectors(message: str) -> np.ndarray:
        return view_vectors(make_query(message, lines), rows)

    np.testing.assert_array_equal(vectors("응")[0], [1, 0])
    np.testing.assert_allclose(np.linalg.norm(vectors("응"), axis=1), 1, rtol=1e-6)
    assert vectors("응")[1][0] < vectors("응, 일곱 시에 떠나.")[1][0]
    said, before = vectors("가" * CHAT_SIZE * 2)[1]
    assert said / before == pytest.approx(MESSAGE_WEIGHT * CHAT_SIZE / len(chat_text([lines[0]])))
    assert len(view_vectors(make_query("응"), rows[:1])) == 1


def test_nothing_to_go_by() -> None:
    assert make_query("", [" "]).texts == [""]


def test_a_word_of_a_query_counts_once_in_however_many_pairs_it_is_cut() -> None:
    (view,) = make_query("컴퓨터학개론 시험이 언제였더라?").views
    course = {term: weight for term, weight in view.terms.items() if term in "컴퓨터학개로"}
    assert len(course) > 3 and sum(course.values()) == pytest.approx(1)
    assert view.terms["시허"] == 1 and "언제" not in view.terms
    english = make_query("When was the lighthouse built?").views[0].terms
    assert set(english.values()) == {1.0}
