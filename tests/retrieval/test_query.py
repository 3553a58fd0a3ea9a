"""The query of a turn."""

from retrieval.query import CHAT_SIZE, TURNS, Turn, in_first_person, make_query


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
    turns = [Turn("Jon was here."), Turn("And Mia too."), Turn("Really?")]
    assert make_query("What did she say?", turns, speakers=["Mia", "Jon"]).speakers == {"mia"}
    assert not make_query("What is new?", turns, speakers=["Mia", "Jon"]).speakers


def test_the_running_chat_is_a_view_of_its_own_with_the_newest_lines_weighing_most() -> None:
    turns = [Turn(f"line{number}x") for number in range(10)]
    message, chat = make_query("ring", turns, names=["harbour"]).views
    assert message.terms == {"ring": 1.0}
    assert chat.terms["ring"] > chat.terms["line9x"] > chat.terms["line8x"]
    assert chat.terms["harbour"] < chat.terms["ring"]
    assert f"line{9 - TURNS}x" not in chat.terms
    assert chat.text.endswith("line9x\nring")


def test_a_word_that_comes_back_is_the_topic() -> None:
    turns = [Turn("The harbour is cold."), Turn("Which harbour? Hello!")]
    _, chat = make_query("Yes.", turns).views
    assert chat.terms["harbour"] > chat.terms["hello"] > chat.terms["cold"]


def test_what_asks_for_something_new_does_not_carry_the_chat_on() -> None:
    turns = [Turn("등대에 가자.", "Jon"), Turn("The harbour is cold.", "Mia")]
    new = make_query("Where is the ring?", turns).carries_on
    stated = make_query("I lost the ring.", turns).carries_on
    assert new == 0
    assert new < stated < make_query("The harbour is so cold!", turns).carries_on
    assert make_query("반지는 어디 있어?", turns).carries_on == 0
    assert make_query("Be honest. Where is the ring? I must know.", turns).carries_on == 0
    assert make_query("Really? I lost the ring.", turns).carries_on == stated
    assert make_query("등대에서 기다릴게", turns).carries_on > stated


def test_a_long_chat_is_cut_from_its_beginning() -> None:
    query = make_query("the end", [Turn("long " * 1000)])
    assert len(query.texts[1]) == CHAT_SIZE
    assert query.texts[1].endswith("the end")


def test_nothing_to_go_by() -> None:
    assert make_query("", [Turn(" ")]).texts == [""]
