"""What is written can be read again, with every field and every file; what cannot go is told."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.characters.card import DEFAULT_ASSET, OWN, Card, Version
from cards.characters.export import CARRIERS, Carrier, write_card
from cards.characters.png import Picture
from cards.files import MAX_DEPTH, MAX_JSON, writing
from cards.read import read_any
from schemas.errors import BadRequest
from tests.cards.cards_support import (
    as_json,
    charx,
    embedded,
    picture,
    read_card,
    text_chunk,
    unhurried,
    v2,
    v3,
)
from tests.cards.test_cards_card_carriers import HARBOUR, KEEPER, byaf
from tests.cards.test_cards_card_forms import SAMPLES

ICON, SOUND = picture(behind=b"icon"), b"RIFF" + bytes(range(256))
TEXTS = (
    *("name", "description", "personality", "scenario", "first_mes", "mes_example", "nickname"),
    *("creator_notes", "system_prompt", "post_history_instructions", "creator"),
    *("character_version", "alternate_greetings", "group_only_greetings", "tags"),
)


def written(
    card: Card, carrier: Carrier, version: Version | None = None, on: bytes | None = None
) -> tuple[bytes, list[str]]:
    out = io.BytesIO()
    told = write_card(card, out, carrier, version, on)
    return out.getvalue(), told


def again(card: Card, carrier: Carrier, version: Version | None = None) -> Card:
    return read_card(written(card, carrier, version)[0])


def files(card: Card) -> list[tuple[Any, ...]]:
    """The card's assets with their contents in place of their addresses."""
    rows = []
    for asset in card.assets:
        if asset.get("uri") == DEFAULT_ASSET["uri"] or "icon" in str(asset.get("type")):
            continue
        rows.append((asset.get("type"), asset.get("name"), asset.get("ext"), content(card, asset)))
    return rows


def content(card: Card, asset: dict[str, Any] | str) -> bytes | str:
    uri = asset if isinstance(asset, str) else str(asset["uri"])
    if uri.startswith("data:"):
        return base64.b64decode(uri.partition(",")[2])
    if card.archive is not None and (found := card.archive.asset(uri)) is not None:
        return found
    if card.picture is not None and uri.startswith("__asset:"):
        return card.picture.content(card.picture.assets()[uri.removeprefix("__asset:")])
    return uri


CHARX = charx(
    v3(
        assets=[
            {"type": "icon", "uri": "embeded://assets/i.png", "name": "main", "ext": "png"},
            {"type": "x-bell", "uri": "embeded://assets/벨.wav", "name": "bell", "ext": "wav"},
            {"type": "x-far", "uri": "https://example.org/a.png", "name": "far", "ext": "png"},
        ]
    ),
    **{"assets__i.png": ICON, "assets__벨.wav": SOUND, "notes.txt": b"left"},
)
RISU = picture(
    text_chunk("chara-ext-asset_:1", ICON),
    text_chunk("chara-ext-asset_2", SOUND),
    text_chunk("chara-ext-asset_:9", b"nobody names it"),
    text_chunk(
        "chara",
        as_json(
            v2(
                extensions={
                    "risuai": {
                        "emotions": [["happy", "__asset:1"], ["gone", "__asset:7"]],
                        "additionalAssets": [["bell", "__asset:2", "wav"]],
                    }
                }
            )
        ),
    ),
)
CARDS: dict[str, bytes] = {
    **{name: as_json(value) for name, (value, _) in SAMPLES.items()},
    "PNG": picture(text_chunk("chara", as_json(v2()))),
    "CHARX": CHARX,
    "Risu": RISU,
    "BYAF": byaf(
        KEEPER, HARBOUR, characters__k__images__a__png=b"", **{"characters__k__images__a.png": ICON}
    ),
}


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("version", [None, "v2", "v3"])
def test_what_is_written_is_read_again(
    name: str, carrier: Carrier, version: Version | None
) -> None:
    card = read_card(CARDS[name])
    back = again(card, carrier, version)
    for field in TEXTS:
        assert getattr(back, field) == getattr(card, field), field
    assert back.character_book == as_book(card, back) and files(back) == files(card)
    if not card.picture and not card.archive:
        assert back.extensions == card.extensions
    third = again(back, carrier, back.version)
    assert third.document == back.document and not [it for it in third.warnings if "cop" in it]
    assert not any("cop" in told for told in back.warnings)


