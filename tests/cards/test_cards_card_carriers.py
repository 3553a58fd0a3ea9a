"""Cards are found in whatever carries them, the newest good copy of several; what carries none is
called by its name."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.characters.card import Card
from cards.files import MAX_JSON
from cards.lore.of_card import book_of
from cards.read import read_any
from schemas.errors import BadRequest
from tests.cards.cards_support import (
    as_json,
    charx,
    chunk,
    embedded,
    picture,
    read_card,
    text_chunk,
    to_json,
    to_png,
    unhurried,
    v2,
    v3,
)


def stored(word: str, content: bytes) -> bytes:
    return chunk(b"tEXt", word.encode() + b"\0" + content)


def deflated(word: str, content: bytes) -> bytes:
    return chunk(b"zTXt", word.encode() + b"\0\0" + zlib.compress(content))


def international(word: str, content: bytes, packed: bool = False) -> bytes:
    head = word.encode() + (b"\0\1\0" if packed else b"\0\0\0") + b"ko\0" + "카드".encode() + b"\0"
    return chunk(b"iTXt", head + (zlib.compress(content) if packed else content))


WAYS = (
    stored,
    deflated,
    international,
    lambda word, content: international(word, content, packed=True),
)


@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("word", ["chara", "ccv3", "Chara", "CCV3"])
def test_a_card_is_read_from_every_kind_of_text(way: int, word: str) -> None:
    card = read_card(picture(WAYS[way](word, base64.b64encode(as_json(v3(name="노을"))))))
    assert card.name == "노을" and card.form == "character card V3 in PNG"
    assert not [told for told in card.warnings if "copy" in told]


@unhurried
@given(
    st.text(max_size=60),
    st.sampled_from(WAYS),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, 60, 76]),
    st.sampled_from([b"", b"\0", b"\r\n", b" \0\0"]),
)
def test_base64_is_read_however_it_is_written(
    words: str, way: Any, padded: bool, for_urls: bool, width: int, tail: bytes
) -> None:
    encode = base64.urlsafe_b64encode if for_urls else base64.b64encode
    text = encode(json.dumps(v2(name="등불", scenario=words)).encode())
    text = text if padded else text.rstrip(b"=")
    rows = [text[at : at + width] for at in range(0, len(text), width)] if width else [text]
    card = read_card(picture(way("chara", b"\n".join(rows) + tail)))
    assert card.name == "등불" and card.scenario == read_card(as_json(v2(scenario=words))).scenario


FRENCH = {"name": "Léa", "first_mes": "Salut"}


@pytest.mark.parametrize(
    "content",
    [
        as_json(v2(name="Léa")),
        json.dumps(v2(name="Léa"), ensure_ascii=False).encode(),
        json.dumps(FRENCH, ensure_ascii=False).encode("latin-1"),
        b" " + as_json(v2(name="Léa")) + b"\0\n",
    ],
)
def test_json_that_nobody_encoded(content: bytes) -> None:
    assert read_card(picture(stored("chara", content))).name == "Léa"


def b64(card: dict[str, Any]) -> bytes:
    return base64.b64encode(as_json(card))


OLD, NEW = b64(v2(name="옛 등대")), b64(v3(name="새 등대"))
COPIES = {
    "V3 beside V2": ([stored("chara", OLD), stored("ccv3", NEW)], "새 등대", "differ in `name`"),
    "V3 first": ([stored("ccv3", NEW), stored("chara", OLD)], "새 등대", "differ in `name`"),
    "deflated V3": ([deflated("ccv3", NEW), stored("chara", OLD)], "새 등대", "differ in `name`"),
    "two of a kind": ([stored("chara", OLD), stored("chara", NEW)], "새 등대", "differ in `name`"),
    "of two kinds": ([stored("chara", OLD), international("chara", NEW)], "새 등대", "differ"),
    "V3 cut": ([stored("ccv3", NEW[: len(NEW) // 2]), stored("chara", OLD)], "옛 등대", "`ccv3`"),
    "V3 no base64": ([stored("ccv3", b"?!"), stored("chara", OLD)], "옛 등대", "damaged"),
    "V3 no card": ([stored("ccv3", b64({"a": 1})), stored("chara", OLD)], "옛 등대", "damaged"),
    "V3 no zlib": ([chunk(b"zTXt", b"ccv3\0\0xx"), stored("chara", OLD)], "옛 등대", "damaged"),
    "last is cut": ([stored("chara", OLD), stored("chara", NEW[:40])], "옛 등대", "damaged"),
    "dates": (
        [
            stored("chara", b64(v2(name="새 등대", modification_date=1_800_000_000))),
            stored("chara", b64(v2(name="옛 등대", modification_date=1_700_000_000))),
        ],
        "새 등대",
        "differ in `name`",
    ),
}


@pytest.mark.parametrize("case", COPIES)
def test_the_newest_good_copy_is_read_and_the_others_are_told(case: str) -> None:
    chunks, name, told = COPIES[case]
    card = read_card(picture(*chunks))
    assert card.name == name and any(told in warning for warning in card.warnings)
    again = read_card(to_png(card))
    assert again.name == name and not any("cop" in warning for warning in again.warnings)
    assert again.document == card.document


def test_equal_copies_are_no_news() -> None:
    card = read_card(picture(stored("chara", b64(v2())), stored("ccv3", b64(v3()))))
    assert card.version == "v3" and not card.warnings


def test_a_wrong_checksum_of_text_does_not_cost_the_card() -> None:
    lamp = text_chunk("chara", as_json(v2(name="등불")))
    wrong = lamp[:-1] + bytes([lamp[-1] ^ 1])
    card = read_card(picture(wrong))
    assert card.name == "등불" and any("wrong CRC" in told for told in card.warnings)
    beside = read_card(picture(lamp, chunk(b"tIME", b"1234567")[:-1] + b"\0"))
    assert beside.name == "등불" and any("wrong CRC" in told for told in beside.warnings)
    other = read_card(picture(wrong.replace(b"chara", b"ccv3\0"), lamp))
    assert other.name == "등불", "of two the one whose checksum is right"


def test_writing_leaves_one_card_and_all_other_bytes() -> None:
    note, time = chunk(b"tEXt", b"Comment\0by hand"), chunk(b"tIME", b"1234567")
    file = picture(deflated("ccv3", NEW), note, international("chara", OLD), time, behind=b"tail")
    out = to_png(read_card(file), "v2")
    assert {*embedded(out)} == {"chara"} and out.count(b"zTXt") == out.count(b"iTXt") == 0
    assert note in out and time in out and out.endswith(b"tail")


def bomb(kind: bytes) -> bytes:
    packed = zlib.compress(b"A" * (4 * MAX_JSON), 9)
    head = b"chara\0\0" if kind == b"zTXt" else b"chara\0\1\0\0\0"
    return picture(chunk(kind, head + packed))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_text_is_inflated_within_bounds(kind: bytes) -> None:
    assert len(bomb(kind)) < 100_000
    with pytest.raises(BadRequest, match=r"cannot be unpacked|more than 16 MB"):
        read_card(bomb(kind))


def test_of_copies_that_would_take_long_the_newest_is_read() -> None:
    long = [base64.b64encode(as_json(v2(name=name, scenario="x" * (9 << 20)))) for name in "ab"]
    card = read_card(picture(*(deflated("chara", text) for text in long)))
    assert card.name == "b" and not card.warnings
    assert {*embedded(to_png(card))} == {"chara"} and to_png(card).count(b"chara") == 1


def test_a_picture_of_countless_parts_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"more than 100,000 parts"):
        read_card(picture(chunk(b"tIME", b"") * 100_001))


# EXIF


def tiff(comment: bytes, order: str = "<", kind: int = 7) -> bytes:
    """A TIFF block whose EXIF directory has a comment."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    first = struct.pack(f"{order}HHHLLL", 1, 0x8769, 4, 1, 26, 0)
    inner = struct.pack(f"{order}HHHLLL", 1, 0x9286, kind, len(comment), 44, 0)
    return head + first + inner + comment


