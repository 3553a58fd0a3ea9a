"""A lorebook is written back without loss: as World Info, as a V3 book, as story events."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.files import write_json
from cards.lore.events import in_force, is_off, split_lore, to_events
from cards.lore.lorebook import Condition, Lorebook, LoreEntry, stack
from cards.lore.world_info import parse_book
from cards.lore.write import to_lorebook_v3, to_world_info
from cards.read import read_any
from cards.story import Story
from schemas.request import StoryEvent
from scripts.build_index import read_story
from tests.cards.cards_support import as_json, book, run, unhurried
from tests.cards.test_cards_lore import FULL
from tests.support import MakePipeline, RecordingLLM, ask

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "id": WORDS | st.integers(0, 9).map(str),
    "probability": st.floats(0, 100) | st.just(40.0),
    "conditions": st.lists(
        st.builds(
            Condition,
            st.lists(WORDS, max_size=3).map(tuple),
            st.sampled_from(["and_any", "not_all", "not_any", "and_all"]),
        ),
        max_size=3,
    ).map(tuple),
    "greeting": st.none() | st.integers(0, 9),
}
FIELDS = {
    name: SPECIAL.get(name, st.lists(WORDS, max_size=3).map(tuple) if "tuple" in str(hint)
                      else WORDS if hint is str else st.integers(-5, 10**7) if hint is int
                      else st.from_type(hint))
    for name, hint in get_type_hints(LoreEntry).items()
    if name != "source"
}  # fmt: skip
"""Every field by its type, so that one that is added later is tested, too."""

BOOKS = st.builds(
    lambda entries, name, budget: Lorebook(tuple(entries), name, budget),
    st.lists(st.builds(LoreEntry, **FIELDS), max_size=4),
    WORDS,
    st.none() | st.integers(0, 10**6),
)


def again(document: dict[str, Any]) -> Lorebook:
    """What the file would be read as."""
    return parse_book(json.loads(write_json(document)))


@unhurried
@given(BOOKS)
def test_every_field_of_an_entry_survives(lore: Lorebook) -> None:
    lore = distinct(lore)
    assert again(to_world_info(lore)) == lore
    assert again(to_lorebook_v3(lore)) == lore
    assert again(to_world_info(again(to_lorebook_v3(lore)))) == lore
    assert again(to_lorebook_v3(again(to_world_info(lore)))) == lore
    events = [StoryEvent.model_validate_json(e.model_dump_json()) for e in to_events(lore)]
    assert split_lore(events)[0].entries == lore.entries


def distinct(lore: Lorebook) -> Lorebook:
    """The book with an id of its own for each entry, as every reader gives them."""
    entries: dict[str, LoreEntry] = {}
    for row, entry in enumerate(lore.entries):
        identity = entry.id if entry.id.strip() and entry.id not in entries else f"entry {row}"
        entries[identity] = replace(entry, id=identity)
    return replace(lore, entries=tuple(entries.values()))


CHANGED: dict[str, Any] = {
    **{"name": "딴 이름", "content": "딴 글", "enabled": False, "order": 7},
    "keys": ("달",),
}


def test_world_info_that_did_not_change_comes_out_as_it_was() -> None:
    loose = {"key": "가, /나,다/i", "비밀": {"x": [1]}, "order": "30"}
    beside = {"name": "섬", "extensions": {"앱": 1}, "originalData": {"entries": []}}
    document = {**book({**FULL, "uid": 0}, loose), **beside}
    read = parse_book(document)
    assert to_world_info(read) == document
    assert to_world_info(parse_book(to_world_info(read))) == document


@pytest.mark.parametrize("field", CHANGED)
def test_what_a_file_had_beside_stays_where_an_entry_changes(field: str) -> None:
    document = book({**FULL, "비밀": {"x": [1]}, "extensions": {"앱": True}}, {"key": ["b"]})
    read = parse_book(document)
    first = replace(read.entries[0], **{field: CHANGED[field]})
    changed = replace(read, entries=(first, *read.entries[1:]))
    written = to_world_info(changed)
    assert written["entries"]["7"]["비밀"] == {"x": [1]}
    assert written["entries"]["7"]["extensions"]["앱"] is True
    assert written["entries"]["1"] == document["entries"]["1"]
    assert again(written) == changed and again(to_lorebook_v3(changed)) == changed


def test_a_card_book_keeps_its_extensions_in_either_form() -> None:
    entry = {
        **{"keys": ["등대"], "content": "@@moon 1\n빛", "id": 3, "enabled": True},
        **{"insertion_order": 9, "extensions": {"depth": 2, "position": 4, "남": {"y": 1}}},
    }
    read = parse_book({"entries": [entry], "name": "책", "description": "설명", "scan_depth": 9})
    world, v3 = to_world_info(read), to_lorebook_v3(read)
    assert v3["data"]["entries"] == [{**entry, "use_regex": False}]
    assert v3["data"]["description"] == world["description"] == "설명"
    assert world["entries"]["3"]["extensions"]["남"] == {"y": 1}
    assert (world["entries"]["3"]["depth"], world["entries"]["3"]["scanDepth"]) == (2, 9)
    assert again(world) == again(v3) == read


def test_ids_become_numbers_and_come_back() -> None:
    read = parse_book(book({"uid": "x"}, {"uid": 0}, {"uid": 0}, {"uid": "07"}))
    written = to_world_info(read)
    assert [entry["uid"] for entry in written["entries"].values()] == list(
        map(int, written["entries"])
    )
    assert len(written["entries"]) == 4 and again(written) == read


@pytest.mark.parametrize(
    "own",
    [
        {"sticky": "moon"},
        {"probability": "nan"},
        {"position": "moon"},
        {"content": "x" * 100_001},
        {"conditions": [["a"]]},
    ],
)
def test_what_says_nonsense_in_our_own_place_is_said(own: dict[str, Any]) -> None:
    read = parse_book(book({"extensions": {"iyagi": {**own, "id": "a"}}}))
    assert "entry a: `extensions.iyagi` is not as it was written here; left out" in read.warnings
    assert split_lore(to_events(read))[0] == read


def test_a_stack_of_books_is_written_as_one() -> None:
    both = stack(parse_book(book({"key": ["a"]})), parse_book(book({"key": ["a"]})))
    assert again(to_world_info(both)) == both
    many = parse_book({"entries": [{"key": ["a"], "content": "x"}] * 5_100})
    assert len(to_world_info(stack(many, many))["entries"]) == 10_200


def test_a_large_book_is_written_within_the_bounds_of_the_reader() -> None:
    rows = [{"keys": [f"k{n}"], "content": "x" * 1_500, "insertion_order": n} for n in range(1_100)]
    read = read_any(as_json({"entries": rows}))
    assert isinstance(read, Lorebook) and not read.note
    for write in (to_world_info, to_lorebook_v3):
        assert read_any(write_json(write(read))) == read


def test_story_json_keeps_entries_that_are_off_or_empty() -> None:
    document = book({"key": ["안개"]}, {"key": ["난파"], "disable": True}, {"content": " "})
    read = parse_book(document)
    events = to_events(read)
    assert split_lore(events)[0] == read
    assert [is_off(event) for event in events] == [False, True, True]
    assert [entry.id for entry in in_force(read).entries] == ["0"]
    assert [item.entry.id for item in run(document, "안개와 난파").active] == ["0"]
    story = read_any(as_json([event.model_dump(mode="json") for event in events]))
    assert isinstance(story, Story)
    assert again(to_world_info(split_lore(story.events)[0])) == read


async def test_an_entry_that_is_off_fires_in_no_request(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    document = book(
        {"key": ["난파"], "content": "동쪽 둑의 난파선", "disable": True},
        {"constant": True, "content": "늘 꺼진 등", "disable": True},
        {"key": ["안개"], "content": "항구의 안개"},
    )
    story = [event.model_dump(mode="json") for event in to_events(parse_book(document))]
    await make_pipeline(scripted).chat(ask("난파와 안개", story=story, respond_as="character"))
    assert "항구의 안개" in scripted.prompts[-1]
    assert "난파선" not in scripted.prompts[-1] and "꺼진 등" not in scripted.prompts[-1]


def test_an_index_holds_no_entry_that_is_off(tmp_path: Path) -> None:
    document = book({"key": ["a"]}, {"key": ["b"], "disable": True})
    story = [*to_events(parse_book(document)), StoryEvent(id="e", order=1, text="배가 왔다")]
    file = tmp_path / "story.json"
    file.write_text(json.dumps([event.model_dump(mode="json") for event in story]))
    assert [event.id for event in read_story(file, None).story] == ["lore/00000/0", "e"]
