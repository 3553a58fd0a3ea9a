"""`python -m cards`, and the files that the handler's command line takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cards.__main__ import main
from cards.files import MAX_FILE
from cards.load import load_character, load_history, load_lore
from schemas.errors import BadRequest
from schemas.request import StoryEvent
from tests.cards.cards_support import as_json, book, picture, read_card, text_chunk, v2, v3


@pytest.fixture
def card_png(tmp_path: Path) -> Path:
    lore = {"entries": [{"keys": ["등대"], "content": "빛난다", "enabled": True}]}
    path = tmp_path / "card.png"
    path.write_bytes(picture(text_chunk("chara", as_json(v2(character_book=lore)))))
    return path


def test_show_prints_card_book_and_chat(
    card_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = tmp_path / "chat.txt"
    chat.write_text("세라: 안녕 \x1b[31m\n나: 응", encoding="utf-8")
    world = tmp_path / "world.json"
    world.write_bytes(as_json(book({"key": ["숲"], "comment": "[red]x"})))
    for path, words in (
        (card_png, ("하늘", "V2 in PNG", "등대")),
        (world, ("숲", "[red]x", "1 entry")),
        (chat, ("2 messages", "세라")),
    ):
        assert main(["show", str(path)]) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words) and "\x1b[31m" not in out


def test_convert_writes_what_reads_back(
    card_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main(["convert", str(card_png), str(out), "--to", "v3"]) == 0
    assert read_card(out.read_bytes()).version == "v3"
    assert main(["convert", str(card_png), str(out)]) == 2
    assert "out.json: exists" in capsys.readouterr().err
    again = tmp_path / "again.png"
    assert main(["convert", str(out), str(again), "--to", "v2", "--picture", str(card_png)]) == 0
    assert read_card(again.read_bytes()).data["character_book"]["entries"][0]["keys"] == ["등대"]
    world, story = tmp_path / "world.json", tmp_path / "story.json"
    world.write_bytes(as_json(book({"key": ["숲"]})))
    assert main(["convert", str(world), str(story)]) == 0
    assert StoryEvent(**json.loads(story.read_text())[0]).keywords == ["숲"]
    chat, log = tmp_path / "chat.txt", tmp_path / "chat.jsonl"
    chat.write_text("세라: 안녕\n나: 응", encoding="utf-8")
    assert main(["convert", str(chat), str(log), "--user", "민준"]) == 0
    assert [m.role for m in load_history(log)] == ["character", "user"]
    capsys.readouterr()
    assert main(["convert", str(chat), str(tmp_path / "x.png")]) == 2
    assert capsys.readouterr().err.startswith("error: x.png: cannot be written in this format")
    world.write_text('{"input_sequence": "x"}', encoding="utf-8")
    assert main(["show", str(world)]) == 2
    assert "in a form that is known here; its keys are `input_sequence`" in capsys.readouterr().err


def test_a_picture_that_nothing_takes_is_refused(
    card_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, chat = tmp_path / "world.json", tmp_path / "chat.txt"
    world.write_bytes(as_json(book({"key": ["숲"]})))
    chat.write_text("세라: 안녕\n나: 응", encoding="utf-8")
    for source, out in ((card_png, "a.json"), (world, "b.json"), (chat, "c.jsonl")):
        assert main(["convert", str(source), str(tmp_path / out), "--picture", str(card_png)]) == 2
        assert "only a card in .png or .charx" in capsys.readouterr().err
        assert not (tmp_path / out).exists()
    as_story = [str(card_png), str(tmp_path / "d.png"), "--to", "story"]
    assert main(["convert", *as_story, "--picture", str(card_png)]) == 2
    out = str(tmp_path / "e.charx")
    assert main(["convert", str(card_png), out, "--picture", str(card_png)]) == 0


def test_validate_names_what_is_odd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(as_json(v3(tags=3, character_book={"entries": [{"keys": 4, "content": ""}]})))
    assert main(["validate", str(path)]) == 0
    out = capsys.readouterr().out
    assert "`tags` should be a list" in out and "entry 0: `key` should be" in out
    key = {"keys": ["/a**/", "/(/", "/b/"], "content": "x"}
    path.write_bytes(
        as_json(v3(scenario="{{mood::x}} {{user}}", character_book={"entries": [key]}))
    )
    assert main(["validate", str(path)]) == 0
    out = capsys.readouterr().out
    assert "unknown macro `{{mood}}` stays as text" in out and "{{user}}" not in out
    assert "key `/(/` is no valid pattern" in out and "`/a**/`" in out and "/b/" not in out
    path.write_bytes(as_json(v3(name="", nickname="")))
    assert main(["validate", str(path)]) == 2


@pytest.mark.parametrize("verb", ["show", "validate"])
def test_errors_are_one_line_and_2(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.png"
    for content in (b"", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", "한글".encode("cp949"), b"[" * 10**5):
        path.write_bytes(content)
        assert main([verb, str(path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: bad.png: ") and err.count("\n") == 1
        assert str(tmp_path) not in err
    assert main([verb, str(tmp_path / "none.json")]) == 2
    assert main([verb, str(tmp_path)]) == 2


def test_a_file_of_200_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        os.ftruncate(file.fileno(), 200 << 20)  # sparse: takes no room
    with pytest.raises(BadRequest, match=rf"huge\.png: is larger than {MAX_FILE >> 20} MB"):
        load_character(path)
    text = tmp_path / "long.json"
    text.write_bytes(b"[" + b"0," * (9 << 20) + b"0]")
    with pytest.raises(BadRequest, match="16 MB of JSON"):
        load_character(text)


def test_the_handlers_files(card_png: Path, tmp_path: Path) -> None:
    assert load_character(card_png)[0].name == "하늘"
    assert [entry.keys for entry in load_lore(card_png).entries] == [("등대",)]
    plain = tmp_path / "persona.json"
    plain.write_text('{"name": "세라", "first_message": "안녕"}', encoding="utf-8")
    assert load_character(plain)[0].first_message == "안녕"
    plain.write_text('{"name": "세라", "description": 3}', encoding="utf-8")
    with pytest.raises(BadRequest, match=r"persona\.json: description"):
        load_character(plain)
    plain.write_text('{"name": "세라", "first_message": "안녕"}', encoding="utf-8")
    with pytest.raises(BadRequest, match=r"persona\.json: is a persona of Iyagi, and no lorebook"):
        load_lore(plain)
    plain.write_bytes(as_json(book({"key": ["숲"]}, name="숲", description="길")))
    with pytest.raises(BadRequest, match=r"persona\.json: is a World Info, and no character"):
        load_character(plain)
    bare = tmp_path / "bare.json"
    bare.write_bytes(as_json(v2()))
    assert load_lore(bare).entries == ()