def webp(exif: bytes) -> bytes:
    rows = b"".join(
        name + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in ((b"VP8 ", b"123"), (b"EXIF", exif))
    )
    return b"RIFF" + struct.pack("<L", len(rows) + 4) + b"WEBP" + rows


def jpeg(exif: bytes) -> bytes:
    segment = b"Exif\0\0" + exif
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + b"\xff\xd9"


CONTENT = json.dumps(v2(name="안개"), ensure_ascii=False).encode()
COMMENTS = [
    b"ASCII\0\0\0" + CONTENT,
    b"\0" * 8 + CONTENT,
    CONTENT,
    b"ASCII\0\0\0" + ",".join(map(str, CONTENT)).encode(),
    b"ASCII\0\0\0" + base64.b64encode(CONTENT),
    b"UNICODE\0" + CONTENT.decode().encode("utf-16-le"),
]


@pytest.mark.parametrize("comment", range(len(COMMENTS)))
def test_a_card_is_read_from_the_comment_of_a_picture(comment: int) -> None:
    block = tiff(COMMENTS[comment])
    for file, carrier in (
        (webp(block), "WEBP"),
        (webp(b"Exif\0\0" + block), "WEBP"),
        (jpeg(block), "JPEG"),
        (picture(chunk(b"eXIf", block)), "PNG"),
    ):
        card = read_card(file)
        assert (card.name, card.form) == ("안개", f"character card V2 in {carrier}")
        assert read_card(to_png(card, "v3")).name == "안개"
    big = tiff(b"ASCII\0\0\0" + CONTENT, ">", 2)
    assert read_card(webp(big)).name == "안개"


