"""What carries a character: a picture with text in it, or an archive."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from cards.characters import exif
from cards.characters.byaf import MANIFEST, read_backyard
from cards.characters.card import V1_FIELDS, Card
from cards.characters.charx import CARD, Archive, is_zip
from cards.characters.foreign import read_character
from cards.characters.png import SIGNATURE, Chunk, Picture
from cards.files import MAX_CARRIER, MAX_FILE, MAX_JSON, MEGABYTE, Fields, read_stream
from schemas.errors import BadRequest

HEAD = 24
"""Bytes by which a carrier is known."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_JPEG = b"\xff\xd8\xff"
_NAMED = {
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"\0\0\x01\0": "an ICO picture",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"SQLite format 3": "an SQLite database",
    b"ID3": "a sound file",
    b"OggS": "a sound file",
    b"fLaC": "a sound file",
    b"\x1aE\xdf\xa3": "a film",
    b"o\0": "a module of RisuAI (.risum)",
    b"RISUSAVE": "a backup of RisuAI",
}
"""Files that carry no card, by what they begin with."""

_BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture", b"heic": "a HEIC picture"}
_BRANDS |= dict.fromkeys((b"heix", b"mif1", b"msf1", b"hevc"), "a HEIC picture")
"""Of ISO media files (ISO/IEC 14496-12), which have `ftyp` and a brand behind their first size."""

_AS = "a card as PNG, CHARX or JSON, a chat as JSON or plain text"

_TEXTS = {
    b"{\\rtf": "an RTF document",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML document",
}
"""The same, in whichever case and behind a byte order mark."""

_INSIDE = {
    "word/document.xml": "a Word document",
    "xl/workbook.xml": "an Excel document",
    "ppt/presentation.xml": "a PowerPoint document",
    "META-INF/container.xml": "an EPUB book",
    "META-INF/MANIFEST.MF": "a Java archive",
    "AndroidManifest.xml": "an Android app",
    "content.xml": "an OpenDocument file",
}
"""Zips that are no archive of a character, by a file in them."""


def is_carrier(stream: BinaryIO) -> bool:
    """Whether a file is a picture, an archive or something else that is no text; what follows
    reads it from its beginning."""
    head = stream.read(HEAD)
    stream.seek(0)
    return head.startswith((SIGNATURE, _JPEG, *_ZIP)) or _is_webp(head) or bool(_named(head))


def card_in(stream: BinaryIO) -> Card:
    """The card in a picture or an archive, of which no more is read than it takes.

    Raises:
        BadRequest: it is damaged, or holds none.
    """
    head = stream.read(HEAD)
    if stream.seek(0, io.SEEK_END) > MAX_CARRIER:
        raise BadRequest(f"is larger than {MAX_CARRIER // MEGABYTE} MB; use a smaller file")
    if head.startswith(SIGNATURE):
        return _in_picture(stream)
    if head.startswith(_ZIP):
        return _in_archive(stream)
    if head.startswith(_JPEG):
        return _in_other(stream, exif.in_jpeg, "JPEG")
    if _is_webp(head):
        return _in_other(stream, exif.in_webp, "WEBP")
    raise BadRequest(f"is {_named(head)}, which carries no card here; export {_AS}")


def _is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def _named(head: bytes) -> str:
    """What a file that carries no card is called; empty for a text."""
    if head.startswith(b"BM") and head[6:10] != b"\0" * 4:  # reserved; else a text
        return ""
    if head.startswith(b"RIFF"):
        return "a sound or film"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a film or sound")
    start = head.removeprefix(BOM_UTF8).lstrip().lower()
    if found := next((name for sign, name in _TEXTS.items() if start.startswith(sign)), ""):
        return found
    return next((name for sign, name in _NAMED.items() if head.startswith(sign)), "")


