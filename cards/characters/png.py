"""Cards inside PNG pictures: text chunks of base64 JSON (PNG specification, 11.3.4).

A chunk is `length (4) type (4) data (length) crc32 of type and data (4)`, numbers big-endian.
Cards stand in `tEXt`; programs also write `zTXt` (deflated) and `iTXt` (UTF-8, either). Pixels are
never decoded, and only text is read into memory. APNG is PNG with more chunks.
"""

from __future__ import annotations

import base64
import binascii
import io
import string
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from cards.files import MAX_JSON, MEGABYTE, copy_part
from schemas.errors import BadRequest

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CARD_KEYWORDS = ("ccv3", "chara")
"""The newer one wins where a picture holds both."""

ASSET_PREFIX = "chara-ext-asset_"
"""Of the keyword of a file that the card calls `__asset:NAME`; a colon may stand between."""

MAX_CHUNKS = 100_000
"""A picture of 512 MB has 65,000 chunks where its writer cuts them at 8 KB."""

MAX_ASSET = 32 * MEGABYTE
"""Bytes of one picture, sound or film of a card that are held in memory."""

MAX_COPIES = 8
"""Cards of one keyword that are looked at; a picture has one, after many edits a few."""

_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_TEXT = MAX_ASSET * 4 // 3 + MEGABYTE
"""Bytes of base64, inflated."""

_MAX_KEYWORD = 80
_BASE64 = (string.ascii_letters + string.digits + "+/").encode()


class Chunk(NamedTuple):
    """A chunk, by the bytes of the file from `start` to `end` that it takes."""

    kind: bytes
    start: int
    end: int
    keyword: str
    """Of a card (in lower case) or an asset; else empty."""

    intact: bool
    """Whether its checksum is right."""


class Picture:
    """A PNG in an open file; only its chunks are looked for, once.

    Raises:
        BadRequest: it is no PNG, has too many chunks, or its pixels are damaged.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Reads it all in small pieces, for the checksums."""
        self._stream = stream
        stream.seek(0)
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            raise BadRequest("is not a PNG picture")
        self.chunks: list[Chunk] = []
        for chunk in _chunks(stream):
            self.chunks.append(chunk)
            if len(self.chunks) > MAX_CHUNKS:
                raise BadRequest(f"is a PNG of more than {MAX_CHUNKS:,} parts; save it anew")
            critical = chunk.kind[:1].isupper()  # no decoder may go on without it
            if critical and (fault := None if chunk.intact else self.fault()):
                raise fault

    @property
    def whole(self) -> bool:
        """Whether its end is there."""
        return bool(self.chunks) and self.chunks[-1].kind == b"IEND"

    def fault(self) -> BadRequest | None:
        """What is wrong with the picture, if anything is."""
        broken = next((chunk.start for chunk in self.chunks if not chunk.intact), None)
        if broken is not None:
            return BadRequest(f"is a damaged PNG (wrong CRC at byte {broken:,}); download it again")
        return None if self.whole else _cut()

    def cards(self) -> list[Chunk]:
        """Where it holds cards, the newest last: programs write a card behind all others."""
        found = [chunk for chunk in self.chunks if chunk.keyword in CARD_KEYWORDS]
        return [
            chunk
            for word in reversed(CARD_KEYWORDS)
            for chunk in [it for it in found if it.keyword == word][-MAX_COPIES:]
        ]

    def assets(self) -> dict[str, Chunk]:
        """The chunks of its assets, by what the card calls them after `__asset:`."""
        named = [chunk for chunk in self.chunks if chunk.keyword.startswith(ASSET_PREFIX)]
        return {chunk.keyword.removeprefix(ASSET_PREFIX).lstrip(":"): chunk for chunk in named}

    def content(self, chunk: Chunk, limit: int = MAX_JSON) -> bytes:
        """What a text chunk embeds, decoded.

        Raises:
            BadRequest: it is not base64, or more than `limit` bytes.
        """
        text = _text(chunk.kind, self._data(chunk))
        if text is None:
            raise BadRequest(
                f"embeds `{chunk.keyword}` data that cannot be unpacked; export the card again"
            )
        if text.lstrip()[:1] == b"{":  # some programs write the JSON as it is
            return _utf8(text.strip(b" \r\n\t\0"))
        content = decoded(text)
        if content is None:
            raise BadRequest(
                f"embeds `{chunk.keyword}` data that is not base64; export the card again"
            )
        if len(content) > limit:
            raise _too_large(limit)
        return content

    def exif(self) -> bytes:
        """The TIFF block of its `eXIf` chunk; empty if it has none."""
        found = next((chunk for chunk in self.chunks if chunk.kind == b"eXIf"), None)
        return self._data(found) if found else b""

    def copy(
        self,
        out: BinaryIO,
        cards: Mapping[str, bytes] | None = None,
        *,
        assets: bool = True,
        more: Iterator[tuple[str, bytes]] | None = None,
    ) -> None:
        """Writes the picture with these cards (keyword to JSON) in place of all that it holds.

        Everything else, what stands behind `IEND` included, stays byte for byte.

        Args:
            out: where to.
            cards: to be embedded.
            assets: whether its own assets stay.
            more: assets to be embedded, by name.

        Raises:
            BadRequest: its end is missing.
        """
        if not self.whole:
            raise _cut()
        out.write(SIGNATURE)
        for chunk in self.chunks:
            if chunk.kind == b"IEND":
                for name, content in more or ():
                    _embed(out, f"{ASSET_PREFIX}:{name}", content)
                for keyword, card in (cards or {}).items():
                    _embed(out, keyword, card)
            if chunk.keyword not in CARD_KEYWORDS and (assets or not chunk.keyword):
                copy_part(self._stream, out, chunk.start, chunk.end)
        copy_part(self._stream, out, self.chunks[-1].end)

    def copy_file(self, out: BinaryIO) -> None:
        """Writes the file as it is."""
        copy_part(self._stream, out, 0)

    def _data(self, chunk: Chunk) -> bytes:
        if chunk.end - chunk.start - 12 > _MAX_TEXT:
            raise _too_large(MAX_ASSET)
        self._stream.seek(chunk.start + 8)
        return self._stream.read(chunk.end - chunk.start - 12)


