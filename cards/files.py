"""Files and JSON from strangers: read within bounds, refused in one line.

Fields that are absent or of the wrong type (`Fields`) are said, not fatal.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from schemas.errors import BadRequest

T = TypeVar("T")

MEGABYTE = 1024 * 1024
MAX_FILE = 64 * MEGABYTE
"""Bytes of a card, book or chat file; large cards with pictures stay below 50 MB."""

MAX_CARRIER = 512 * MEGABYTE
"""Bytes of a picture or an archive with a card, which is read no further than to the card; real
ones with many pictures have up to 200 MB."""

MAX_JSON = 16 * MEGABYTE
"""Bytes of one JSON document; a book of 5,000 long entries has 10 MB."""

MAX_NAME = 100
"""Characters of a name in a request."""

MAX_DEPTH = 60
"""Levels of nesting; cards need about eight."""

_HALF = re.compile("[\ud800-\udfff]")


def read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """The bytes of a file, of which at most `limit` are read.

    Raises:
        BadRequest: it cannot be read or is too large; names the file, not its folder.
    """
    with opened(path) as file:
        return read_stream(file, limit)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """An open file.

    Raises:
        BadRequest: it cannot be read; names the file, not its folder.
    """
    try:
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise BadRequest(f"cannot be read: {reason}", field=path.name) from None


def read_stream(file: BinaryIO, limit: int = MAX_FILE) -> bytes:
    """The bytes of an open file, of which at most `limit` are read.

    Raises:
        BadRequest: it is larger.
    """
    data = file.read(limit + 1)
    if len(data) > limit:
        raise BadRequest(f"is larger than {limit // MEGABYTE} MB; use a smaller file")
    return data


def copy_part(source: BinaryIO, out: BinaryIO, start: int, end: int | None = None) -> None:
    """Copies the bytes of an open file from `start` to `end`, in small pieces."""
    source.seek(start)
    left = math.inf if end is None else end - start
    while left and (part := source.read(int(min(left, MEGABYTE)))):
        out.write(part)
        left -= len(part)


def decode(data: bytes) -> str:
    """UTF-8, with or without a byte order mark, as text.

    Raises:
        BadRequest: it is something else.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"is not UTF-8 text (byte {error.start:,}); save it as UTF-8") from None


_UTF16 = "was read as UTF-16 text"


def in_utf8(data: bytes) -> tuple[bytes, str]:
    """A text in UTF-8, and what it was read as if it is in another coding: UTF-16 as
    Windows saves "Unicode" (without its mark where every other byte is zero), or the CP949 of
    Korean Windows. What is neither stays as it is."""
    for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if data.startswith(mark):
            text = data.decode("utf-16", "replace")
            return text.encode("utf-8", "replace"), _UTF16
    start = data[:1000]
    for coding, low, high in (("utf-16-le", 0, 1), ("utf-16-be", 1, 0)):
        if start[high::2].count(0) > 0.3 * len(start) > 100 * start[low::2].count(0):
            return data.decode(coding, "replace").encode("utf-8", "replace"), _UTF16
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = _korean(data)
        return (text.encode(), "was read as CP949 text of Korean Windows") if text else (data, "")
    return data, ""


def _korean(data: bytes) -> str:
    """The text in CP949; empty where not nearly all beyond ASCII is Hangul: other codings of one
    byte a letter decode to rare syllables and Han characters."""
    try:
        text = data.decode("cp949")
    except UnicodeDecodeError:
        return ""
    beyond = [c for c in text if c > "\x7f"]
    known = sum("가" <= c <= "힣" and _is_common(c) for c in beyond)
    signs = sum(c in _SIGNS for c in beyond)
    return text if known and known + signs >= 0.9 * len(beyond) else ""


def _is_common(syllable: str) -> bool:
    """Whether a syllable is one of the 2,350 of EUC-KR, which nearly all Korean words need."""
    try:
        return len(syllable.encode("euc_kr")) == 2
    except UnicodeEncodeError:
        return False


_SIGNS = (
    "…·、。〈〉《》「」『』【】‘’“”―～♡♥★☆○●◎◇◆□■△▲▽▼→←↑↓ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎㅏㅓㅗㅜㅠㅡㅣ"
)
"""Signs and single letters that Korean chats hold beside syllables."""


def parse_json(data: bytes, *, limit: int = MAX_JSON, finite: bool = True) -> Any:
    """The JSON value in `data`.

    Args:
        finite: refuses numbers that are not; else who reads the value does, and names their place.

    Raises:
        BadRequest: too large, not UTF-8, not JSON, a number that is not finite, nested too deeply.
    """
    if len(data) > limit:
        raise BadRequest(f"holds more than {limit // MEGABYTE} MB of JSON; use a smaller file")
    text = decode(data)
    try:
        if finite:
            value = json.loads(text, parse_float=_finite, parse_constant=_finite)
        else:
            value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # a whole number of more than 4,300 digits
        raise BadRequest("holds a number that is too long; shorten it") from None
    check_depth(value)
    return value


