"""Damaged and invented files: a card, or a refusal in one line, and nothing else."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cards.characters.card import to_persona
from cards.characters.export import CARRIERS, write_card
from cards.lore.of_card import lore_of
from schemas.errors import BadRequest
from tests.cards.cards_support import (
    as_json,
    charx,
    chunk,
    parse_card,
    picture,
    read_card,
    text_chunk,
    to_json,
    to_png,
    unhurried,
    v2,
    v3,
)
from tests.cards.test_cards_card_carriers import HARBOUR, INN, KEEPER, byaf

RISU = v2(extensions={"risuai": {"emotions": [["a", "__asset:1"]]}})

WORDS = base64.b64encode(as_json(v2()))
FILES = {
    "zTXt": picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(WORDS))),
    "iTXt": picture(chunk(b"iTXt", b"ccv3\0\1\0\0\0" + zlib.compress(WORDS))),
    "assets": picture(text_chunk("chara-ext-asset_:1", b"abc"), text_chunk("chara", as_json(RISU))),
    "byaf": byaf(KEEPER, HARBOUR, INN),
    "png": picture(text_chunk("chara", as_json(v2())), text_chunk("ccv3", as_json(v3()))),
    "charx": charx(v3(), assets__a=b"x" * 50),
    "json": as_json(v2()),
}


def is_read_or_refused(use: Callable[[], object]) -> None:
    try:
        use()
    except BadRequest as error:
        assert error.message and "\n" not in error.message


@pytest.mark.parametrize("kind", sorted(FILES))
@unhurried
@given(data=st.data())
def test_damage(kind: str, data: st.DataObject) -> None:
    file = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(file)) | st.just(len(file)))

    def use() -> None:
        card = read_card(bytes(file[:cut]))
        to_persona(card)
        read_card(to_png(card, "v3"))
        for carrier in CARRIERS:
            out = io.BytesIO()
            write_card(card, out, carrier)
            assert read_card(out.getvalue()).name == card.name

    is_read_or_refused(use)


@unhurried
@given(st.binary(max_size=80), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"{"]))
def test_noise(noise: bytes, start: bytes) -> None:
    is_read_or_refused(lambda: read_card(start + noise))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
KEYS = st.sampled_from([*v3()["data"], "assets", "character_book", "source", "creation_date"])


@unhurried
@given(st.dictionaries(KEYS, JSON), st.sampled_from([v2, v3]))
def test_any_fields(fields: dict[str, Any], make: Callable[..., dict[str, Any]]) -> None:
    source = json.dumps(make(**{"nickname": "x", **fields})).encode()

    def use() -> None:
        card = parse_card(source)
        assert to_json(card) == source
        for version in ("v2", "v3"):
            again = read_card(to_png(card, version))
            assert again.data.keys() >= card.data.keys()
            assert all(again.data[name] == value for name, value in card.data.items())
        to_persona(card).model_dump_json()
        lore_of(card)

    is_read_or_refused(use)
