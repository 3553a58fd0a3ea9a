"""Files and JSON from strangers: read within bounds, refused in one line."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from schemas.errors import BadRequest

MEGABYTE = 1024 * 1024
MAX_FILE = 64 * MEGABYTE
"""Bytes of a card, book or chat file; large cards with pictures stay below 50 MB."""

MAX_JSON = 16 * MEGABYTE
"""Bytes of one JSON document; a book of 5,000 long entries has 10 MB."""

MAX_DEPTH = 60
"""Levels of nesting; cards need about eight."""

_HALF = re.compile("[\ud800-\udfff]")


def read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """The bytes of a file, of which at most `limit` are read.

    Raises:
        BadRequest: it cannot be read or is too large; names the file, not its folder.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise BadRequest(f"cannot be read: {reason}", field=path.name) from None
    if len(data) > limit:
        raise BadRequest(f"is larger than {limit // MEGABYTE} MB; use a smaller file")
    return data


def decode(data: bytes) -> str:
    """UTF-8, with or without a byte order mark, as text.

    Raises:
        BadRequest: it is something else.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"is not UTF-8 text (byte {error.start:,}); save it as UTF-8") from None


def parse_json(data: bytes, *, limit: int = MAX_JSON) -> Any:
    """The JSON value in `data`.

    Raises:
        BadRequest: too large, not UTF-8, not JSON, a number that is not finite, nested too deeply.
    """
    if len(data) > limit:
        raise BadRequest(f"holds more than {limit // MEGABYTE} MB of JSON; use a smaller file")
    text = decode(data)
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # a whole number of more than 4,300 digits
        raise BadRequest("holds a number that is too long; shorten it") from None
    _check_depth(value)
    return value


def parse_object(data: bytes) -> dict[str, Any]:
    """`parse_json` of what must be an object."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise BadRequest("must hold a JSON object, such as a card or a book")
    return value


def write_json(value: object) -> bytes:
    """A value as readable UTF-8 JSON; half characters stay escaped, as UTF-8 has none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode("utf-8")


def whole(text: str) -> str:
    """The text with U+FFFD for half characters, which cut emoji leave behind in real cards."""
    return _HALF.sub("\ufffd", text)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BadRequest("holds a number that is not finite; leave it out")
    return number


def _no_constant(name: str) -> NoReturn:
    raise BadRequest(f"holds {name}, which is not JSON; leave it out")


def _check_depth(value: Any) -> None:
    """Level by level, so that depth costs no stack."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _containers(outer)]
        if not level:
            return
    raise _too_deep()


def _containers(value: Any) -> list[Any]:
    """The objects and arrays right inside a value."""
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return []
    return [inner for inner in inside if isinstance(inner, dict | list)]


def _too_deep() -> BadRequest:
    return BadRequest(f"is nested more than {MAX_DEPTH} levels deep; flatten it")
