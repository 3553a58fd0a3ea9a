"""Cards are read from every carrier and version, and written back without loss."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from cards.characters.card import DEFAULT_ASSET, Version, to_persona
from cards.characters.charx import MAX_ENTRIES
from cards.characters.export import as_version
from cards.characters.png import SIGNATURE, Picture
from schemas.errors import BadRequest
from tests.cards.cards_support import (
    as_json,
    charx,
    chunk,
    embedded,
    parse_card,
    picture,
    read_card,
    text_chunk,
    to_json,
    to_png,
    v2,
    v3,
)

V1 = {
    **{"name": "Mira", "description": "d", "personality": "p", "scenario": "s"},
    **{"first_mes": "hi", "mes_example": "", "avatar": "none"},
}


def test_each_version_is_recognised() -> None:
    assert [parse_card(as_json(card)).version for card in (V1, v2(), v3())] == ["v1", "v2", "v3"]


def test_ccv3_wins_over_chara_whatever_comes_first() -> None:
    two, three = as_json(v2(name="old")), as_json(v3(name="new"))
    for chunks in (("chara", two, "CCV3", three), ("ccv3", three, "chara", two)):
        file = picture(text_chunk(chunks[0], chunks[1]), text_chunk(chunks[2], chunks[3]))
        assert read_card(file).name == "new"


def test_unchanged_cards_come_out_byte_for_byte() -> None:
    source = as_json(v3())
    file = picture(text_chunk("ccv3", source), chunk(b"tIME", b"1234567"), behind=b"tail")
    card = read_card(file)
    assert to_png(card) == file
    assert to_json(card) == source
    assert embedded(to_png(parse_card(source)))["ccv3"] == source


def test_a_new_version_in_a_picture_leaves_all_other_bytes() -> None:
    asset = text_chunk("chara-ext-asset_:1", b"sound")
    file = picture(
        chunk(b"tIME", b"1234567"), asset, text_chunk("chara", as_json(v2())), behind=b"x"
    )
    out = to_png(read_card(file), "v3")
    kinds = [c.kind for c in Picture(io.BytesIO(out)).chunks]
    assert kinds == [b"IHDR", b"IDAT", b"tIME", b"tEXt", b"tEXt", b"tEXt", b"IEND"]
    assert asset in out and out.endswith(b"x")
    assert embedded(out)["chara"] == as_json(v2()), "the older copy is the card as it was"


@pytest.mark.parametrize("card", [v2(), v3(), v2(tags="a, b", extensions={"k": {"deep": [[]]}})])
def test_there_and_back_loses_nothing(card: dict[str, Any]) -> None:
    once = parse_card(as_json(card))
    other: Version = "v3" if once.version == "v2" else "v2"
    for write in (to_json, to_png):
        back = read_card(write(read_card(write(once, other)), once.version))
        assert back.version == once.version
        kept = {**back.document, "data": {**back.document["data"]}}
        if once.version == "v2":
            assert kept["data"].pop("group_only_greetings") == []
        assert kept == once.document


def test_v1_grows_and_keeps_its_own_keys() -> None:
    card = parse_card(as_json(V1))
    document = as_version(card, "v2")
    assert document["avatar"] == "none"
    assert document["data"]["first_mes"] == "hi" and document["data"]["extensions"] == {}
    with pytest.raises(BadRequest, match="lose fields"):
        to_json(parse_card(as_json(v2())), "v1")


def test_v3_entries_get_the_field_that_v3_requires() -> None:
    book = {"entries": [{"keys": ["/a/"], "content": ""}, {"keys": ["a"], "content": ""}]}
    data = as_version(parse_card(as_json(v2(character_book=book))), "v3")["data"]
    assert [entry["use_regex"] for entry in data["character_book"]["entries"]] == [True, False]


def test_rules_of_the_fields() -> None:
    card = parse_card(as_json(v3(tags="a, b")))
    assert card.called == "하늘이" and card.tags == ("a", "b")
    assert card.assets == (DEFAULT_ASSET,)
    persona = to_persona(card)
    assert (persona.name, persona.aliases) == ("하늘이", ["하늘"])
    prompt = persona.model_dump(exclude={"extensions"})
    assert "사람만 읽는 말" not in json.dumps(prompt, ensure_ascii=False)
    assert persona.extensions["우리"] == {"x": [1.5, None]}
    assert persona.extensions["iyagi"]["alternate_greetings"] == ["왔구나."]


def test_newer_and_odd_cards_are_read_with_warnings() -> None:
    newer = parse_card(as_json({**v3(), "spec_version": "4.1"}))
    assert newer.version == "v3" and any("newer" in w for w in newer.warnings)
    odd = parse_card(as_json(v2(description=["no"], extensions=3, character_version=2)))
    assert odd.description == "" and odd.extensions == {} and odd.character_version == "2"
    assert {"`description` should be a text", "`extensions` should be an object"} <= {*odd.warnings}


def test_half_of_an_emoji_survives_export_and_is_whole_in_the_persona() -> None:
    source = json.dumps(v2(description="끝 \ud83d", extensions={"\udc00": "\ud83d"})).encode()
    card = parse_card(source)
    assert b"\\ud83d" in to_json(card, "v3")
    persona = to_persona(card)
    assert persona.description == "끝 �" and persona.extensions["�"] == "�"


def test_charx_assets_move_into_the_card() -> None:
    icon = picture()
    uri = "embeded://assets/icon/images/main.png"
    assets = [{"type": "icon", "uri": uri, "name": "main", "ext": "png"}]
    card = read_card(charx(v3(assets=assets), assets__icon__images__main=b"", **{uri[10:]: icon}))
    assert card.archive is not None and card.archive.asset(uri) == icon
    assert card.archive.asset(uri.upper()) is None and card.archive.asset("embeded://../x") is None
    inlined = json.loads(to_json(card))["data"]["assets"][0]
    assert inlined["uri"].startswith("data:image/png;base64,") and inlined["name"] == "main"
    carrier = to_png(card)
    assert carrier.startswith(icon.removesuffix(chunk(b"IEND", b""))), "its icon carries it"


def test_a_jpeg_may_carry_a_charx() -> None:
    assert read_card(b"\xff\xd8\xff\xe0 pixels" + charx(v3())).name == "하늘"


BROKEN_PNG = [
    (picture(text_chunk("chara", as_json(v2())))[:-20], "ends early"),
    (picture(text_chunk("chara", as_json(v2()))).replace(b"chara", b"charb"), "wrong CRC"),
    (SIGNATURE, "ends early"),
    (picture(), "without a card"),
    (picture(chunk(b"tEXt", b"chara\0not base64!")), "not base64"),
    (picture(chunk(b"zTXt", b"chara\0\0x")), "cannot be unpacked"),
    (picture(text_chunk("chara", b"[1]")), "JSON object"),
    (SIGNATURE + b"\xff\xff\xff\xffIHDR", "ends early"),
]


@pytest.mark.parametrize(("file", "words"), BROKEN_PNG)
def test_a_broken_picture_is_refused_in_a_line(file: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as error:
        read_card(file)
    assert "\n" not in error.value.message


BROKEN_JSON = [
    (json.dumps(v2(), ensure_ascii=False).encode("cp949"), "UTF-8"),
    (json.dumps(v2()).encode("utf-16"), "UTF-8"),
    (b'{"name": "x", "description": ' + b"[" * 100_000, "nested|not JSON"),
    (b'{"name": "x", "description": ' + b"[" * 200 + b"]" * 200 + b"}", "nested"),
    (b'{"name": NaN, "description": ""}', "NaN"),
    (b'{"name": "x", "description": "", "n": 1e999}', "finite"),
    (b'{"name": "x", "description": "", "n": ' + b"9" * 5000 + b"}", "too long"),
    (b'{"name": "x"', "line 1"),
    (b"", "not JSON"),
    (b'{"a": 1}', "no character card"),
    (b'{"spec": "chara_card_v2"}', "`data`"),
]


@pytest.mark.parametrize(("file", "words"), BROKEN_JSON)
def test_broken_json_is_refused_in_a_line(file: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_card(file)


def _zip(*names: str, flag: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, as_json(v3()))
    data = bytearray(buffer.getvalue())
    for at in range(len(data)) if flag else ():
        if data[at : at + 4] == b"PK\x01\x02":
            data[at + 8] |= flag
    return bytes(data)


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("card.json", b" " * (20 << 20))
    return buffer.getvalue()


def _lying_bomb() -> bytes:
    """States a small size for what unpacks to 20 MB."""
    data = bytearray(_bomb())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (_zip("other.json"), "without `card.json`"),
        (_zip("card.json", "../../etc/x"), "leaves the archive"),
        (_zip("card.json", "/abs"), "leaves the archive"),
        (_zip("card.json", "..\\x"), "leaves the archive"),
        (_zip("card.json", "C:/x"), "leaves the archive"),
        (_zip("card.json", flag=1), "encrypted"),
        (_zip("card.json")[:-8], "damaged"),
        (_zip("card.json").replace(b"PK\x01\x02", b"PK\x09\x09"), "damaged"),
        (_zip("card.json", *(str(n) for n in range(MAX_ENTRIES))), "files inside"),
        (_bomb(), "MB"),
        (_lying_bomb(), "damaged|MB|JSON"),
    ],
)
def test_a_dangerous_archive_is_refused_in_a_line(file: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_card(file)


@pytest.mark.parametrize(
    ("card", "words"), [(v2(name=" "), "name"), (v2(description="x" * 100_001), "description")]
)
def test_a_card_that_no_request_can_hold(card: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        to_persona(parse_card(as_json(card)))
