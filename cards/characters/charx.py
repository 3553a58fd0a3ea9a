"""CHARX: a zip with `card.json` at its root and the card's assets under `assets/`.

Nothing is ever unpacked to disk. The directory is measured before it is read, names that would
leave a folder are refused, and a member is inflated only as far as its bound.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from cards.files import MAX_JSON, MEGABYTE
from schemas.errors import BadRequest

CARD = "card.json"
MAX_ENTRIES = 5_000
MAX_DIRECTORY = 2 * MEGABYTE
MAX_INFLATED = 256 * MEGABYTE
"""Bytes of all members together, by the sizes that the directory states."""

MAX_ASSET = 32 * MEGABYTE

_END = struct.Struct("<4s4H2LH")
"""The end record of a zip (APPNOTE 4.3.16): signature, disks, counts, directory size, ..."""


def is_charx(data: bytes) -> bool:
    """Whether this is a zip, or a JPEG with one behind it."""
    return data.startswith(b"PK\x03\x04") or (
        data.startswith(b"\xff\xd8\xff") and zipfile.is_zipfile(io.BytesIO(data))
    )


class Archive:
    """An opened CHARX.

    Raises:
        BadRequest: damaged, encrypted, too large, or with names that leave the archive.
    """

    def __init__(self, data: bytes) -> None:
        """Checks the directory; inflates nothing."""
        _measure(data)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
            raise _damaged() from None
        members = self._zip.infolist()
        if len(members) > MAX_ENTRIES:
            raise BadRequest(f"has more than {MAX_ENTRIES:,} files inside; remove some assets")
        if sum(member.file_size for member in members) > MAX_INFLATED:
            raise BadRequest(f"unpacks to more than {MAX_INFLATED // MEGABYTE} MB; shrink it")
        for member in members:
            _check_name(member)
        self._members = {member.filename: member for member in members}
        if len(self._members) < len(members):
            raise BadRequest("holds two files of one name; export the card again")

    def card(self) -> bytes:
        """The bytes of `card.json`."""
        if CARD not in self._members:
            raise BadRequest("is a zip without `card.json`; it is no CHARX card")
        return self._read(CARD, MAX_JSON)

    def asset(self, uri: str) -> bytes | None:
        """What an `embeded://` address (the format spells it so) points to, if it is there."""
        scheme, _, path = uri.partition("://")
        if scheme != "embeded" or path not in self._members:
            return None
        return self._read(path, MAX_ASSET)

    def _read(self, name: str, limit: int) -> bytes:
        try:
            with self._zip.open(self._members[name]) as file:
                data = file.read(limit + 1)
        except (
            *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),
            *(RuntimeError, OSError, ValueError, struct.error),
        ):
            raise _damaged() from None
        if len(data) > limit:
            raise BadRequest(f"holds a file of more than {limit // MEGABYTE} MB; shrink it")
        return data


def _measure(data: bytes) -> None:
    """Refuses a directory that would take long to read, before anything reads it."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if at < 0 or at + _END.size > len(data):
        raise _damaged()
    directory = _END.unpack_from(data, at)[5]
    if directory > MAX_DIRECTORY or data[max(0, at - 20) :].startswith(b"PK\x06\x07"):
        raise BadRequest(f"has more than {MAX_ENTRIES:,} files inside; remove some assets")


def _check_name(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & 0x1:
        raise BadRequest("is encrypted; export the card without a password")
    # `orig_filename` is the name as stored: `filename` ends at a NUL and hides what follows.
    name = member.orig_filename
    steps = name.replace("\\", "/").split("/")
    if ".." in steps or name.startswith(("/", "\\")) or ":" in steps[0] or "\0" in name:
        raise BadRequest("holds a file name that leaves the archive; do not trust this file")


def _damaged() -> BadRequest:
    return BadRequest("is a damaged zip; download it again")
