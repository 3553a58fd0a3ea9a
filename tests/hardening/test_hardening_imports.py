"""What is read from a file has the bounds of a request, and says where it stopped."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cards.__main__ import main
from cards.chats.chat import Chat
from cards.files import MAX_FILE, MAX_JSON
from cards.read import read_any
from graph.pipeline import read_request
from play.files import read_dropped
from schemas.errors import BadRequest
from schemas.request import MAX_HISTORY
from tests.cards.cards_support import as_json, v2
from tests.support import ask


def jsonl(count: int, words: str) -> bytes:
    head = json.dumps({"user_name": "Min", "chat_metadata": {}})
    rows = (f'{{"name": "A", "is_user": false, "mes": "{words} {n}"}}' for n in range(count))
    return "\n".join([head, *rows]).encode()


def listed(count: int, words: str) -> bytes:
    return json.dumps([{"role": "user", "content": f"{words} {n}"} for n in range(count)]).encode()


def text(count: int, words: str) -> bytes:
    return "\n".join(f"{'You' if n % 2 else 'Mira'}: {words} {n}" for n in range(count)).encode()


FORMS = {"chat.jsonl": jsonl, "chat.json": listed, "chat.txt": text}


LONG = [(30_000, "hi"), (200, "x" * 20_000), (11_000, "x" * 300)]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("count", "words"), LONG)
def test_of_a_long_chat_the_newest_messages_are_kept_and_that_is_told(
    name: str, count: int, words: str
) -> None:
    content = FORMS[name](count, words)
    before = time.process_time()
    read = read_dropped(content, user=None)
    assert time.process_time() - before < 5
    kept = read["history"]
    assert kept[-1]["content"] == f"{words} {count - 1}"
    numbers = [int(line["content"].rsplit(" ", 1)[1]) for line in kept]
    assert numbers == list(range(count - len(kept), count)) and len(kept) <= MAX_HISTORY
    [note] = read["notes"]
    assert note.startswith(f"kept the newest {len(kept):,} messages of ")
    read_request(ask(history=kept))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.sampled_from(sorted(FORMS)))
def test_of_a_short_chat_nothing_is_left_out(count: int, name: str) -> None:
    chat = read_any(FORMS[name](count, "hi"), user="You", character="Mira")
    assert isinstance(chat, Chat) and not chat.warnings
    assert [it.content for it in chat.messages] == [f"hi {n}" for n in range(count)]


GREETED = v2(alternate_greetings=["x" * 2_000] * 5_000, extensions={"x": ["y" * 90_000] * 40})
NESTED = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
REFUSED = [
    ("chat.jsonl", b'{"user_name": "A"}\n{"mes": "' + b"x" * (MAX_JSON + 1) + b'"}'),
    ("chat.jsonl", b'{"user_name": "A"}\n' + b"[" * 1_000_000),
    ("chat.json", b"[" * 1_000_000),
    ("chat.json", b'[{"role": "user", "content": ' + NESTED + b"}]"),
    ("chat.txt", b"\n" * 5_000_000 + b"x"),
    ("chat.txt", b"A: " + b"x" * 5_000_000),
    ("card.json", as_json(GREETED)),
    ("persona.json", as_json({"name": "A", "description": "x" * 200_000})),
    ("story.json", as_json([{"id": str(n), "order": n, "text": ""} for n in range(10_001)])),
    ("story.json", as_json([{"id": str(n), "order": n, "text": "x" * 90_000} for n in range(40)])),
]


@pytest.mark.parametrize(("name", "content"), REFUSED)
def test_what_no_request_could_hold_is_one_line(name: str, content: bytes) -> None:
    before = time.process_time()
    with pytest.raises(BadRequest) as refused:
        read_dropped(content, user=None)
    assert time.process_time() - before < 5
    assert "\n" not in refused.value.message and len(refused.value.message) < 200


def test_of_a_long_book_the_first_entries_are_kept_and_that_is_told() -> None:
    def book(count: int, words: str) -> dict[str, Any]:
        return {"entries": [{"keys": [f"k{n}"], "content": f"{words} {n}"} for n in range(count)]}

    for lore in (book(10_100, "x"), book(100, "x" * 90_000)):
        read = read_dropped(as_json(lore), user=None)
        [note] = read["notes"]
        assert note.startswith(f"kept the first {len(read['story']):,} of {len(lore['entries']):,}")
        read_request(ask(story=read["story"]))
    card = read_dropped(as_json(v2(character_book=lore)), user=None)
    assert card["notes"] == read["notes"] and len(card["story"]) == len(read["story"])


def test_of_many_greetings_the_first_are_kept_and_that_is_told() -> None:
    content = as_json(v2(alternate_greetings=["{{char}}"] * 20_000))
    before = time.process_time()
    read = read_dropped(content, user=None)
    assert time.process_time() - before < 2
    assert len(read["greetings"]) == 101
    card: Any = read_any(content)
    assert any("alternate_greetings` has more than 100" in told for told in card.warnings)


EACH = "{{#each {{range::0::100}} x}}" * 2 + "{{user}}a" + "{{/each}}" * 2
EXPENSIVE: dict[str, dict[str, Any]] = {
    "a field": {"description": "{{? 1 + 1}}" * 9_000, "texts": ["{{description}}"] * 2_500},
    "loops": {"texts": [EACH] * 500},
    "made": {"texts": ["{{range::0::1000}}" * 2_500] * 20},
    "joined": {"texts": ["{{join::{{range::0::1000}}::%s}}" % ("x" * 150)] * 500},
    "variables": {"texts": ["{{setvar::a::xxxx}}" + "{{addvar::a::{{getvar::a}}}}" * 30] * 900},
}


@pytest.mark.parametrize("where", ["greetings", "entries"])
@pytest.mark.parametrize("name", EXPENSIVE)
def test_the_macros_of_a_file_cost_little_together(name: str, where: str) -> None:
    fields = dict(EXPENSIVE[name])
    texts = [f"{text}{n}" for n, text in enumerate(fields.pop("texts"))]
    entries = [{"keys": ["a"], "content": text, "enabled": True} for text in texts]
    if where == "greetings":
        fields["alternate_greetings"] = texts[:100]
    else:
        fields["character_book"] = {"entries": entries, "extensions": {}}
    before = time.process_time()
    notes = read_dropped(as_json(v2(**fields)), user="민준")["notes"]
    assert time.process_time() - before < 10
    if where == "entries":
        assert "it has more macros than are looked at here; some are not checked" in notes


def test_the_command_line_says_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(jsonl(12_000, "hi"))
    for command in (["show"], ["validate"], ["convert"]):
        out = [str(tmp_path / "out.json")] * (command == ["convert"])
        assert main([*command, str(log), *out]) == 0
        assert "warning: kept the newest 10,000 messages of 12,001 lines" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "out.json").read_bytes())) == MAX_HISTORY


def test_a_file_is_read_no_further_than_its_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = tmp_path / "huge.jsonl"
    with huge.open("wb") as file:
        file.truncate(20 * MAX_FILE)
    assert main(["show", str(huge)]) == 2
    assert (
        capsys.readouterr().err == "error: huge.jsonl: is larger than 64 MB; use a smaller file\n"
    )