def _in_picture(stream: BinaryIO) -> Card:
    """The newest good card of a PNG."""
    picture = Picture(stream)
    copies = picture.cards()
    if not copies:
        if block := exif.in_tiff(picture.exif()):
            card = read_character(block)
            return _carried(replace(card, picture=picture, stale=True), "PNG", picture)
        if is_zip(stream):
            return _in_archive(stream)
        if fault := picture.fault():
            raise fault
        raise BadRequest("is a picture without a card; export it from the app that made it")
    good: list[tuple[Chunk, Card]] = []
    wrong: list[tuple[Chunk, Card]] = []
    refused: list[tuple[Chunk, BadRequest]] = []
    room = MAX_JSON
    for chunk in reversed(copies):
        try:
            content = picture.content(chunk)
            if len(content) > room:  # what is older is no news, and could take long
                break
            room -= len(content)
            card = read_character(content)
        except BadRequest as error:
            refused.append((chunk, error))
        else:
            (good if chunk.intact else wrong).append((chunk, card))
    if not good and not wrong:
        raise refused[0][1]
    told = [f"its `{chunk.keyword}` copy is damaged and was passed over" for chunk, _ in refused]
    chunk, card = _newest(good or wrong)
    others = [other for _, other in good if other is not card]
    told += _told_differing(card, others, chunk)
    same_word = [it for it in copies if it.keyword == chunk.keyword]
    stale = bool(told or len(same_word) > 1 or any(it.kind != b"tEXt" for it in copies))
    card = replace(card, picture=picture, stale=stale, warnings=(*card.warnings, *told))
    return _carried(card, "PNG", picture)


def _newest(copies: list[tuple[Chunk, Card]]) -> tuple[Chunk, Card]:
    """By the dates in them where all have one, else V3 before V2, else the last in the file."""
    dates = [Fields(it.data, "", []).number("modification_date", 0, 1e12, 0) for _, it in copies]
    dated = all(dates)
    rows = [
        (date if dated else 0, chunk.keyword == "ccv3", chunk.start, chunk, card)
        for date, (chunk, card) in zip(dates, copies, strict=True)
    ]
    *_, chunk, card = max(rows, key=lambda row: row[:3])
    return chunk, card


def _told_differing(card: Card, others: list[Card], chunk: Chunk) -> list[str]:
    fields = [
        name for name in V1_FIELDS if any(getattr(o, name) != getattr(card, name) for o in others)
    ]
    if not fields:
        return []
    named = ", ".join(f"`{name}`" for name in fields)
    return [f"holds copies that differ in {named}; the newest, `{chunk.keyword}`, was read"]


def _carried(card: Card, carrier: str, picture: Picture | None = None) -> Card:
    """The card with what carries it in its form, and what is wrong with that in its warnings."""
    fault = picture.fault() if picture else None
    told = (f"the picture {fault.message}",) if fault else ()
    return replace(card, form=f"{card.form} in {carrier}", warnings=(*card.warnings, *told))


def _in_archive(stream: BinaryIO) -> Card:
    archive = Archive(stream)
    if CARD in archive.names:
        card = replace(read_character(archive.card()), archive=archive)
        told = [f"its `{name}` is not read" for name in archive.names if name.endswith(".risum")]
        return _carried(replace(card, warnings=(*card.warnings, *told)), "CHARX")
    if MANIFEST in archive.names:
        return read_backyard(archive)
    known = next((what for name, what in _INSIDE.items() if name in archive.names), None)
    if known:
        raise BadRequest(f"is {known}, which carries no card here; export {_AS}")
    raise BadRequest(
        "is a zip without `card.json`; unpack it and take the card or the chat that is in it"
    )


def _in_other(stream: BinaryIO, find: Callable[[BinaryIO], bytes | None], name: str) -> Card:
    """The card in a picture that is no PNG."""
    if (text := find(stream)) is not None:
        return _carried(read_character(text), name)
    if is_zip(stream):
        return _in_archive(stream)
    stream.seek(0)
    read_stream(stream, MAX_FILE)
    raise BadRequest(f"is a {name} picture, which carries no card here; export {_AS}")
