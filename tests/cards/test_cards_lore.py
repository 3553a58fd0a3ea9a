"""Books of every form become one model; keys and decorators mean what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.lore.events import lore_chunks, split_lore, to_events
from cards.lore.keys import Key, KeyIndex
from cards.lore.lorebook import Lorebook, LoreEntry, stack
from cards.lore.of_card import lore_of
from cards.lore.world_info import parse_book
from retrieval import patterns
from retrieval.text import mentions
from schemas.budget import Budget
from schemas.errors import BadRequest
from schemas.request import StoryEvent
from tests.cards.cards_support import as_json, book, ids, parse_card, run, unhurried, v2, why

FULL = {
    **{"uid": 7, "key": ["숲", "/forest|wood/i"], "keysecondary": ["밤"], "comment": "숲"},
    **{"content": "어두운 숲", "selectiveLogic": 3, "order": 50, "position": 4, "depth": 2},
    **{"role": 1, "probability": 40, "sticky": 3, "cooldown": 2, "delay": 1, "group": "g, h"},
    **{"groupOverride": True, "groupWeight": 5, "useGroupScoring": True, "scanDepth": 6},
    **{"caseSensitive": True, "matchWholeWords": False, "excludeRecursion": True},
    **{"preventRecursion": True, "delayUntilRecursion": 2, "ignoreBudget": True},
    **{"matchScenario": True, "triggers": ["normal"], "selective": True, "constant": False},
    "characterFilter": {"names": ["세라"], "tags": ["t"], "isExclude": True},
}


def embedded(form: dict[str, Any]) -> dict[str, Any]:
    """The same entry as apps write it into a card."""
    own = {
        "probability", "selectiveLogic", "depth", "group", "role", "sticky", "cooldown", "delay",
        "triggers", "position",
    }  # fmt: skip
    names = {
        "groupOverride": "group_override", "groupWeight": "group_weight",
        "useGroupScoring": "use_group_scoring", "scanDepth": "scan_depth",
        "caseSensitive": "case_sensitive", "matchWholeWords": "match_whole_words",
        "excludeRecursion": "exclude_recursion", "preventRecursion": "prevent_recursion",
        "delayUntilRecursion": "delay_until_recursion", "ignoreBudget": "ignore_budget",
        "matchScenario": "match_scenario", "characterFilter": "character_filter",
    }  # fmt: skip
    extensions = {k: v for k, v in form.items() if k in own}
    extensions |= {snake: form[camel] for camel, snake in names.items() if camel in form}
    return {
        **{"id": form["uid"], "keys": form["key"], "secondary_keys": form["keysecondary"]},
        **{"comment": form["comment"], "content": form["content"], "constant": form["constant"]},
        **{"selective": form["selective"], "insertion_order": form["order"], "enabled": True},
        **{"position": "before_char", "use_regex": True, "extensions": extensions},
    }


def test_a_book_means_the_same_alone_embedded_and_as_events() -> None:
    alone = parse_book(book(FULL, {"key": ["b"]}))
    card = v2(character_book={"entries": [embedded(FULL), {"keys": ["b"], "content": "entry 1",
              "id": 1, "enabled": True, "insertion_order": 100, "extensions": {}}]})  # fmt: skip
    inside = lore_of(parse_card(as_json(card)))
    v3_file = {"spec": "lorebook_v3", "data": card["data"]["character_book"]}
    events = [StoryEvent.model_validate_json(e.model_dump_json()) for e in to_events(alone)]
    assert inside.entries == alone.entries
    assert parse_book(v3_file).entries == alone.entries
    assert split_lore(events)[0] == alone


def test_every_setting_is_read() -> None:
    entry = parse_book(book(FULL)).entries[0]
    default = LoreEntry(id="x")
    same = [n for n in LoreEntry.__slots__ if getattr(entry, n) == getattr(default, n)]
    assert sorted(same) == ["constant", "drop_first", "enabled", "greeting", "only_every",
                            "outlet", "priority", "rank"]  # fmt: skip
    assert (entry.position, entry.role, entry.groups) == ("at_depth", "user", ("g", "h"))
    assert entry.conditions[0].logic == "and_all"


def test_settings_of_the_book_reach_its_entries() -> None:
    document = {"entries": [{"keys": "a, b", "content": "x"}], "scan_depth": 9,
                "recursive_scanning": False, "token_budget": 70}  # fmt: skip
    read = parse_book(document)
    entry = read.entries[0]
    assert (entry.keys, entry.scan_depth, read.token_budget) == (("a", "b"), 9, 70)
    assert entry.exclude_recursion and entry.prevent_recursion


def test_the_cards_own_book_goes_before_others() -> None:
    both = stack(parse_book(book({"key": ["a"]})), parse_book(book({"key": ["a"], "order": 900})))
    assert [entry.id for entry in both.entries] == ["0.0", "1.0"]
    document = stack(Lorebook(), both)
    assert document is both
    story = StoryEvent(id="e1", order=3, text="배가 왔다")
    lore, rest = split_lore([*to_events(both), story])
    assert lore.entries == both.entries and rest == [story]


def test_the_depth_prompt_of_a_card_is_lore() -> None:
    note = {"depth_prompt": {"prompt": "비가 온다", "depth": 2, "role": "user"}}
    entry = lore_of(parse_card(as_json(v2(extensions=note)))).entries[0]
    assert (entry.content, entry.depth, entry.role, entry.constant) == (
        "비가 온다",
        2,
        "user",
        True,
    )


@pytest.mark.parametrize(
    "lore", [{"id": 3}, {"id": "a", "sticky": "x"}, {"id": "a", "position": "moon"}, [], "x"]
)
def test_lore_of_a_request_is_checked(lore: Any) -> None:
    event = StoryEvent(id="e", order=0, text="t", extensions={"lore": lore})
    with pytest.raises(BadRequest, match=r"story\.0\.extensions\.lore"):
        split_lore([event])


def test_chunks_say_why_and_keep_the_order_of_the_prompt() -> None:
    outcome = run(book({"key": ["숲"]}, {"constant": True, "order": 5}), "숲은 어때?")
    standing, passing = lore_chunks(outcome)
    assert [c.id for c in standing] == ["lore/1"] and [c.id for c in passing] == ["lore/0"]
    assert passing[0].meta["why"] == ["lore: key `숲` in the message"]
    assert standing[0].meta["order"] < passing[0].meta["order"] < 0


def test_what_is_wanted_near_the_end_is_no_part_of_the_beginning() -> None:
    deep = [{"constant": True, "position": 4, "depth": depth} for depth in (4, 40)]
    standing, passing = lore_chunks(run(book(*deep), "?"))
    assert [c.id for c in passing] == ["lore/0"] and [c.id for c in standing] == ["lore/1"]


def test_what_the_message_calls_for_is_the_first_to_the_budget() -> None:
    entries = [
        {"key": ["밤"], "order": 900},
        {"key": ["숲"], "order": 5, "content": "숲의 밤"},
        {"key": ["숲"], "order": 6},
    ]
    _, passing = lore_chunks(run(book(*entries), "숲은 어때?"))
    assert [chunk.id for chunk in passing] == ["lore/2", "lore/1", "lore/0"]


@pytest.mark.parametrize(
    ("content", "text", "setting"),
    [
        ("@@depth 3\n본문", "본문", {"position": "at_depth", "depth": 3}),
        ("@@reverse_depth 1\nx", "x", {"position": "from_start", "depth": 1}),
        ("@@role assistant\nx", "x", {"role": "assistant"}),
        ("@@activate_only_after 4\n@@activate_only_every 2\nx", "x", {"delay": 4, "only_every": 2}),
        ("@@keep_activate_after_match\nx", "x", {"sticky": -1}),
        ("@@dont_activate_after_match\nx", "x", {"cooldown": -1}),
        ("@@moon 1\n@@@sun 2\n@@@scan_depth 7\n@@@depth 1\nx", "x", {"scan_depth": 7, "depth": 4}),
        ("@@scan_depth 7\n@@@depth 1\nx", "x", {"scan_depth": 7, "position": "before_char"}),
        ("@@position after_desc\nx", "x", {"position": "after_char"}),
        ("@@role king\n@@role user\nx", "x", {"role": "user"}),
        ("@@activate\nx", "x", {"constant": True}),
        ("@@dont_activate\nx", "x", {"enabled": False}),
        ("@@ignore_on_max_context\n@@is_greeting 2\nx", "x", {"drop_first": True, "greeting": 2}),
        ("본문\n@@depth 3", "본문\n@@depth 3", {"depth": 4}),
        ("@@depth 3", "", {"depth": 3}),
    ],
)  # fmt: skip
def test_decorators(content: str, text: str, setting: dict[str, Any]) -> None:
    entry = parse_book(book({"content": content})).entries[0]
    assert entry.content == text
    assert {name: getattr(entry, name) for name in setting} == setting


def test_decorated_keys() -> None:
    entry = {"key": ["숲"], "content": "@@additional_keys 밤, 달\n@@exclude_keys 비\nx"}
    assert ids(run(book(entry), "숲에 달이 떴다")) == ["0"]
    assert ids(run(book(entry), "숲이 있다")) == []
    assert "not_any" in why(run(book(entry), "숲에 달과 비"), "0")


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("세라피나", "세라피나는 웃었다", True),
        ("숲", "은빛숲길", False),
        ("숲", "깊은 숲에서는", True),
        ("art", "the artist", False),
        ("Art", "ART!", True),
        ("magic wood", "the magic   wood", True),
        ("검", "검을 들었다. 검사가", True),
        ("검", "검사가 왔다", False),
        ("Jack", "Jack은", True),
        ("魔法", "魔法使い", True),
        ("/wood/", "driftwood", True),
        ("/WOOD/", "driftwood", False),
        ("/민준:.*숲/", "숲", False),
        ("/[/", "[", False),
        ("wood/", "wood/", True),
        ("?", "what ?", True),
    ],
)
def test_keys(key: str, text: str, found: bool) -> None:
    index = KeyIndex([Key("decoy"), Key(key)])
    assert (1 in index.found(text, Budget())) is found
    assert mentions(text, key) is found, "the same as elsewhere in the pipeline"


def test_case_and_parts_of_words() -> None:
    keys = [Key("Art", True, True), Key("숲", False), Key("art", True, True)]
    index = KeyIndex(keys)
    assert index.found("Artist art 은빛숲길", Budget()) == {1, 2}
    assert index.found("Art는", Budget()) == {0}
    assert index.found("artist Art", Budget()) == {0}


SLOW = ["/(a+)+$/", "/^(\\w+\\s?)*$/", "/(x+x+)+y/", "/(.*?,){25}P/"]


def test_slow_and_broken_patterns_are_left_out_and_named() -> None:
    evil = "a" * 5_000 + "! " + "x" * 5_000 + "1," * 3_000
    entries = [{"key": [pattern]} for pattern in SLOW * 10] + [{"key": ["/(/", "/ok/"]}]
    outcome = run(book(*entries), evil)
    assert ids(outcome) == []
    assert "key `/(/` is no valid pattern" in outcome.warnings
    assert any("takes too long" in warning for warning in outcome.warnings)
    assert "40" in ids(run(book(*entries), "ok")), "the next turn is not harmed"


def test_a_line_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a pattern was too slow on it: it stays left out, and costs no time again."""
    searched: list[str] = []
    found = patterns._found

    def counted(pattern: Any, text: str) -> bool:
        searched.append(text)
        return found(pattern, text)

    monkeypatch.setattr(patterns, "_found", counted)
    document = book({"key": ["/(x+x+)+y/"]}, {"key": ["/ok/"], "sticky": 1})
    slow = "ok y " + "x" * 3_000
    for turn in range(3):
        outcome = run(document, "ok", "hm", slow)
        assert ids(outcome) == ["1"]
        assert outcome.warnings == ["key `/(x+x+)+y/` takes too long"]
        assert bool(searched) is (turn == 0)
        searched.clear()


