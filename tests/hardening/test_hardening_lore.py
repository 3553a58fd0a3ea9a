"""Lore passes by the filters of the story, so nothing that they would hold back can be lore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cards.__main__ import main as cards
from cards.lore.events import split_lore, to_events
from cards.lore.lorebook import Lorebook, LoreEntry
from cards.read import read_any
from schemas.errors import BadRequest
from scripts.build_index import main as build_index
from scripts.build_index import read_story
from tests.support import MakePipeline, RecordingLLM, ask

NARROW: list[dict[str, Any]] = [
    {"visibility": "secret"},
    {"visibility": "witnessed"},
    {"visibility": "witnessed", "known_by": ["하늘"]},
    {"characters": ["하늘"]},
    {"known_by": ["하늘"]},
    {"order": 7},
    {"visibility": "secret", "characters": ["하늘"], "order": 7},
]
"""What a filter of the story would ask about."""


def event(**changes: Any) -> dict[str, Any]:
    lore = {"id": "x", "keys": ["등대"], "constant": True}
    own = {"id": "e", "order": 0, "text": "등대의 비밀", "extensions": {"lore": lore}}
    return {**own, **changes}


@pytest.mark.parametrize("narrow", NARROW, ids=str)
async def test_no_secret_travels_as_lore(
    narrow: dict[str, Any], make_pipeline: MakePipeline, tmp_path: Path, capsys: Any
) -> None:
    """By a request, by an index, and by a file of the terminal or the page."""
    story, place = [event(id="a"), event(**narrow)], "story.1.extensions.lore"
    for position in (None, 3, 9):
        with pytest.raises(BadRequest) as caught:
            await make_pipeline().chat(ask("등대", story=story, story_position=position))
        assert caught.value.field == place and next(iter(narrow)) in caught.value.message
    file = tmp_path / "story.json"
    file.write_text(json.dumps(story), encoding="utf-8")
    with pytest.raises(BadRequest, match=place):
        read_story(file, None)
    assert build_index([str(file)]) == 2 and place in capsys.readouterr().err
    with pytest.raises(BadRequest, match=r"extensions\.lore"):
        read_any(file.read_bytes())


@pytest.mark.parametrize("narrow", NARROW[:-1], ids=str)
async def test_an_event_of_the_story_stays_one(
    narrow: dict[str, Any], make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    """Nothing under `lore` is no lore: the filters hold, and the event is not lost."""
    story = [event(**narrow, extensions={"lore": None}), event(id="b", text="옛날 등대")]
    asked = ask("등대", story=story, story_position=3, respond_as="character")
    await make_pipeline(scripted).chat(asked)
    known = narrow.get("known_by") or narrow.get("characters")
    assert ("비밀" in scripted.prompts[-1]) == bool(known)
    assert "옛날 등대" in scripted.prompts[-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(LoreEntry, id=st.text(max_size=9), content=st.text(min_size=1))))
def test_what_a_book_becomes_is_accepted(entries: list[LoreEntry]) -> None:
    book = Lorebook(entries=tuple(entries))
    assert split_lore(to_events(book))[0].entries == book.entries


async def test_what_the_terminal_converts_is_accepted(
    make_pipeline: MakePipeline, scripted: RecordingLLM, tmp_path: Path
) -> None:
    world, story = tmp_path / "world.json", tmp_path / "story.json"
    entry = {"key": ["숲"], "content": "숲은 깊다", "constant": True}
    world.write_text(json.dumps({"entries": {"0": entry}}), encoding="utf-8")
    assert cards(["convert", str(world), str(story)]) == 0
    assert read_story(story, "숲").story
    converted = json.loads(story.read_text(encoding="utf-8"))
    await make_pipeline(scripted).chat(ask("숲", story=converted, story_position=0))
    assert "숲은 깊다" in scripted.prompts[-1]