def as_book(card: Card, back: Card) -> dict[str, Any] | None:
    """The book with the field that V3 requires of each entry."""
    if card.character_book is None or back.version == card.version:
        return card.character_book
    rows = [{**row} for row in card.character_book["entries"]]
    for row in rows:
        row.setdefault("use_regex", False)
    without = {**card.character_book, "entries": rows}
    return without if back.version == "v3" else card.character_book


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.sampled_from([*v3()["data"], "assets", "character_book", "source", "unheard of"]), JSON
)


@unhurried
@given(
    FIELDS,
    st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=3),
    st.sampled_from(["v1", "v2", "v3"]),
    st.sampled_from(CARRIERS),
    st.sampled_from([None, "v2", "v3"]),
)
def test_unknown_fields_stay_at_every_level(
    fields: dict[str, Any],
    beside: dict[str, Any],
    kind: str,
    carrier: Carrier,
    version: Version | None,
) -> None:
    data = {**(v3 if kind == "v3" else v2)()["data"], **fields, "name": "하늘"}
    whole = {"v1": data, "v2": {**v2(), "data": data}, "v3": {**v3(), "data": data}}[kind]
    beside = {key: value for key, value in beside.items() if key not in {*whole, "data", "spec"}}
    card = read_card(json.dumps({**whole, **beside}).encode())
    back = again(again(card, carrier, version), "json")
    for key, value in beside.items():
        assert back.document[key] == value
    places = {**back.document, **back.data}
    for key, value in fields.items():
        if key not in ("name", "character_book"):
            assert places[key] == value, key
    for field in TEXTS:
        assert getattr(back, field) == getattr(card, field), field


def test_what_programs_kept_stays_through_every_version() -> None:
    card = read_card(CARDS["Agnai"])
    for carrier, version in (("json", "v2"), ("png", "v3"), ("charx", "v3"), ("png", "v2")):
        card = read_card(written(card, carrier, version)[0])  # type: ignore[arg-type]
    assert card.extensions[OWN]["Agnai"]["visualType"] == "avatar"
    assert card.extensions["other"] == {"x": 1}


# Files of a card


def test_pictures_of_risu_leave_their_picture_with_the_card() -> None:
    card = read_card(RISU)
    source, told = written(card, "json")
    risu = json.loads(source)["data"]["extensions"]["risuai"]
    assert content(read_card(source), risu["emotions"][0][1]) == ICON
    assert content(read_card(source), risu["additionalAssets"][0][1]) == SOUND
    assert risu["emotions"][1][1] == "__asset:7", "what is not there stays as it was"
    assert any("no field of the card names" in line and "`9`" in line for line in told)
    other = picture(text_chunk("chara-ext-asset_:1", b"another's"), text_chunk("ccv3", b"e30="))
    moved, _ = written(card, "png", on=other)
    assert {*embedded(moved)} == {"chara-ext-asset_:1", "chara-ext-asset_:2", "chara"}
    assert embedded(moved)["chara-ext-asset_:1"] == ICON
    kept, _ = written(card, "png", "v3")
    assert embedded(kept)["chara-ext-asset_:9"] == b"nobody names it"
    packed = read_card(written(card, "charx")[0])
    risu = packed.extensions["risuai"]
    assert content(packed, risu["emotions"][0][1]) == ICON
    assert packed.assets[0]["type"] == "icon" and packed.archive is not None
    portrait = packed.archive.asset(packed.assets[0]["uri"])
    assert portrait is not None and not [it for it in embedded(portrait)]


def test_an_archive_is_copied_with_all_that_is_in_it() -> None:
    card = read_card(CHARX)
    assert written(card, "charx") == (CHARX, [])
    out, told = written(card, "charx", "v2")
    with zipfile.ZipFile(io.BytesIO(out)) as file:
        assert file.read("notes.txt") == b"left" and not told
    framed, told = written(card, "charx", on=picture(behind=b"frame"))
    icon = read_card(framed).assets[0]
    assert content(read_card(framed), icon) == picture(behind=b"frame") and not told
    source, told = written(card, "json")
    assert told == [
        "1 files that no field of the card names are left out (`notes.txt`); write a .charx instead"
    ]
    jpeg = read_card(b"\xff\xd8\xff\xe0\0\2" + CHARX)
    assert written(jpeg, "charx", "v2")[1] == ["the JPEG that carries the archive is left out"]
    assert base64.b64encode(SOUND) in source