def parse_object(data: bytes) -> dict[str, Any]:
    """`parse_json` of what must be an object."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise BadRequest("must hold a JSON object, such as a card or a book")
    return value


def write_json(value: object, *, readable: bool = True) -> bytes:
    """A value as UTF-8 JSON; half characters stay escaped, as UTF-8 has none."""
    indent, separators = (2, None) if readable else (None, (",", ":"))
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode("utf-8")


def whole(text: str) -> str:
    """The text with U+FFFD for half characters, which cut emoji leave behind in real cards."""
    return _HALF.sub("\ufffd", text)


def one_line(name: str) -> str:
    """A name as a request may hold it: whole, on one line, of bounded length."""
    return " ".join(whole(name).split())[:MAX_NAME].strip()


def object_in(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object that stands under a name; empty if there is none."""
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Writes a file; one that is there stays, unless `force`.

    Raises:
        BadRequest: it is there, or cannot be written.
    """
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise BadRequest("exists; choose another name or add --force", field=path.name) from None
    except OSError as error:
        raise BadRequest(f"cannot be written: {error.strerror}", field=path.name) from None


@contextmanager
def writing(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A new file to write to, which is there only once all of it is written; one that is there
    already stays, unless `force`, and until then.

    Raises:
        BadRequest: it is there, or cannot be written.
    """
    part = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        if path.exists() and not force:
            raise FileExistsError
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    except FileExistsError:
        raise BadRequest("exists; choose another name or add --force", field=path.name) from None
    except OSError as error:
        raise BadRequest(f"cannot be written: {error.strerror}", field=path.name) from None
    finally:
        part.unlink(missing_ok=True)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BadRequest("holds a number that is not finite, such as NaN; leave it out")
    return number


def check_depth(value: Any) -> None:
    """Refuses what is nested too deeply; level by level, so that depth costs no stack."""
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 2):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> BadRequest:
    return BadRequest(f"is nested more than {MAX_DEPTH} levels deep; flatten it")


class Fields:
    """The fields of one object of a card or a book.

    Args:
        data: the object as it was parsed.
        place: its place in the document, for warnings.
        warnings: where they are collected.
    """

    def __init__(self, data: Mapping[str, Any], place: str, warnings: list[str]) -> None:
        self.data = data
        self._place = place
        self._warnings = warnings

    def text(self, name: str, default: str = "") -> str:
        """A text; a number is written out."""
        value = self.data.get(name)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        return whole(value) if isinstance(value, str) else self._wrong(name, "a text", default)

    def texts(self, name: str, *, commas: bool = True) -> tuple[str, ...]:
        """A list of texts; one text counts as a list: of what stands between its commas, or else
        of itself."""
        value = self.data.get(name)
        if value is None:
            return ()
        if isinstance(value, str) and not commas:
            value = [value] if value.strip() else []
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list):
            return self._wrong(name, "a list of texts", ())
        texts = [str(item) for item in value if isinstance(item, str | int | float)]
        if len(texts) < len(value):
            self._wrong(name, "a list of texts only", ())
        return tuple(whole(item) for item in texts)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false; other values count as JavaScript would take them."""
        value = self.data.get(name)
        return default if value is None else bool(value)

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A number, brought into its range; `"0.5"` counts as one."""
        value = self.data.get(name)
        if value is None or value == "":
            return default
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan  # which a text may spell, too
        if math.isnan(number):
            return self._wrong(name, "a number", default)
        return min(max(number, low), high)

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number, brought into its range."""
        return int(self.number(name, low, high, default))

    def object(self, name: str) -> dict[str, Any]:
        """An object; empty if there is none."""
        value = self.data.get(name)
        if value is None or isinstance(value, dict):
            return value or {}
        return self._wrong(name, "an object", {})

    def objects(self, name: str) -> list[dict[str, Any]]:
        """A list of objects; an object of objects counts as one."""
        value = self.data.get(name)
        if isinstance(value, dict):
            value = list(value.values())
        if value is None:
            return []
        if not isinstance(value, list):
            return self._wrong(name, "a list of objects", [])
        objects = [item for item in value if isinstance(item, dict)]
        if len(objects) < len(value):
            self._wrong(name, "a list of objects only", [])
        return objects

    def warn(self, words: str) -> None:
        """Adds a warning about this object."""
        self._warnings.append(f"{self._place}: {words}" if self._place else words)

    def _wrong(self, name: str, wanted: str, default: T) -> T:
        self.warn(f"`{name}` should be {wanted}")
        return default
