"""Archives: a zip in an open file, of which no more is read than its directory and what is asked
for. A CHARX has `card.json` at its root and the card's assets under `assets/`.

Nothing is ever unpacked to disk. The directory is measured before it is read, names that would
leave a folder are refused, and a member is inflated only as far as its bound.
"""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO
from urllib.parse import unquote

from cards.characters.png import MAX_ASSET
from cards.files import MAX_JSON, MEGABYTE, copy_part
from schemas.errors import BadRequest

CARD = "card.json"
MAX_ENTRIES = 5_000
MAX_DIRECTORY = 2 * MEGABYTE

_END = struct.Struct("<4s4H2LH")
"""The end record of a zip (APPNOTE 4.3.16): signature, disks, counts, directory size, ..."""

_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
"""Of a zip with 64-bit numbers (APPNOTE 4.3.14 and 4.3.15), which some programs always write."""

_MAX_COMMENT = 65_535
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),
    *(RuntimeError, OSError, ValueError, OverflowError, struct.error),
)


def is_zip(stream: BinaryIO) -> bool:
    """Whether a file is a zip, or a picture with one behind it."""
    try:
        return zipfile.is_zipfile(stream)
    except _DAMAGE:
        return False


class Archive:
    """An opened archive.

    Raises:
        BadRequest: damaged, encrypted, too large, or with names that leave the archive.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Checks the directory; inflates nothing."""
        _measure(stream)
        self._stream = stream
        stream.seek(0)
        self.in_picture = stream.read(3) == b"\xff\xd8\xff"
        """Whether a JPEG stands before it."""
        try:
            self._zip = zipfile.ZipFile(stream)
        except _DAMAGE:
            raise _damaged() from None
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        if len(members) > MAX_ENTRIES:
            raise _too_many()
        for member in members:
            _check_name(member)
        self._members = {_name(member): member for member in members}
        if len(self._members) < len(members):
            raise BadRequest("holds two files of one name; export the card again")

    @property
    def names(self) -> list[str]:
        """Its files."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Bytes of a file, as the directory states."""
        return self._members[name].file_size

    def copy_file(self, out: BinaryIO) -> None:
        """Writes the archive as it is."""
        copy_part(self._stream, out, 0)

    def copy(self, name: str, target: zipfile.ZipFile) -> None:
        """Copies a file into another archive, in small pieces."""
        member = zipfile.ZipInfo(name, self._members[name].date_time)
        member.compress_type = self._members[name].compress_type
        if member.compress_type != zipfile.ZIP_STORED:
            member.compress_type = zipfile.ZIP_DEFLATED
        with self.open(name) as file, target.open(member, "w") as out:
            shutil.copyfileobj(file, out, MEGABYTE)

    def card(self) -> bytes:
        """The bytes of `card.json`."""
        return self.read(CARD, MAX_JSON)

    def asset(self, uri: str) -> bytes | None:
        """What an `embeded://` address (the format spells it so) points to, if it is there."""
        name = self.named(uri)
        return None if name is None else self.read(name, MAX_ASSET)

    def named(self, uri: str) -> str | None:
        """The file that an `embeded://` address points to, also one spelt as the word is."""
        scheme, _, path = uri.partition("://")
        if scheme not in ("embeded", "embedded"):
            return None
        return next(
            (p for p in (path, path.lstrip("/"), unquote(path)) if p in self._members), None
        )

    def read(self, name: str, limit: int) -> bytes:
        """A file.

        Raises:
            BadRequest: it is damaged, or has more than `limit` bytes.
        """
        with self.open(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise BadRequest(f"holds a file of more than {limit // MEGABYTE} MB; shrink it")
        return data

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file, to be read in pieces.

        Raises:
            BadRequest: it is damaged.
        """
        try:
            with self._zip.open(self._members[name]) as file:
                yield file
        except BadRequest:  # of who reads it
            raise
        except _DAMAGE:
            raise _damaged() from None


def _measure(stream: BinaryIO) -> None:
    """Refuses a directory that would take long to read, before anything reads it."""
    size = stream.seek(0, 2)
    start = max(0, size - _END.size - _MAX_COMMENT)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise _damaged()
    directory = _END.unpack_from(tail, at)[5]
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size :].startswith(b"PK\x06\x07"):
        stream.seek(max(0, start + at - _LOCATOR.size - _END64.size))
        record = stream.read(_END64.size)
        if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
            raise _damaged()
        directory = _END64.unpack(record)[8]
    if directory > MAX_DIRECTORY:
        raise _too_many()


def _check_name(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & 0x1:
        raise BadRequest("is encrypted; export the card without a password")
    # `orig_filename` is the name as stored: `filename` ends at a NUL and hides what follows.
    name = member.orig_filename
    steps = name.replace("\\", "/").split("/")
    if ".." in steps or name.startswith(("/", "\\")) or ":" in steps[0] or "\0" in name:
        raise BadRequest("holds a file name that leaves the archive; do not trust this file")


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a file; many programs write UTF-8 without saying so."""
    name = member.filename
    if not member.flag_bits & 0x800 and not name.isascii():
        try:
            return name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name


def _too_many() -> BadRequest:
    return BadRequest(f"has more than {MAX_ENTRIES:,} files inside; remove some assets")


def _damaged() -> BadRequest:
    return BadRequest("is a damaged zip; download it again")