def test_a_pattern_can_name_the_speaker() -> None:
    entry = {"key": ["/^\\x01민준: .*숲/"]}
    assert ids(run(book(entry), "숲이다")) == ["0"]
    assert ids(run(book(entry), "숲이다", user="하늘")) == []


BAD_BOOKS = [
    ({}, "no `entries`"),
    ({"entries": 3}, "no `entries`"),
]


@pytest.mark.parametrize(("document", "words"), BAD_BOOKS)
def test_a_bad_book_is_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        parse_book(document)


def test_odd_entries_are_named_and_the_rest_is_kept() -> None:
    read = parse_book(
        {"entries": {"a": 1, "b": {"uid": 1, "key": 5, "order": "x"}, "c": {"uid": 1}}}
    )
    assert [entry.id for entry in read.entries] == ["1", "1#2"]
    assert "entry a: should be an object" in read.warnings
    assert "entry 1: `order` should be a number" in read.warnings
    told = "3 of 3 entries have no text that is known here; their keys are `uid`, `key`, `order`"
    assert told in read.warnings, "as in books of other programs"


def test_an_entry_that_no_request_can_hold_is_made_to_fit() -> None:
    odd = {"uid": "\ud83d", "key": ["\ud83d", "k" * 2_000], "content": "x" * 100_001}
    read = parse_book(book(odd))
    assert any("100,000" in warning for warning in read.warnings)
    assert split_lore(to_events(read))[0] == read


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from([*FULL, "keys", "extensions", "@@x"]), JSON, max_size=8)


