"""Lorebooks of every program: told apart by what they hold, read without silence."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.characters.card import Card
from cards.characters.foreign import FORMS as CHARACTERS
from cards.chats.foreign import FORMS as CHATS
from cards.files import object_in, write_json
from cards.forms import Form
from cards.lore.events import split_lore, to_events
from cards.lore.foreign import FORMS
from cards.lore.lorebook import Lorebook, LoreEntry
from cards.lore.wording import split_keys
from cards.lore.write import to_lorebook_v3, to_world_info
from cards.read import read_any
from cards.story import FORMS as OURS
from schemas.errors import BadRequest
from tests.cards.cards_support import as_json, book, unhurried, v2
from tests.cards.cards_support import run as run_world_info

LAMP = "등대는 서쪽 벼랑에 있다."

JANITOR = {
    **{
        "id": "a1",
        "name": "등대",
        "key": ["등대", "lamp"],
        "keysecondary": ["밤"],
        "content": LAMP,
    },
    **{"constant": False, "enabled": True, "insertion_order": 40, "selectiveLogic": 3},
    **{"probability": 70, "case_sensitive": True, "matchWholeWords": True, "minMessages": 6},
    **{"inclusionGroupRaw": "섬", "groupWeight": 30, "prioritizeInclusion": True, "priority": 4},
    **{"keysRaw": "등대, lamp", "keysecondaryRaw": "밤", "category": "place", "tags": ["섬"]},
    **{"activationMode": "standard", "activationScript": "", "extensions": {}, "comment": ""},
    **{"keyMatchPriority": False, "placement": "scenario", "placementPosition": "after"},
}
NOVELAI: dict[str, Any] = {
    **{"text": LAMP, "displayName": "등대", "id": "n1", "keys": ["등대", "lamp & oil", "/Lamp/i"]},
    **{"enabled": True, "forceActivation": False, "searchRange": 1000, "keyRelative": False},
    **{"nonStoryActivatable": False, "category": "", "loreBiasGroups": [{"phrases": []}]},
    **{"lastUpdatedAt": 1_700_000_000_000, "advancedConditions": []},
    "contextConfig": {
        **{"prefix": "[ ", "suffix": " ]\n", "tokenBudget": 2048, "reservedTokens": 0},
        **{"budgetPriority": 250, "trimDirection": "trimBottom", "insertionType": "newline"},
        **{"maximumTrimType": "sentence", "insertionPosition": -1},
    },
}
AGNAI = {
    **{"name": "등대", "entry": LAMP, "keywords": ["등대", "lamp*"], "priority": 8, "weight": 60},
    "enabled": True,
}
RISU = {
    **{"key": "등대, lamp", "secondkey": "밤", "selective": True, "insertorder": 30},
    **{"comment": "등대", "content": LAMP, "mode": "normal", "alwaysActive": False},
    **{"activationPercent": 60, "bookVersion": 2, "useRegex": False},
}
STORY_CARD = {
    **{"keys": "등대,lamp", "value": LAMP, "type": "location", "title": "등대"},
    **{"description": "사람이 보는 말", "useForCharacterCreation": False},
}
LITE = {
    **{"key": "등대,lamp", "keysecondary": "밤", "keyanti": "낮", "content": LAMP},
    **{"comment": "등대", "folder": None, "selective": True, "constant": False},
    **{"probability": "80", "wigroup": "섬", "widisabled": False},
}
V2_ENTRY = {
    **{"keys": ["등대"], "content": LAMP, "enabled": True, "insertion_order": 5, "name": "등대"},
    "extensions": {},
}
WORLD = {"uid": 0, "key": ["등대"], "keysecondary": [], "content": LAMP, "order": 5}

SAMPLES: dict[str, tuple[str, Any]] = {
    "World Info": ("World Info", book(WORLD)),
    "World Info, a list": ("World Info", {"entries": [WORLD]}),
    "World Info, entries alone": ("World Info", {"0": WORLD, "1": {**WORLD, "uid": 1}}),
    "World Info, a bare list": ("World Info", [WORLD, {**WORLD, "uid": 1}]),
    "World Info from a card": ("World Info", {**book(WORLD), "originalData": {"entries": []}}),
    "World Info of Chub": (
        "World Info",
        {
            **{"name": "섬", "description": "", "is_creation": False, "scan_depth": 4},
            "entries": {"1": {**WORLD, "id": 1, "insertion_order": 5, "enabled": True}},
        },
    ),
    "a card's book": ("book of a character card", {"name": "섬", "entries": [V2_ENTRY]}),
    "a card's entries": ("book of a character card", [V2_ENTRY]),
    "a wrapped book": ("book of a character card", {"character_book": {"entries": [V2_ENTRY]}}),
    "a list of one book": ("World Info", [book(WORLD)]),
    "V3": ("lorebook V3", {"spec": "lorebook_v3", "data": {"entries": [V2_ENTRY]}}),
    "V3, empty head": ("book of a character card", {"data": {"entries": [V2_ENTRY]}}),
    "JanitorAI": ("lorebook of JanitorAI", [JANITOR]),
    "JanitorAI, small": (
        "lorebook of JanitorAI",
        [{"id": "1", "name": "a", "key": ["b"], "content": LAMP, "insertion_order": 1}],
    ),
    "JanitorAI, entries": ("lorebook of JanitorAI", {"entries": [JANITOR]}),
    "JanitorAI, script": (
        "lorebook of JanitorAI",
        {"id": "s", "title": "섬", "type": "lorebook", "script": json.dumps([JANITOR])},
    ),
    "NovelAI": (
        "lorebook of NovelAI",
        {"lorebookVersion": 5, "entries": [NOVELAI], "settings": {}, "categories": []},
    ),
    "NovelAI, small": (
        "lorebook of NovelAI",
        {"lorebookVersion": 3, "entries": [{"text": LAMP, "keys": ["등대"]}]},
    ),
    "NovelAI, scenario": (
        "lorebook of NovelAI",
        {"scenarioVersion": 3, "title": "섬", "prompt": "밤이다.",
         "lorebook": {"lorebookVersion": 6, "entries": [NOVELAI]}},
    ),
    "NovelAI, story": (
        "lorebook of NovelAI",
        {"storyContainerVersion": 1, "metadata": {"title": "섬"},
         "content": {"story": {"step": 1}, "context": [],
                     "lorebook": {"lorebookVersion": 5, "entries": [NOVELAI]}}},
    ),
    "World Info with a word of others": ("World Info", {**book(WORLD), "character": "하늘"}),
    "Agnai": ("memory book of Agnai", {"kind": "memory", "name": "섬", "entries": [AGNAI]}),
    "Agnai, no kind": ("memory book of Agnai", {"name": "섬", "entries": [AGNAI]}),
    "Risu": ("lorebook of Risu", {"type": "risu", "ver": 1, "data": [RISU]}),
    "Risu, a list": ("lorebook of Risu", [RISU]),
    "Risu, a module": (
        "lorebook of Risu",
        {"type": "risuModule", "module": {"lorebook": [RISU], "regex": [{"in": "a"}]}},
    ),
    "AI Dungeon": ("world info of AI Dungeon", [STORY_CARD]),
    "AI Dungeon, old": (
        "world info of AI Dungeon",
        [{"id": "9", "keys": "등대,lamp", "entry": LAMP, "type": "place"}],
    ),
    "AI Dungeon, scenario": (
        "world info of AI Dungeon",
        {"title": "섬", "prompt": "밤이다.", "storyCards": [STORY_CARD]},
    ),
    "KoboldAI Lite": ("world info of KoboldAI", [LITE]),
    "KoboldAI": (
        "world info of KoboldAI",
        {"worldinfo": [{"key": "등대", "keysecondary": "", "content": LAMP, "comment": "",
                        "folder": None, "num": 0, "init": True, "selective": False,
                        "constant": False}]},
    ),
    "KoboldAI United": (
        "world info of KoboldAI",
        {"folders": {"root": ["0"]},
         "entries": {"0": {"uid": 0, "title": "등대", "key": ["등대"], "keysecondary": [],
                           "folder": "root", "constant": False, "content": LAMP, "comment": "",
                           "use_wpp": False, "wpp": {"name": "", "type": "", "format": "W++",
                           "attributes": {}}, "token_length": 0, "selective": False}}},
    ),
    "Chub": (
        "lorebook of Chub",
        {"errors": None, "node": {"name": "섬", "fullPath": "lorebooks/me/isle",
         "definition": {"embedded_lorebook": {"entries": [V2_ENTRY]}}}},
    ),
    "Backyard": ("lore of Backyard", {"loreItems": [{"key": "등대, lamp", "value": LAMP}]}),
}  # fmt: skip
"""Every form, and what it is called."""

OTHERS: dict[str, Any] = {
    "a card": v2(),
    "a card with a book": v2(character_book={"entries": [V2_ENTRY]}),
    "a character without spec": {
        **{"name": "하늘", "description": "등대지기", "personality": "차분"},
        "character_book": {"entries": [V2_ENTRY]},
    },
    "Backyard's character": {"aiName": "하늘", "aiPersona": "등대지기", "loreItems": []},
    "a chat": [{"role": "user", "content": "안녕"}],
    "a chat with keys": {"messages": [{"role": "user", "content": "a", "key": ["b"]}]},
    "ShareGPT": {"conversations": [{"from": "human", "value": "안녕"}]},
    "Risu's chat": {
        "type": "risuChat", "ver": 2,
        "data": {"message": [{"role": "user", "data": "안녕"}], "localLore": [RISU]},
    },
    "KoboldAI's story": {"prompt": "밤", "actions": ["a"], "worldinfo": [LITE]},
    "a story of ours": [{"id": "e", "order": 1, "text": "배가 왔다"}],
    "a package": {"name": "x", "version": "1.0.0", "description": "y", "scripts": {"a": "b"}},
    "pairs": [{"key": "a", "value": "b"}],
    "settings": {"a": {"b": 1}, "c": {"d": 2}},
    "a list of lists": [[["a"]]],
    "wrappers": {"data": {"data": {"data": {"data": {"data": {"entries": [WORLD]}}}}}},
}  # fmt: skip


def read(value: Any) -> Lorebook:
    thing = read_any(as_json(value))
    assert isinstance(thing, Lorebook)
    return thing


def only(value: Any) -> LoreEntry:
    (entry,) = read(value).entries
    return entry


def sample(name: str) -> Any:
    return copy.deepcopy(SAMPLES[name][1])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_form_is_told_and_read(name: str) -> None:
    form, value = SAMPLES[name]
    found = read(value)
    assert found.form == form
    entry = found.entries[0]
    assert LAMP in entry.content and entry.enabled and not entry.constant
    assert set(entry.keys) & {"등대", "b"}
    beside = {
        "NovelAI, scenario": "prompt",
        "NovelAI, story": "story",
        "Risu, a module": "regex",
        "AI Dungeon, scenario": "prompt",
    }
    words = [f"`{beside[name]}` is no lore and is not read"] if name in beside else []
    assert [w.split("'s ", 1)[1] for w in found.warnings] == words, "its defaults need no word"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_value_has_one_form(name: str) -> None:
    forms: list[Form[Any]] = [*FORMS, *CHARACTERS, *OURS]
    assert [form.name for form in forms if form.fits(sample(name))] == [SAMPLES[name][0]]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_book_is_none(name: str) -> None:
    assert [form.name for form in FORMS if form.fits(OTHERS[name])] == []


@pytest.mark.parametrize("name", SAMPLES)
def test_what_was_read_is_written_and_read_again(name: str) -> None:
    once = read(sample(name))
    for write in (to_world_info, to_lorebook_v3):
        again = read_any(write_json(write(once)))
        assert again == once and write(again) == write(once)
    assert split_lore(to_events(once))[0].entries == once.entries


def test_settings_of_janitorai() -> None:
    entry = only([JANITOR])
    assert (entry.id, entry.name, entry.keys) == ("a1", "등대", ("등대", "lamp"))
    assert entry.conditions == ((("밤",), "and_all"),)
    assert (entry.order, entry.priority, entry.probability, entry.delay) == (40, 4, 70, 6)
    assert (entry.groups, entry.group_weight, entry.group_override) == (("섬",), 30, True)
    assert entry.case_sensitive and entry.whole_words and entry.position == "scenario"
    fraction, raw = {**JANITOR, "probability": 0.25}, {**JANITOR, "key": [], "keysRaw": "달, /a,b/"}
    assert only([fraction]).probability == 25 and only([raw]).keys == ("달", "/a,b/")
    assert not only([{"key": ["a"], "content": "x", "keysRaw": "a"}]).whole_words
    script = read([{**JANITOR, "activationMode": "script", "activationScript": "go()"}])
    assert "JanitorAI's `activationScript` has no place here: 1 entry" in script.warnings


def test_settings_of_novelai() -> None:
    value = {"lorebookVersion": 5, "entries": [NOVELAI]}
    entry = only(value)
    assert (entry.id, entry.name, entry.content) == ("n1", "등대", f"[ {LAMP} ]")
    assert entry.priority == 250 and entry.exclude_recursion and entry.scan_depth == 2
    assert entry.keys == ("등대", "/Lamp/im", "lamp")
    assert entry.conditions == ((("등대", "/Lamp/im", "oil"), "and_any"),)
    odd = {**NOVELAI, "searchRange": 4000, "forceActivation": True, "nonStoryActivatable": True}
    assert (only({**value, "entries": [odd]}).scan_depth, only([odd]).constant) == (8, True)
    assert not only([odd]).exclude_recursion
    assert read([odd]).warnings[0].endswith("`searchRange`: 500 characters are one message here")
    config = {**object_in(NOVELAI, "contextConfig"), "tokenBudget": 90, "insertionPosition": -4}
    unplaced = [{**NOVELAI, "contextConfig": config, "keyRelative": True}] * 3
    warnings = read(unplaced).warnings
    for name in ("contextConfig.tokenBudget", "contextConfig.insertionPosition", "keyRelative"):
        assert f"NovelAI's `{name}` has no place here: 3 entries" in warnings
    categories = [{"id": "c", "enabled": False, "createSubcontext": True}]
    off = read({**value, "entries": [{**NOVELAI, "category": "c"}], "categories": categories})
    assert not off.entries[0].enabled
    assert "NovelAI's `categories.createSubcontext` has no place here" in off.warnings


@pytest.mark.parametrize(
    ("keys", "text", "fires"),
    [
        (["등대 & 기름"], "등대에 불이 없다", False),
        (["등대 & 기름"], "등대에 기름이 없다", True),
        (["등대 & 기름", "배"], "배가 왔다", True),
        (["등대 & 기름", "배 & 닻"], "등대와 닻", False),
        (["등대 & 기름", "배 & 닻"], "배와 닻", True),
        (["&"], "a & b", True),
        (["R&D"], "R의 D", False),
        (["/lamp/-m"], "lamp", True),
        (["/Lamp/"], "lamp", False),
    ],
)
def test_keys_of_novelai(keys: list[str], text: str, fires: bool) -> None:
    document = {"lorebookVersion": 5, "entries": [{"text": LAMP, "keys": keys}]}
    written = to_world_info(read(document))
    assert bool(run_world_info(written, text).active) is fires


def test_too_many_combined_keys_are_said() -> None:
    keys = [f"a{n} & b{n}" for n in range(9)]
    found = read({"lorebookVersion": 5, "entries": [{"text": LAMP, "keys": keys}]})
    assert "NovelAI's `combined keys` has no place here: 1 entry" in found.warnings


def test_settings_of_agnai() -> None:
    value = {"kind": "memory", "name": "섬", "entries": [AGNAI], "scanDepth": 7, "tokenBudget": 300}
    found = read(value)
    entry = found.entries[0]
    assert (found.name, found.token_budget, entry.scan_depth) == ("섬", 300, 7)
    assert (entry.order, entry.priority, entry.keys[0]) == (60, 8, "등대")
    written = to_world_info(found)
    assert [bool(run_world_info(written, text).active) for text in ("lamps", "clamp")] == [
        True,
        False,
    ]
    assert not only({**value, "entries": [{**AGNAI, "enabled": False}]}).enabled


def test_settings_of_risu() -> None:
    entry = only([RISU])
    assert (entry.keys, entry.order, entry.probability) == (("등대", "lamp"), 30, 60)
    assert entry.conditions == ((("밤",), "and_any"),) and not entry.whole_words
    assert only([{**RISU, "mode": "constant"}]).constant
    assert only([{**RISU, "alwaysActive": True}]).constant
    assert only([{**RISU, "selective": False}]).conditions == ()
    pattern = only([{**RISU, "key": "a,b/c", "useRegex": True}])
    assert pattern.keys == ("/a,b\\/c/",)
    folder = {**RISU, "mode": "folder", "content": "", "key": "\uf000folder:1"}
    assert len(read([folder, {**RISU, "folder": "\uf000folder:1"}]).entries) == 1
    assert "Risu's `mode` has no place here: 1 entry" in read([{**RISU, "mode": "child"}]).warnings


def test_settings_of_ai_dungeon_koboldai_and_backyard() -> None:
    assert only([STORY_CARD]).keys == ("등대", "lamp") and only([STORY_CARD]).name == "등대"
    assert not only([{**STORY_CARD, "deletedAt": "2024-01-01"}]).enabled
    entry = only([LITE])
    assert entry.conditions == ((("밤",), "and_any"), (("낮",), "not_any"))
    assert entry.probability == 80 and not only([{**LITE, "widisabled": True}]).enabled
    assert only([{**LITE, "selective": False}]).conditions == ((("낮",), "not_any"),)
    assert only(sample("Backyard")).keys == ("등대", "lamp")


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"enabled": False}, "enabled", False),
        ({"enabled": "false"}, "enabled", False),
        ({"enable": False}, "enabled", False),
        ({"disabled": True}, "enabled", False),
        ({"disable": "true"}, "enabled", False),
        ({"disable": "false"}, "enabled", True),
        ({"key": "가, 나"}, "keys", ("가", "나")),
        ({"key": "/a{1,2}/i, 나"}, "keys", ("/a{1,2}/i", "나")),
        ({"key": None, "keysecondary": None}, "keys", ()),
        ({"order": "30"}, "order", 30),
        ({"order": None, "insertion_order": 31}, "order", 31),
        ({"position": "4"}, "position", "at_depth"),
        ({"position": "after_char"}, "position", "after_char"),
        ({"position": "worldInfoAfter"}, "position", "after_char"),
        ({"position": "@D"}, "position", "at_depth"),
        ({"position": "at depth"}, "position", "at_depth"),
        ({"role": "ASSISTANT"}, "role", "assistant"),
        ({"probability": "40"}, "probability", 40),
        ({"probability": None}, "probability", 100),
        ({"scan_depth": 5}, "scan_depth", 5),
        ({"match_whole_words": False}, "whole_words", False),
        ({"matchWholeWords": "null"}, "whole_words", True),
        ({"constant": "false"}, "constant", False),
        ({"delayUntilRecursion": "true"}, "recursion_level", 1),
        ({"extensions": {"exclude_recursion": True}}, "exclude_recursion", True),
        ({"content": None, "text": "다른 글"}, "content", "다른 글"),
        ({"comment": "", "name": "이름"}, "name", "이름"),
        ({"group": ["a", "b"]}, "groups", ("a", "b")),
    ],
)
def test_loose_world_info_means_what_it_says(
    changes: dict[str, Any], field: str, value: Any
) -> None:
    assert getattr(only(book({**WORLD, **changes})), field) == value


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"keys": "가, 나"}, "keys", ("가", "나")),
        ({"disable": True}, "enabled", False),
        ({"enabled": "no"}, "enabled", False),
        ({"probability": 40}, "probability", 40),
        ({"insertion_order": None, "order": 7}, "order", 7),
        ({"selectiveLogic": 2, "secondary_keys": ["b"]}, "conditions", ((("b",), "not_any"),)),
        ({"secondary_keys": ["b"]}, "conditions", ()),
        ({"position": 4, "depth": 1}, "position", "at_depth"),
        ({"extensions": {"exclude_recursion": "false"}}, "exclude_recursion", False),
    ],
)
def test_a_loose_card_book_means_what_it_says(
    changes: dict[str, Any], field: str, value: Any
) -> None:
    assert getattr(only({"entries": [{**V2_ENTRY, **changes}]}), field) == value


def test_what_cannot_be_meant_is_said() -> None:
    odd = {"position": 9, "selectiveLogic": 7, "role": -1, "vectorized": True, "우리": 3}
    found = read(book({**WORLD, **odd}, {**WORLD, "vectorized": True}))
    assert found.entries[0].position == "before_char"
    for words in ("`position` is 9", "`selectiveLogic` is 7", "`role` is -1"):
        assert f"entry 0: {words}, which is not known; left out" in found.warnings
    assert "the book's `vectorized` has no place here: 2 entries" in found.warnings
    assert "the book's `우리` has no place here: 1 entry" in found.warnings
    assert "1 entry with the id of another: `0#2`" in found.warnings


def test_copies_of_an_id_are_numbered() -> None:
    found = read(book(*[WORLD] * 3, {**WORLD, "uid": "0#2"}, WORLD))
    assert [entry.id for entry in found.entries] == ["0", "0#2", "0#3", "0#2#2", "0#4"]


def test_entries_that_never_take_part_are_said() -> None:
    entries = [{**WORLD, "uid": n, "comment": f"글 {n}"} for n in range(8)]
    rows = [{**entry, "key": []} for entry in entries[:7]]
    found = read(book(*rows, {**entries[7], "content": "  "}))
    few = ", ".join(f"`글 {n}`" for n in range(5))
    assert f"7 entries without keys that never take part: {few}, …" in found.warnings
    assert "1 entry without text, left out: `글 7`" in found.warnings
    off = read(book({**WORLD, "disable": True}, {**WORLD, "uid": 1, "disable": True}))
    assert off.warnings == ("all entries are disabled",)
    assert read(book({**WORLD, "key": [], "constant": True})).warnings == ()


BLANK = {"uid": 0, "key": ["a"], "content": "", "order": 1}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (book(), "holds no entries"),
        (book({**WORLD, "key": ["x" * 3_000_000]}), "an entry that is larger than a request"),
        ({"entries": []}, "holds no entries"),
        ([{**AGNAI, "entry": None}] * 3, "in 3 of 3 entries"),
        ({"kind": "memory", "entries": [{"소리": "x"}, 3]}, "in 2 of 2 entries; .* `소리`"),
        ({"entries": [WORLD, {"글": 1}, {"글": 1}]}, "in 2 of 3 entries; their keys are `글`"),
        (book(BLANK, {**BLANK, "uid": 1}), "lorebook without text; of 2 entries each is empty"),
        ({"lorebookVersion": 5, "entries": [{"keys": ["a"]}]}, "in 1 of 1 entry"),
        ({"type": "lorebook", "script": "function a() {}"}, "is a script of JanitorAI"),
        ({"spec": "lorebook_v3", "data": {}}, "no `entries`"),
    ],
)
def test_a_book_that_is_not_understood_is_refused(document: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read(document)


@pytest.mark.parametrize("name", ["JanitorAI", "NovelAI, small", "Agnai", "Risu", "KoboldAI Lite"])
def test_an_entry_without_text_is_counted(name: str) -> None:
    value = sample(name)
    rows = value if isinstance(value, list) else value.get("entries", value.get("data"))
    rows += [*copy.deepcopy(rows), {"열쇠": 1}]
    told = "1 of 3 entries have no text that is known here; their keys are `열쇠`"
    assert told in read(value).warnings


def test_a_broken_book_of_a_card_does_not_cost_the_card() -> None:
    assert isinstance(read_any(as_json(v2(character_book={"entries": [{"글": 1}]}))), Card)


def test_keys_with_commas_take_linear_time() -> None:
    for text in ("/a," * 200_000, "/" * 400_000, "\\" * 400_000, " /" * 200_000, ", " * 200_000):
        split_keys(text)
    assert split_keys("/r/games, /home/user,, a ") == ["/r/games", "/home/user", "a"]


LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1000) | st.text(max_size=6) | st.floats(0, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@st.composite
def books(draw: st.DrawFn) -> Any:
    """A sample with some settings of its entries changed, left out or of another type."""
    value = sample(draw(st.sampled_from(sorted(SAMPLES))))
    names = sorted({*JANITOR, *NOVELAI, *AGNAI, *RISU, *STORY_CARD, *LITE, *V2_ENTRY, *WORLD})

    def changed(part: Any) -> Any:
        if isinstance(part, list):
            return [changed(item) for item in part]
        if not isinstance(part, dict):
            return part
        new = {name: changed(item) for name, item in part.items()}
        if LAMP in part.values():
            some = st.sampled_from(names) | st.text(max_size=5)
            new |= draw(st.dictionaries(some, LOOSE, max_size=4))
        return new

    return changed(value)


@unhurried
@given(books())
def test_any_book_is_read_and_written_back_or_refused_in_one_line(value: Any) -> None:
    try:
        once = read_any(as_json(value))
    except BadRequest as error:
        assert error.message and "\n" not in error.message
        return
    if isinstance(once, Lorebook):
        for write in (to_world_info, to_lorebook_v3):
            document = write_json(write(once))
            try:
                again = read_any(document)
            except BadRequest as error:
                assert not any(entry.content for entry in once.entries), error
                continue
            assert again == once
        assert split_lore(to_events(once))[0].entries == once.entries


@unhurried
@given(LOOSE, st.sampled_from([*FORMS, *CHATS]))
def test_no_value_breaks_a_form(value: Any, form: Form[Any]) -> None:
    form.fits(value)
    form.fits({"entries": value, "data": {"entries": value}})
    form.fits([{"key": value, "content": value, "insertion_order": value}])
