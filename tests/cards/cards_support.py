"""Cards, books and files that the tests share; all of our own invention."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from typing import Any

from hypothesis import settings

from cards.characters import png
from cards.characters.card import Card, Version, card_of
from cards.characters.carriers import card_in, is_carrier
from cards.characters.export import write_card
from cards.characters.foreign import read_character
from cards.files import parse_object
from cards.lore.activation import activate
from cards.lore.scene import Activation, Scene
from cards.lore.world_info import parse_book
from schemas.request import Message, Role

unhurried = settings(deadline=None)
"""A busy machine fails no property."""


def as_json(value: object) -> bytes:
    """Written as no exporter of ours would, so that byte for byte means something."""
    return json.dumps(value, ensure_ascii=True, separators=(" ,", ":  ")).encode()


def v2(**data: Any) -> dict[str, Any]:
    fields = {
        **{"name": "하늘", "description": "{{char}}는 등대지기다.", "personality": "차분하다"},
        **{"scenario": "등대", "first_mes": "어서 와, {{user}}.", "mes_example": ""},
        **{"creator_notes": "사람만 읽는 말", "system_prompt": "", "tags": ["바다"]},
        **{"post_history_instructions": "", "alternate_greetings": ["왔구나."]},
        **{"creator": "나", "character_version": "1", "extensions": {"우리": {"x": [1.5, None]}}},
    }
    return {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {**fields, **data},
        "unknown": {"kept": True},
    }


def v3(**data: Any) -> dict[str, Any]:
    card = v2(**{"group_only_greetings": [], "nickname": "하늘이", **data})
    return {**card, "spec": "chara_card_v3", "spec_version": "3.0"}


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def text_chunk(keyword: str, content: bytes) -> bytes:
    return chunk(b"tEXt", keyword.encode() + b"\0" + base64.b64encode(content))


def picture(*extra: bytes, behind: bytes = b"") -> bytes:
    """A small PNG with these chunks before its end."""
    plain = png.blank(4, 4)
    end = chunk(b"IEND", b"")
    return plain.removesuffix(end) + b"".join(extra) + end + behind


def embedded(file: bytes) -> dict[str, bytes]:
    """What a PNG embeds under each keyword; the last of a keyword."""
    told = png.Picture(io.BytesIO(file))
    return {it.keyword: told.content(it) for it in told.chunks if it.keyword}


def charx(card: object, **files: bytes) -> bytes:
    """A zip with a card; `a__b` in a file's name is `a/b`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("card.json", as_json(card))
        for name, content in files.items():
            file.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def book(*entries: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """World Info; each entry gets its number as id and `entry N` as text."""
    rows = {
        str(n): {"uid": n, "key": [], "content": f"entry {n}", **entry}
        for n, entry in enumerate(entries)
    }
    return {"entries": rows, **settings}


def said(*lines: str) -> list[Message]:
    """Messages of user and character in turn, the last one by the user."""
    roles: tuple[Role, Role] = ("user", "character")
    return [
        Message(role=roles[(len(lines) - 1 - row) % 2], content=line)
        for row, line in enumerate(lines)
    ]


def run(document: dict[str, Any], *lines: str, budget: int = 1000, **scene: Any) -> Activation:
    """The activation of a book; a token is a word."""
    told = Scene(**{"messages": said(*lines), "char": "세라", "user": "민준", "chat": "c", **scene})
    return activate(parse_book(document), told, budget=budget, count=lambda t: len(t.split()))


def ids(outcome: Activation) -> list[str]:
    return [item.entry.id for item in outcome.active]


def why(outcome: Activation, identity: str) -> str:
    """Why an entry of the book is active or not."""
    for item in outcome.active:
        if item.entry.id == identity:
            return item.why
    row = next(row for row, entry in enumerate(outcome.book.entries) if entry.id == identity)
    return outcome.reasons.get(row, "no key found")


def read_card(content: bytes) -> Card:
    """The card in a picture, an archive or a JSON file."""
    stream = io.BytesIO(content)
    return card_in(stream) if is_carrier(stream) else read_character(content)


def parse_card(source: bytes) -> Card:
    """The card in a JSON document of version 1, 2 or 3."""
    return card_of(parse_object(source), source)


def to_json(card: Card, version: Version | None = None) -> bytes:
    """The card as a JSON file."""
    out = io.BytesIO()
    write_card(card, out, "json", version)
    return out.getvalue()


def to_png(card: Card, version: Version | None = None, picture: bytes | None = None) -> bytes:
    """The card in a PNG."""
    out = io.BytesIO()
    write_card(card, out, "png", version, picture)
    return out.getvalue()