def big(sizes: list[int]) -> bytes:
    """A CHARX with a picture of each of these sizes."""
    names = [f"assets/{n}.png" for n, _ in enumerate(sizes)]
    assets = [
        {"type": "x-view", "uri": f"embeded://{name}", "name": name, "ext": "png"} for name in names
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("card.json", as_json(v3(assets=assets)))
        for name, size in zip(names, sizes, strict=True):
            file.writestr(name, os.urandom(size))
    return buffer.getvalue()


def test_a_card_of_13_megabytes_is_written_so_that_it_can_be_read() -> None:
    card = read_card(big([1 << 20] * 13))
    source, told = written(card, "json")
    assert told == [
        "2 of 13 files of the card do not fit into a JSON file of 16 MB and are left out; "
        "write a .charx instead"
    ]
    back = read_any(source)
    assert isinstance(back, Card) and len(source) <= MAX_JSON
    inside = [asset for asset in back.assets if str(asset["uri"]).startswith("data:")]
    assert len(inside) == 11 and len(back.assets) == 13
    for carrier in CARRIERS[1:]:
        out, told = written(card, carrier, "v3")
        assert not told and files(read_card(out)) == files(card)


def test_a_file_that_no_memory_should_hold_is_told() -> None:
    card = read_card(big([33 << 20, 10]))
    out, told = written(card, "png")
    assert told == ["1 of 2 files of the card are damaged or larger than 32 MB and are left out"]
    assert len(Picture(io.BytesIO(out)).assets()) == 1
    assert written(card, "charx", "v2")[1] == []


def test_one_file_that_is_named_a_thousand_times_stays_within_bounds() -> None:
    rows = [[str(n), "__asset:1"] for n in range(5_000)]
    card = read_card(
        picture(
            text_chunk("chara-ext-asset_:1", bytes(10_000)),
            text_chunk("chara", as_json(v2(extensions={"risuai": {"emotions": rows}}))),
        )
    )
    source, told = written(card, "json")
    assert len(source) < MAX_JSON and any("do not fit" in line for line in told)


def test_a_card_at_the_bounds_of_json_is_written_within_them() -> None:
    numbers = v2(extensions={"n": nested([*range(170_000)], MAX_DEPTH - 10)})
    source = json.dumps(numbers, separators=(",", ":")).encode()
    assert len(json.dumps(numbers, indent=2)) > MAX_JSON > len(source)
    out, _ = written(read_card(source), "json", "v3")
    assert read_card(out).extensions == numbers["data"]["extensions"]

    def compact(words: str) -> bytes:
        card = v2(extensions={"x": words})
        return json.dumps(card, ensure_ascii=False, separators=(",", ":")).encode()

    full = compact("y" * (MAX_JSON - len(compact(""))))
    assert written(read_card(full), "json")[0] == full and len(full) == MAX_JSON
    with pytest.raises(BadRequest, match="16 MB of JSON"):
        written(read_card(full), "json", "v3")
    deepest = max(depth for depth in range(MAX_DEPTH + 5) if is_read(in_v1(depth)))
    with pytest.raises(BadRequest, match="levels deep"):
        written(read_card(in_v1(deepest)), "json", "v2")


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def in_v1(depth: int) -> bytes:
    return as_json({**SAMPLES["V1"][0], "extensions": {"x": nested(1, depth)}})


def is_read(source: bytes) -> bool:
    try:
        return bool(read_card(source))
    except BadRequest:
        return False


def test_a_picture_in_the_way_of_the_card_is_told() -> None:
    assert written(read_card(CARDS["PNG"]), "json")[1] == [
        "the picture is left out; write a .png or .charx to keep it"
    ]
    with pytest.raises(BadRequest, match="not a PNG"):
        written(read_card(CARDS["V2"]), "png", on=b"GIF89a")


def test_a_file_is_there_only_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "card.png"
    path.write_bytes(CARDS["PNG"])
    with path.open("rb") as file, writing(path, force=True) as out:  # onto itself
        card = read_any(file)
        assert isinstance(card, Card)
        write_card(card, out, "png", "v3")
    assert read_card(path.read_bytes()).version == "v3"
    with pytest.raises(BadRequest, match=r"card\.png: exists"), writing(path, force=False):
        pass
    with pytest.raises(BadRequest), writing(tmp_path / "new.json", force=False) as out:
        write_card(read_card(CARDS["V3"]), out, "json", "v1")
    assert [it.name for it in tmp_path.iterdir()] == ["card.png"]
    with (
        pytest.raises(BadRequest, match=r"x\.json: cannot be written"),
        writing(tmp_path / "no" / "x.json", force=True),
    ):
        pass
