"""What is kept between turns is bounded in bytes, and so is a request."""

from __future__ import annotations

import gc
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cards.lore.keys import CompiledBook
from cards.lore.world_info import parse_book
from graph.pipeline import read_request
from openai_api.read import read_chat
from retrieval.index import Index, IndexCache, Passage
from schemas.base import BYTES_OF_OBJECT, BYTES_OF_VALUE, size_of
from schemas.errors import BadRequest
from schemas.kept import Kept
from schemas.request import MAX_REQUEST, StoryEvent
from stores.chroma import ChromaDatabase
from stores.story_index import StoryIndex
from tests.stores.stores_support import CountingEncoder
from tests.support import ask
from worker import characters

CHANCE = random.Random(7)


def rare(length: int) -> str:
    """A text in which hardly a word stands twice."""
    return "".join(chr(CHANCE.randrange(0x4E00, 0x9FA0)) for _ in range(length))


def plain(length: int) -> str:
    return " ".join(CHANCE.choices(["the", "keeper", "walks", "lamp", "sea"], k=length // 5))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40))), st.integers(1, 60))
def test_no_more_is_kept_than_the_bound_and_the_newest_first(
    values: list[tuple[int, int]], most: int
) -> None:
    kept: Kept[int, str] = Kept(most, count=5)
    told: dict[int, int] = {}
    for key, size in values:
        kept.put(key, f"{key}:{size}", size)
        told[key] = size
        there = [key for key in told if kept.get(key) == f"{key}:{told[key]}"]
        assert kept.bytes == sum(told[key] for key in there) <= most and len(there) <= 5
        assert (key in there) == (size <= most)
        kept.get(key)


def measured(make: Callable[[], Any]) -> tuple[Any, int]:
    """What is made, and the bytes that it takes."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return made, taken


@pytest.mark.parametrize("text", [rare, plain])
@pytest.mark.parametrize("length", [40, 4_000])
def test_an_index_knows_how_large_it_is(text: Callable[[int], str], length: int) -> None:
    texts = [text(length) for _ in range(20_000 // length)]
    index, taken = measured(
        lambda: Index([Passage(str(row), f"{it} ") for row, it in enumerate(texts)])
    )
    index.lexical.candidates()
    assert taken / 4 < index.bytes and taken < 1.25 * index.bytes


@pytest.mark.parametrize("key", ["/(a|b)c{n}|d{n}/i", "key {n}"])
def test_a_lorebook_knows_how_large_it_is(key: str) -> None:
    entries = [
        {"key": [key.replace("{n}", f"{n}-{m}") for m in range(4)], "content": rare(200)}
        for n in range(60)
    ]
    book = parse_book({"entries": entries})
    compiled, taken = measured(lambda: CompiledBook(book))
    assert taken < 1.25 * compiled.bytes


def test_large_chats_do_not_fill_the_memory() -> None:
    cache = IndexCache(max_bytes=2_000_000)
    for chat in range(12):
        with cache.index(chat) as index:
            index.update([Passage(str(row), rare(500)) for row in range(10)])
        assert index.bytes > 400_000
        assert cache._indexes.bytes <= 2_000_000
    with cache.index("too large") as index:
        index.update([Passage("", rare(30_000))])
    with cache.index("too large") as again:
        assert again is not index


def test_of_a_named_story_nothing_is_kept_that_no_turn_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = StoryIndex(ChromaDatabase(path=tmp_path), CountingEncoder())
    event = StoryEvent(id="a", order=1, text="The lamp burns.", extensions={"x": "y" * 1_000_000})
    stories.build("lamp", [event])
    kept = Kept[Any, Any](10_000)
    monkeypatch.setattr(stories, "_cached", kept)
    assert stories.named("lamp").events[0].extensions == {}
    assert 0 < kept.bytes < 10_000
    assert stories.named("lamp") is stories.named("lamp")


def test_characters_are_kept_by_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept[Any, Any](1_000_000)
    monkeypatch.setattr(characters, "_read_before", kept)
    for name in "abcdef":
        persona = {"name": name, "extensions": {"notes": "x" * 200_000}}
        (tmp_path / f"{name}.json").write_text(json.dumps(persona), encoding="utf-8")
        assert characters.load(name, tmp_path) is characters.load(name, tmp_path)
        assert kept.bytes <= 1_000_000


def lines(count: int, length: int) -> list[dict[str, str]]:
    return [{"role": "user", "name": "Mira", "content": "x" * length}] * count


def test_a_long_chat_of_a_backend_fits_into_a_request() -> None:
    assert len(read_request(ask(history=lines(10_000, 200))).history) == 10_000


DEEP: Any = "x"
for _ in range(100_000):
    DEEP = {"a": DEEP}

HOSTILE: dict[str, dict[str, Any]] = {
    "history": {"history": lines(10_000, 100_000)},
    "history in Korean": {"history": [{"role": "user", "content": "가" * 90_000}] * 12},
    "story": {"story": [{"id": "a", "order": 1, "text": "x" * 100_000}] * 100},
    "story of names": {"story": [{"id": "a", "order": 1, "text": "", "known_by": ["A"] * 10**6}]},
    "story of no names": {"story": [{"id": "a", "order": 1, "text": "", "known_by": [0] * 50_000}]},
    "meta of many elements": {"meta": {"x": [0] * 10_000_000}},
    "meta of many keys": {"meta": {str(n): 0 for n in range(400_000)}},
    "meta": {"meta": {"x": "y" * MAX_REQUEST}},
    "meta that is deep": {"meta": DEEP},
    "persona": {"persona": {"name": "S", "extensions": {"x": ["y" * 1000] * 5000}}},
    "history of unknown fields": {"history": [{str(n): 0 for n in range(30_000)}]},
    "history of no objects": {"history": [0] * 9_000},
    "": {str(n): 0 for n in range(100_000)},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_request_that_is_too_large_is_refused_at_once_in_one_line(name: str) -> None:
    before = time.process_time()
    with pytest.raises(BadRequest) as refused:
        read_request(ask(**HOSTILE[name]))
    assert time.process_time() - before < 2
    told, field = refused.value.message, name.split(" ")[0]
    assert "\n" not in told and len(told) < 400
    assert (refused.value.field or "").split(".")[0] == field


def test_the_openai_route_has_the_same_bound() -> None:
    message = {"role": "user", "content": "x" * 100_000}
    for body in ({"messages": [message] * 100}, {str(n): 0 for n in range(100_000)}):
        before = time.process_time()
        with pytest.raises(BadRequest, match=r"newest messages|more than 100 fields"):
            read_chat({"model": "iyagi", **body})
        assert time.process_time() - before < 1


def test_the_longest_field_is_named_with_its_cure() -> None:
    with pytest.raises(BadRequest, match=r"^history: .* 3 MB; .*standing memory") as refused:
        read_request(ask(history=lines(30, 90_000), meta={"x": "y" * 500_000}))
    assert refused.value.field == "history"
    with pytest.raises(BadRequest, match=r"^story: .*`story_id`"):
        read_request(ask(story=[{"id": "a", "order": 0, "text": "x" * 90_000}] * 50))


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=40, deadline=None)
@given(VALUES, st.integers(0, 200))
def test_a_size_is_about_that_of_the_json(value: Any, most: int) -> None:
    size = size_of(value, 10**9)
    strings = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    escapes = strings.count("\\") * 5
    written = len(strings.encode("utf-8", "surrogatepass"))
    assert size <= (BYTES_OF_VALUE + BYTES_OF_OBJECT) * (written + 1)
    assert written <= 2 * size + escapes + 10
    assert (size_of(value, most) > most) == (size > most)


@pytest.mark.parametrize("field", ["meta", "persona", "story"])
@pytest.mark.parametrize(
    "data",
    [
        {"a": [[]] * 100_000},
        {"a": [1.5e300] * 100_000},
        {str(n): 1 for n in range(100_000)},
        {"a": [10**4_000] * 4_000},
        {"a": [[[[[[0]]]]]] * 10_000},
    ],
    ids=["lists", "floats", "keys", "integers", "nested"],
)
def test_free_form_data_of_many_values_is_refused_at_once(field: str, data: Any) -> None:
    given = {
        "meta": data,
        "persona": {"name": "Mara", "extensions": data},
        "story": [{"id": "a", "order": 0, "text": "x", "extensions": data}],
    }
    before = time.process_time()
    with pytest.raises(BadRequest, match=rf"^{field}.*(20,000 values|3 MB)"):
        read_request(ask(**{field: given[field]}))
    assert time.process_time() - before < 0.5