@unhurried
@given(st.data())
def test_a_damaged_comment_is_read_or_refused(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from([webp, jpeg]))(tiff(COMMENTS[0])))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, min(len(file) - 1, 80)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(file)))
    try:
        read_any(bytes(file[:cut]))
    except BadRequest as error:
        assert "\n" not in error.message


# Files that carry none


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "{}")
    return buffer.getvalue()


NAMED = {
    "WEBP picture": b"RIFF\x10\0\0\0WEBPVP8 \4\0\0\0abcd",
    "JPEG picture": b"\xff\xd8\xff\xe0\0\4ab\xff\xd9",
    "GIF picture": b"GIF89a\4\0\4\0",
    "AVIF picture": b"\0\0\0\x20ftypavif\0\0\0\0",
    "HEIC picture": b"\0\0\0\x20ftypheic\0\0\0\0",
    "film or sound": b"\0\0\0\x20ftypisom\0\0\0\0",
    "BMP picture": b"BM\x46\0\0\0\0\0\0\0\x36\0",
    "PDF document": b"%PDF-1.7\n",
    "RAR archive": b"Rar!\x1a\7\1\0",
    "7z archive": b"7z\xbc\xaf\x27\x1c",
    "gzip file": b"\x1f\x8b\x08\0",
    "SQLite database": b"SQLite format 3\0",
    r"module of RisuAI \(\.risum\)": b"o\0\x10\0\0\0abc",
    "Word document": zipped("[Content_Types].xml", "word/document.xml"),
    "EPUB book": zipped("mimetype", "META-INF/container.xml"),
    "zip without `card.json`": zipped("a.png", "b.png"),
    "names no character": zipped("manifest.json"),
    "damaged zip": b"PK\3\4 and nothing else",
}


@pytest.mark.parametrize("name", NAMED)
def test_what_carries_no_card_is_called_by_its_name(name: str) -> None:
    with pytest.raises(BadRequest, match=name) as refused:
        read_any(NAMED[name])
    assert "UTF-8" not in refused.value.message


@pytest.mark.parametrize("text", ["BM: 안녕\n나: 응", "GIF: hi\nYou: hi", "o: hi\nYou: ho"])
def test_a_chat_is_no_carrier(text: str) -> None:
    assert not isinstance(read_any(text.encode()), Card)


# Archives


def test_archives_are_read_whoever_wrote_them() -> None:
    """With 64-bit records, behind a picture, with names in UTF-8 that nobody announced."""
    uri = "embeded://assets/other/images/바다.png"
    assets = [{"type": "x-sea", "uri": uri, "name": "바다", "ext": "png"}]
    file = charx(v3(assets=assets), **{uri[10:].replace("/", "__"): b"waves"})
    name = uri[10:].encode()
    silent = bytearray(file)
    for sign, flags, at in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
        place = silent.find(name) if at == 30 else silent.rfind(name)
        assert silent[place - at : place - at + 4] == sign
        silent[place - at + flags + 1] &= ~0x08
    end = file.rfind(b"PK\5\6")
    counts, size, start = (
        struct.unpack_from("<H", file, end + 10),
        *struct.unpack_from("<2L", file, end + 12),
    )
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *counts, *counts, size, start)
    large = file[:end] + record + struct.pack("<4sLQL", b"PK\6\7", 0, end, 1) + file[end:]
    for content in (file, bytes(silent), large, picture() + file, b"\xff\xd8\xff\xe0\0\2" + file):
        card = read_card(content)
        assert card.archive is not None and card.archive.asset(uri) == b"waves"
        assert card.form == "character card V3 in CHARX"


def test_a_module_of_risu_in_an_archive_is_told() -> None:
    card = read_card(charx(v3(), **{"module.risum": b"o\0"}))
    assert "its `module.risum` is not read" in card.warnings


CHILD = """
import resource, sys
from pathlib import Path
from cards.characters.export import write_card
from cards.files import writing
from cards.load import load_character, reading
path, out, carrier, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
load_character(path)
with reading(path) as card, writing(out, force=True) as file:
    told = write_card(card, file, carrier, version)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, len(told))
"""


def large_charx(path: Path, count: int) -> None:
    """A real card's size: pictures of 4 MB, which do not deflate."""
    uris = [f"embeded://assets/other/images/{n}.png" for n in range(count)]
    assets = [{"type": "x-view", "uri": uri, "name": uri[-5:], "ext": "png"} for uri in uris]
    with zipfile.ZipFile(path, "w") as file:
        for uri in uris:
            file.writestr(uri[10:], picture(behind=os.urandom(4 << 20)))
        file.writestr("card.json", as_json(v3(assets=assets)), zipfile.ZIP_DEFLATED)


