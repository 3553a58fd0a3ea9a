"""What carries a character: a picture with text in it, or an archive."""

from __future__ import annotations

from typing import BinaryIO

from cards.characters import png
from cards.characters.card import Card, read_card
from cards.characters.charx import is_charx
from cards.files import MAX_FILE, read_stream

HEAD = 16
"""Bytes by which a carrier is known."""


def is_carrier(stream: BinaryIO) -> bool:
    """Whether a file is a picture or an archive; its text, if it is none, begins where it did."""
    head = stream.read(HEAD)
    stream.seek(0)
    if head.startswith(png.SIGNATURE):
        return True
    if not head.startswith((b"PK\x03\x04", b"\xff\xd8\xff")):
        return False
    content = read_stream(stream, MAX_FILE)
    stream.seek(0)
    return is_charx(content)


def card_in(stream: BinaryIO) -> Card:
    """The card in a picture or an archive.

    Raises:
        BadRequest: it is damaged, or holds none.
    """
    return read_card(read_stream(stream, MAX_FILE))