def decoded(text: bytes) -> bytes | None:
    """Base64 with or without padding, of either alphabet, whatever blanks or NULs stand in it;
    None if it is something else."""
    plain = text.translate(bytes.maketrans(b"-_", b"+/"), b" \r\n\t\0").rstrip(b"=")
    if not plain or plain.translate(None, _BASE64):
        return None
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4))
    except binascii.Error:
        return None


def embed(picture: bytes, cards: Mapping[str, bytes]) -> bytes:
    """The picture with these cards in place of the ones it holds."""
    out = io.BytesIO()
    Picture(io.BytesIO(picture)).copy(out, cards)
    return out.getvalue()


def blank(width: int = 400, height: int = 600, grey: int = 0x55) -> bytes:
    """A plain grey picture, for a card that has none."""
    rows = (b"\0" + bytes([grey]) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_packed(kind, data) for kind, data in parts)


def _chunks(stream: BinaryIO) -> Iterator[Chunk]:
    """All chunks up to `IEND`, or to where the file ends."""
    at = len(SIGNATURE)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        check, left, beginning = zlib.crc32(kind), length, b""
        while left and (part := stream.read(min(left, MEGABYTE))):
            beginning = beginning or part[:_MAX_KEYWORD]
            check = zlib.crc32(part, check)
            left -= len(part)
        tail = stream.read(4)
        if left or len(tail) < 4:
            return
        intact = check == int.from_bytes(tail, "big")
        yield Chunk(kind, at, at + 12 + length, _keyword(kind, beginning), intact)
        at += 12 + length
        if kind == b"IEND":
            return


def _keyword(kind: bytes, beginning: bytes) -> str:
    """The keyword of a chunk that holds a card or an asset, else an empty text."""
    if kind not in _TEXT_KINDS:
        return ""
    keyword = beginning.partition(b"\0")[0].decode("latin-1").strip()
    if keyword.lower() in CARD_KEYWORDS:
        return keyword.lower()
    return keyword if keyword.startswith(ASSET_PREFIX) else ""


def _text(kind: bytes, data: bytes) -> bytes | None:
    """The text of a chunk; None if it cannot be inflated or is too long."""
    _, _, rest = data.partition(b"\0")
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":  # method, text
        return _inflated(rest[1:])
    deflated, _, rest = rest[:1] != b"\0", rest[1:2], rest[2:]  # flag, method, then the text
    text = rest.split(b"\0", 2)[-1]  # behind a language and a translated keyword
    return _inflated(text) if deflated else text


def _inflated(data: bytes) -> bytes | None:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, _MAX_TEXT)
    except zlib.error:
        return None
    return text if stream.eof else None


def _utf8(text: bytes) -> bytes:
    """JSON in UTF-8; `tEXt` is Latin-1 by the specification, and some programs keep to it."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def _embed(out: BinaryIO, keyword: str, content: bytes) -> None:
    out.write(_packed(b"tEXt", keyword.encode("latin-1") + b"\0" + base64.b64encode(content)))


def _packed(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def _cut() -> BadRequest:
    return BadRequest("is a PNG that ends early; download it again")


def _too_large(limit: int) -> BadRequest:
    return BadRequest(f"holds a file of more than {limit // MEGABYTE} MB; shrink it")