@unhurried
@given(st.lists(FIELDS, max_size=4), st.text(max_size=30))
def test_no_book_breaks_the_reader_or_a_turn(entries: list[dict[str, Any]], text: str) -> None:
    document = json.loads(json.dumps({"entries": entries}))
    read = parse_book(document)
    outcome = run(document, "안녕", text or "x")
    assert len(outcome.active) + len(outcome.reasons) <= len(read.entries)
    assert outcome.tokens <= outcome.budget or any(i.entry.ignore_budget for i in outcome.active)
    split_lore(to_events(read))


def test_lore_that_comes_again_is_the_same_book_and_a_changed_one_another() -> None:
    read = parse_book(book({"key": ["숲"], "content": "길", "order": 1}, {"key": ["밤"]}))
    first, again = (split_lore(to_events(read))[0] for _ in range(2))
    assert first is again
    for changed in ({"content": "물"}, {"order": 2}, {"key": ["강"]}, {"disable": True}):
        entry = {"key": ["숲"], "content": "길", "order": 1, **changed}
        other = parse_book(book(entry, {"key": ["밤"]}))
        assert split_lore(to_events(other))[0] == other != first
    with pytest.raises(BadRequest, match=r"story\.1\.extensions\.lore"):
        broken = to_events(read)
        broken[1].extensions["lore"] = {"id": ["?"]}
        split_lore(broken)