def test_a_card_of_160_megabytes_takes_no_memory(tmp_path: Path) -> None:
    small, large = tmp_path / "small.charx", tmp_path / "large.charx"
    large_charx(small, 1)
    large_charx(large, 40)
    assert large.stat().st_size > 160 << 20

    def peak(path: Path, carrier: str, version: str) -> tuple[int, int]:
        out = tmp_path / f"out.{carrier}"
        command = [sys.executable, "-c", CHILD, str(path), str(out), carrier, version]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        if carrier != "json":
            with out.open("rb") as file:
                written = read_any(file)
                assert isinstance(written, Card) and written.name == "하늘"
        return int(said[0]), int(said[1])

    for carrier, version in (("charx", "v2"), ("png", "v3"), ("json", "v3")):
        before, _ = peak(small, carrier, version)
        after, told = peak(large, carrier, version)
        assert after - before < 60, "one picture at a time"
        assert bool(told) == (carrier == "json")


# Backyard


def byaf(character: dict[str, Any], *scenarios: dict[str, Any], **files: bytes) -> bytes:
    buffer = io.BytesIO()
    paths = [f"scenarios/{n}.json" for n, _ in enumerate(scenarios)]
    manifest = {
        **{"schemaVersion": 1, "characters": ["characters/k/character.json"]},
        **{"scenarios": paths, "author": {"name": "누구", "backyardURL": "https://example.org/u"}},
    }
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", json.dumps(manifest))
        file.writestr("characters/k/character.json", json.dumps(character))
        for path, scenario in zip(paths, scenarios, strict=True):
            file.writestr(path, json.dumps(scenario))
        for name, content in files.items():
            file.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


KEEPER = {
    **{"schemaVersion": 1, "id": "k", "name": "Kai", "displayName": "Kai the Keeper"},
    **{"persona": "{character} tends the lamp for {user}.", "isNSFW": False},
    "loreItems": [{"key": "lamp, light", "value": "It never goes out."}],
    "images": [{"path": "images/a.png", "label": "portrait"}],
}
HARBOUR = {
    **{"schemaVersion": 1, "narrative": "A harbour in fog.", "temperature": 1.2},
    "formattingInstructions": "Write as {character}.",
    "firstMessages": [{"characterID": "k", "text": "*{character} waves.* Ahoy, {user}!"}],
    "exampleMessages": [
        {"characterID": "k", "text": "#{user}: Is it far?\n#{character}: A mile."},
        {"characterID": "k", "text": "#{character}: Mind the step."},
    ],
    "messages": [{"type": "human", "text": "hi"}],
}
INN = {"narrative": "An inn.", "firstMessages": [{"characterID": "k", "text": "Sit down."}]}


def test_a_backyard_archive_is_a_card() -> None:
    portrait = picture()
    files = {"characters__k__images__a.png": portrait}
    card = read_any(byaf(KEEPER, HARBOUR, INN, **files))
    assert isinstance(card, Card)
    assert (card.name, card.called) == ("Kai the Keeper", "Kai")
    assert card.description == "{{char}} tends the lamp for {{user}}."
    assert (card.scenario, card.system_prompt) == ("A harbour in fog.", "Write as {{char}}.")
    assert card.first_mes == "*{{char}} waves.* Ahoy, {{user}}!"
    assert card.alternate_greetings == ("Sit down.",)
    assert card.mes_example == (
        "<START>\n{{user}}: Is it far?\n{{char}}: A mile.\n<START>\n{{char}}: Mind the step."
    )
    [entry] = book_of(card).entries
    assert entry.keys == ("lamp", "light") and entry.content == "It never goes out."
    assert card.creator == "누구" and card.form == "character of Backyard AI in BYAF"
    assert "a chat of 1 messages is left out" in card.warnings
    assert any("first of its 2 scenarios" in told for told in card.warnings)
    assert base64.b64encode(portrait) in to_json(card)
    rest = card.extensions["iyagi"]["Backyard AI"]
    assert rest["scenarios"][0]["temperature"] == 1.2 and rest["scenarios"][1]["narrative"]


def test_an_archive_that_lacks_what_its_manifest_names() -> None:
    whole = byaf({"name": "Kai"}, HARBOUR)
    assert read_card(whole).name == "Kai"
    with zipfile.ZipFile(io.BytesIO(whole)) as source:
        kept = {name: source.read(name) for name in source.namelist()}
    for gone, words in (("characters/k/character.json", "names no character"), ("", "missing")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in kept.items():
                if name != (gone or "scenarios/0.json"):
                    file.writestr(name, content)
        if gone:
            with pytest.raises(BadRequest, match=words):
                read_any(buffer.getvalue())
        else:
            assert any(words in told for told in read_card(buffer.getvalue()).warnings)
