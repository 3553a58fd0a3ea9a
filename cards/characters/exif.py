"""Cards in the EXIF comment of a picture: WEBP as TavernAI wrote it, PNG and JPEG of Backyard.

What stands in `UserComment` (EXIF 2.32, 4.6.5) is JSON, base64 of it, or its bytes as a list of
numbers. Nothing else of a picture is read.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from cards.characters.png import decoded
from cards.files import MAX_JSON

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_DESCRIPTION = 0x010E
_TEXTS = (_USER_COMMENT, _DESCRIPTION)
_SIZES = {1: 1, 2: 1, 7: 1, 3: 2, 4: 4}
"""Bytes of a value of a TIFF type (TIFF 6.0, page 15): byte, text, undefined, short, long."""

_MAX_FIELDS = 500
_MAX_BLOCK = MAX_JSON
"""Bytes of an EXIF block: a list of numbers takes four bytes for each of the card's."""

_MAX_PARTS = 1_000
"""Chunks or segments that are passed over; a film of 30 s has 900 frames."""

_CODES = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8)


def in_webp(stream: BinaryIO) -> bytes | None:
    """The JSON in the `EXIF` chunk of a WEBP (RIFF: name, size, content, even lengths)."""
    stream.seek(12)
    for _ in range(_MAX_PARTS):
        if len(head := stream.read(8)) < 8:
            break
        name, size = struct.unpack("<4sL", head)
        if name == b"EXIF":
            return in_tiff(stream.read(min(size, _MAX_BLOCK)).removeprefix(b"Exif\0\0"))
        stream.seek(size + size % 2, 1)
    return None


def in_jpeg(stream: BinaryIO) -> bytes | None:
    """The JSON in the `Exif` segment of a JPEG, which stands before the pixels."""
    stream.seek(2)
    for _ in range(_MAX_PARTS):
        if len(head := stream.read(4)) < 4:
            break
        mark, kind, size = struct.unpack(">BBH", head)
        if mark != 0xFF or kind in (0xD9, 0xDA) or size < 2:
            break
        segment = stream.read(size - 2)
        if kind == 0xE1 and segment.startswith(b"Exif\0\0"):
            return in_tiff(segment[6:])
    return None


def in_tiff(block: bytes) -> bytes | None:
    """The JSON in the comment of a TIFF block; None if there is none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    fields = _fields(block, order, struct.unpack_from(f"{order}L", block, 4)[0])
    if len(inner := fields.get(_EXIF_IFD, b"")) >= 4:
        fields |= _fields(block, order, struct.unpack_from(f"{order}L", inner)[0])
    found = (_json(fields[tag], order) for tag in _TEXTS if tag in fields)
    return next((text for text in found if text), None)


def _fields(block: bytes, order: str, at: int) -> dict[int, bytes]:
    """The values of a directory that could be of use, by their tag."""
    if at + 2 > len(block):
        return {}
    fields = {}
    for row in range(min(struct.unpack_from(f"{order}H", block, at)[0], _MAX_FIELDS)):
        place = at + 2 + 12 * row
        if place + 12 > len(block):
            break
        tag, kind, count, value = struct.unpack_from(f"{order}HHLL", block, place)
        size = _SIZES.get(kind, 0) * count
        if tag in (*_TEXTS, _EXIF_IFD) and size:
            start = value if size > 4 else place + 8
            fields[tag] = block[start : start + size]
    return fields


def _json(value: bytes, order: str) -> bytes | None:
    code = next((code for code in _CODES if value.startswith(code)), b"")
    text = value[len(code) :]
    if code.startswith(b"UNICODE"):
        text = text.decode("utf-16-le" if order == "<" else "utf-16-be", "replace").encode()
    text = text.strip(b" \r\n\t\0")
    if text and not text.translate(None, b"0123456789, "):
        text = _numbered(text)
    if not text.startswith(b"{"):
        text = decoded(text) or b""
    return text if text.startswith(b"{") else None


def _numbered(text: bytes) -> bytes:
    """Bytes that stand as a list of numbers; none if it is another list."""
    try:
        return bytes(map(int, text.split(b",")))
    except ValueError:
        return b""
