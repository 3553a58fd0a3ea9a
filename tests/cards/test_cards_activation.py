"""What a turn takes from a lorebook, and what it says of every entry."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import pytest

from cards.lore.activation import activate
from cards.lore.lorebook import stack
from cards.lore.scene import Scene
from cards.lore.world_info import parse_book
from schemas.request import ChatRequest, Message
from tests.cards.cards_support import book, ids, run, said, why


def test_every_entry_is_explained() -> None:
    outcome = run(
        book(
            {"key": ["숲"]},
            {"constant": True},
            {"key": ["바다"]},
            {"key": ["숲"], "disable": True},
            {"content": "", "key": ["숲"]},
        ),
        "숲에 가자",
    )
    assert ids(outcome) == ["0", "1"]
    assert [why(outcome, str(row)) for row in range(5)] == [
        "key `숲` in the message",
        "constant",
        "no key found",
        "disabled",
        "its text is empty",
    ]


@pytest.mark.parametrize(
    ("logic", "taken"),
    [(0, ["b", "bc"]), (1, ["", "b"]), (2, [""]), (3, ["bc"])],
)
def test_the_four_logics(logic: int, taken: list[str]) -> None:
    entry = {"key": ["a"], "keysecondary": ["b", "c"], "selectiveLogic": logic}
    texts = {"": "a", "b": "a b", "bc": "a b c"}
    assert [name for name, text in texts.items() if ids(run(book(entry), text))] == taken
    plain = {**entry, "selective": False}
    assert all(ids(run(book(plain), text)) for text in texts.values())


def test_scan_depth_of_reader_and_entry() -> None:
    lines = ("용이 산다", "그래?", "응")
    entries = ({"key": ["용"]}, {"key": ["용"], "scanDepth": 3}, {"key": ["응"], "scanDepth": 0})
    outcome = run(book(*entries), *lines)
    assert ids(outcome) == ["1"]
    assert why(outcome, "1") == "key `용` in the message 2 before"


def test_the_speakers_name_is_scanned_and_the_narrator_has_none() -> None:
    assert ids(run(book({"key": ["민준"]}), "안녕")) == ["0"]
    narrated = [Message(role="narrator", content="안녕")]
    assert ids(run(book({"key": ["/^\\x01안녕/"]}), messages=narrated)) == ["0"]


def test_recursion_and_its_flags() -> None:
    chain: list[dict[str, Any]] = [
        {"key": ["a"], "content": "b"},
        {"key": ["b"], "content": "c"},
        {"key": ["c"], "content": "d", "preventRecursion": True},
        {"key": ["d"]},
        {"key": ["b"], "excludeRecursion": True},
        {"key": ["a"], "delayUntilRecursion": True},
        {"key": ["e"], "delayUntilRecursion": 2},
    ]
    outcome = run(book(*chain), "a")
    assert ids(outcome) == ["0", "1", "2", "5"]
    assert why(outcome, "1") == "key `b` in the entry `0`"
    assert why(outcome, "6") == "no key found"
    off = run({**book(*chain), "recursive_scanning": False}, "a")
    assert ids(off) == ["0", "5"]


def test_circles_end_and_a_secondary_key_may_come_from_another_entry() -> None:
    circle = [{"key": ["a"], "content": "b"}, {"key": ["b"], "content": "a"}]
    late = {"key": ["a"], "keysecondary": ["b"]}
    assert ids(run(book(*circle, late), "a")) == ["0", "1", "2"]


def test_hidden_keys_are_scanned_and_not_said() -> None:
    outcome = run(book({"key": ["a"], "content": "{{hidden_key:b}}나무"}, {"key": ["b"]}), "a")
    assert [item.text for item in outcome.active] == ["나무", "entry 1"]


def test_hidden_keys_of_the_card_are_scanned_where_an_entry_names_it() -> None:
    named = {"key": ["a"], "content": "{{scenario}}"}
    fields = {"scenario": "섬{{hidden_key:b}}"}
    assert ids(run(book(named, {"key": ["b"]}), "a", fields=fields)) == ["0", "1"]


def test_texts_have_their_macros_filled_in() -> None:
    outcome = run(book({"key": ["a"], "content": "{{char}}는 {{user}}과 {{random:x,y}}"}), "a")
    assert outcome.active[0].text in ("세라는 민준과 x", "세라는 민준과 y")


def test_probability_repeats_and_is_about_right() -> None:
    entries = [{"key": ["a"], "probability": 30} for _ in range(400)]
    first = ids(run(book(*entries), "a", budget=10_000))
    assert first == ids(run(book(*entries), "a", budget=10_000))
    assert first != ids(run(book(*entries), "a", budget=10_000, chat="other"))
    assert 80 < len(first) < 160
    assert not ids(run(book({"key": ["a"], "probability": 0}), "a"))
    assert ids(run(book({"key": ["a"], "probability": 0, "useProbability": False}), "a"))


def test_the_budget_takes_by_order_and_goes_on_to_smaller_ones() -> None:
    entries = [
        {"key": ["a"], "order": 3, "content": "x " * 5},
        {"key": ["a"], "order": 2, "content": "x " * 9},
        {"key": ["a"], "order": 1, "content": "x " * 3},
        {"key": ["a"], "order": 0, "content": "x " * 50, "ignoreBudget": True},
        {"key": ["a"], "order": 9, "content": "@@ignore_on_max_context\n" + "x " * 4},
    ]
    outcome = run(book(*entries), "a", budget=8)
    assert ids(outcome) == ["3", "2", "0"], "in the order of the prompt"
    assert why(outcome, "1") == "found, but over the budget: 9 tokens, 3 left"
    assert "over the budget" in why(outcome, "4")
    assert ids(run({**book(*entries), "token_budget": 3}, "a", budget=8)) == ["3", "2"]


def test_a_text_is_taken_once_and_from_the_cards_own_book() -> None:
    own = parse_book(book({"key": ["숲"], "content": "숲의 {{char}}", "order": 1}))
    world = parse_book(
        book({"key": ["나무", "숲"], "content": "숲의 세라", "order": 900, "comment": "숲"})
    )
    scene = Scene(messages=said("숲이다"), char="세라", user="민준")
    outcome = activate(stack(own, world), scene, budget=99, count=len)
    assert ids(outcome) == ["0.0"] and why(outcome, "1.0") == "says the same as `0.0`"


def test_priority_goes_before_order() -> None:
    document = {
        "entries": [
            {"keys": ["a"], "content": "x x", "insertion_order": 9, "priority": 1, "enabled": True},
            {"keys": ["a"], "content": "y y", "insertion_order": 1, "priority": 5, "enabled": True},
        ]
    }
    assert ids(run(document, "a", budget=3)) == ["1"]


def test_place_and_order_decide_on_the_order_of_the_prompt() -> None:
    entries = [
        {"key": ["a"], "position": 4},
        {"key": ["a"], "position": 1, "order": 1},
        {"key": ["a"], "position": 0, "order": 20},
        {"key": ["a"], "position": 0, "order": 10},
    ]
    assert ids(run(book(*entries), "a")) == ["3", "2", "1", "0"]


def test_one_of_a_group_wins() -> None:
    rivals = [{"key": ["a"], "group": "g", "groupWeight": 100 * (n == 1)} for n in range(3)]
    outcome = run(book(*rivals), "a")
    assert ids(outcome) == ["1"] and why(outcome, "0") == "`1` won the group `g`"
    forced = [*rivals, {"key": ["a"], "group": "g", "groupOverride": True, "order": 1}]
    assert ids(run(book(*forced), "a")) == ["3"]
    scored = [
        {"key": ["a"], "group": "g", "useGroupScoring": True},
        {"key": ["a", "b"], "group": "g", "useGroupScoring": True},
    ]
    assert ids(run(book(*scored), "a b")) == ["1"]
    late = [{"key": ["a"], "group": "g", "content": "b"}, {"key": ["b"], "group": "g"}]
    assert ids(run(book(*late), "a")) == ["0"]


def test_group_winners_vary_with_the_turn_by_weight() -> None:
    rivals = [{"key": ["a"], "group": "g", "groupWeight": w} for w in (10, 90)]
    won = [ids(run(book(*rivals), "a", chat=str(n)))[0] for n in range(200)]
    assert 150 < won.count("1") < 200


def turns(entry: dict[str, Any], *lines: str) -> str:
    """Whether the entry is active behind each line of the user, which has an answer behind it."""
    told: list[str] = []
    shown = ""
    for line in lines:
        told.append(line)
        shown += "x" if ids(run(book({"scanDepth": 1, **entry}), *told)) else "."
        told.append("그렇군")
    return shown


@pytest.mark.parametrize(
    ("entry", "lines", "shown"),
    [
        ({}, "a b b b b", "x...."),
        ({"sticky": 4}, "a b b b b", "xx..."),
        ({"sticky": 5}, "a b b b b", "xxx.."),
        ({"sticky": 4}, "a a b b b", "xx..."),
        ({"cooldown": 3}, "a a a a a", "x.x.x"),
        ({"sticky": 2, "cooldown": 4}, "a a a a a a", "x..x.."),
        ({"delay": 4}, "a a a a", "..xx"),
        ({"content": "@@keep_activate_after_match\nx"}, "b a b b", ".xxx"),
        ({"content": "@@dont_activate_after_match\nx"}, "b a a a", ".x.."),
        ({"content": "@@activate_only_every 3\nx"}, "a a a a a", ".x..x"),
        ({"constant": True, "sticky": 2, "cooldown": 2}, "b b b b", "x.x."),
    ],
)
def test_timed_effects(entry: dict[str, Any], lines: str, shown: str) -> None:
    assert turns({"key": ["a"], **entry}, *lines.split()) == shown


def test_a_deleted_message_takes_its_effects_along() -> None:
    entry = {"key": ["용"], "scanDepth": 1, "sticky": 20}
    outcome = run(book(entry), "용이다", "그래", "응")
    assert why(outcome, "0") == "sticky: 18 messages more"
    assert ids(run(book(entry), "곰이다", "그래", "응")) == []


def test_filters() -> None:
    only = {"key": ["a"], "characterFilter": {"names": ["세라"]}}
    never = {"key": ["a"], "characterFilter": {"tags": ["용"], "isExclude": True}}
    greeting = {"key": ["a"], "content": "@@is_greeting 1\nx"}
    trigger = {"key": ["a"], "triggers": ["continue"]}
    document = book(only, never, greeting, trigger)
    assert ids(run(document, "a")) == ["0", "1"]
    assert ids(run(document, "a", char="하늘", tags=["용"], greeting=1)) == ["2"]
    assert ids(run(document, "a", trigger="continue")) == ["0", "1", "3"]


def test_fields_of_the_card_are_scanned_where_an_entry_asks() -> None:
    entry = {"key": ["등대"], "matchScenario": True}
    assert ids(run(book(entry), "a", fields={"scenario": "등대에서"})) == ["0"]
    assert ids(run(book({"key": ["등대"]}), "a", fields={"scenario": "등대에서"})) == []


def test_the_scene_of_a_request() -> None:
    request = ChatRequest.model_validate(
        {
            "message": "/continue",
            "persona": {
                "name": "세라",
                "scenario": "등대",
                "extensions": {"iyagi": {"tags": ["b"]}},
            },
            "history": [{"role": "user", "content": "a"}],
            "session_id": "s",
        }
    )
    scene = Scene.of(request, "사용자")
    assert (len(scene.messages), scene.user, scene.chat) == (2, "사용자", "s")
    assert (scene.trigger, scene.fields["scenario"], scene.tags) == ("continue", "등대", ("b",))
    assert scene.greeting is None


@pytest.mark.parametrize(
    ("opening", "greeting"),
    [
        (None, 0),
        ("{{char}}는 졸리다.", 0),
        ("세라는 졸리다.", 0),
        ("민준, 왔구나.\n", 1),
        ("?", None),
    ],
)
def test_which_greeting_a_chat_began_with(opening: str | None, greeting: int | None) -> None:
    persona = {
        "name": "세라",
        "first_message": "{{char}}는 졸리다.",
        "extensions": {"iyagi": {"alternate_greetings": ["{{user}}, 왔구나."]}},
    }
    history = [{"role": "system", "content": "규칙"}]
    history += [{"role": "character", "content": opening}] if opening else []
    request = {"message": "응", "persona": persona, "history": history, "user_name": "민준"}
    assert Scene.of(ChatRequest.model_validate(request), "사용자").greeting == greeting


def test_texts_may_name_the_cards_fields() -> None:
    entry = {"key": ["a"], "content": "{{Scenario}}에서 {{personality}}"}
    fields = {"scenario": "{{char}}의 섬", "character_personality": "차분하다"}
    assert run(book(entry), "a", fields=fields).active[0].text == "세라의 섬에서 차분하다"


HANGUL = "가나다라마바사아자차카타파하은빛숲길왕검물산강별달해꽃눈"


def big_book(size: int, *, patterns: bool) -> dict[str, Any]:
    """Entries of three keys: a name in Hangul, one in Latin letters, and two words; or of one of
    them in a regular expression."""
    rng = random.Random(7)

    def word(letters: str, length: int) -> str:
        return "".join(rng.choices(letters, k=length))

    def keys(number: int) -> list[str]:
        names = [word(HANGUL, 3), word("abcdefghijklmnop", 6), f"장소 {number}"]
        if not patterns:
            return names
        forms = ["/{}(?:은|는|이|가)?/", r"/\b(?:old|great) {}s?\b/i", r"/{}(?:의|에)?\s*\d*/"]
        return [forms[number % 3].format(names[number % 3])]

    entries = [
        {
            "key": keys(number),
            "content": f"{{{{char}}}}는 {number}번째 " + word(HANGUL, 200),
            "sticky": 3 * (number % 10 == 0),
        }
        for number in range(size)
    ]
    return book(*entries)


@pytest.mark.parametrize(("size", "patterns"), [(2_000, False), (300, True)])
def test_a_large_book_activates_in_20_milliseconds(size: int, patterns: bool) -> None:
    """6,000 plain keys or 300 patterns, in processor time, the best of five turns: other
    work on the machine does not count."""
    lore = parse_book(big_book(size, patterns=patterns))
    step = 3 * (size // 120)  # the first of the three forms: a bare name is a match
    names = [re.sub(r"^/|\(.*", "", entry.keys[0]) for entry in lore.entries[::step]]
    lines = [f"{name}에서 만나자. " + "오늘은 바람이 분다. " * 30 for name in names]
    seconds = []
    for turn in range(28, 34):
        scene = Scene(messages=said(*lines[:turn]), char="세라", user="민준", chat="c")
        started = time.process_time()
        outcome = activate(lore, scene, budget=2_000, count=len)
        seconds.append(time.process_time() - started)
        assert why(outcome, str(step * (turn - 1))).startswith("key ")
        assert not outcome.warnings
    assert min(seconds[1:]) <= 0.02


def test_a_key_of_one_syllable_is_called_by_the_noun_alone() -> None:
    entries = book({"key": ["차"]}, {"key": ["잔"]})
    called = {
        "차가 왔어": ["0"],
        "녹차 두 잔만": [],
        "잔인한 사람": [],
        "잔을 차에 뒀어": ["0", "1"],
    }
    assert {text: ids(run(entries, text)) for text in called} == called
