"""Cards inside PNG pictures: `tEXt` chunks of base64 JSON (PNG specification, 11.3.4.3).

A chunk is `length (4) type (4) data (length) crc32 of type and data (4)`, numbers big-endian.
Pixels are never decoded. APNG is PNG with more chunks, so it needs nothing of its own.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schemas.errors import BadRequest

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CARD_KEYWORDS = ("ccv3", "chara")
"""The newer one wins where a picture holds both."""

ASSET_PREFIX = "chara-ext-asset_:"


class Chunk(NamedTuple):
    """A chunk, and the bytes of the file from `start` to `end` that it takes."""

    kind: bytes
    data: bytes
    start: int
    end: int


def chunks(picture: bytes) -> Iterator[Chunk]:
    """All chunks up to `IEND`.

    Raises:
        BadRequest: not a PNG, cut short, or damaged (a checksum is wrong); says where.
    """
    if not picture.startswith(SIGNATURE):
        raise BadRequest("is not a PNG picture")
    at = len(SIGNATURE)
    while True:
        if at + 12 > len(picture):
            raise BadRequest("is a PNG that ends early; download it again")
        length, kind = struct.unpack_from(">I4s", picture, at)
        end = at + 12 + length
        if end > len(picture):
            raise BadRequest("is a PNG that ends early; download it again")
        data = picture[at + 8 : end - 4]
        if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(picture[end - 4 : end], "big"):
            raise BadRequest(f"is a damaged PNG (wrong CRC at byte {at:,}); download it again")
        yield Chunk(kind, data, at, end)
        if kind == b"IEND":
            return
        at = end


def texts(picture: bytes) -> dict[str, bytes]:
    """What is embedded under each keyword of cards and assets, decoded; the first of a keyword.

    Keywords are compared in lower case, those of assets as they are.

    Raises:
        BadRequest: the picture is damaged, or what it embeds is not base64.
    """
    found: dict[str, bytes] = {}
    for chunk in chunks(picture):
        keyword = _keyword(chunk)
        if keyword and keyword not in found:
            _, _, text = chunk.data.partition(b"\0")
            try:
                found[keyword] = base64.b64decode(b"".join(text.split()), validate=True)
            except binascii.Error:
                raise BadRequest(
                    f"embeds `{keyword}` data that is not base64; export the card again"
                ) from None
    return found


def embed(picture: bytes, cards: Mapping[str, bytes]) -> bytes:
    """The picture with these cards (keyword to JSON) in place of the ones it holds.

    Everything else, assets and what stands behind `IEND` included, stays byte for byte.
    """
    parts, end = [SIGNATURE], len(picture)
    for chunk in chunks(picture):
        if chunk.kind == b"IEND":
            for keyword, card in cards.items():
                parts.append(_packed(b"tEXt", keyword.encode() + b"\0" + base64.b64encode(card)))
        if _keyword(chunk) not in CARD_KEYWORDS:
            parts.append(picture[chunk.start : chunk.end])
        end = chunk.end
    return b"".join([*parts, picture[end:]])


def blank(width: int = 400, height: int = 600, grey: int = 0x55) -> bytes:
    """A plain grey picture, for a card that has none."""
    rows = (b"\0" + bytes([grey]) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_packed(kind, data) for kind, data in parts)


def _keyword(chunk: Chunk) -> str:
    """The keyword of a chunk that holds a card or an asset, else an empty text."""
    if chunk.kind != b"tEXt":
        return ""
    keyword = chunk.data.partition(b"\0")[0].decode("latin-1")
    if keyword.lower() in CARD_KEYWORDS:
        return keyword.lower()
    return keyword if keyword.startswith(ASSET_PREFIX) else ""


def _packed(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
