"""What all schemas share: strict objects, texts that can be sent anywhere, names of vectors."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

T = TypeVar("T")

MAX_TEXT = 100_000
"""Characters of one message or event: a long chapter; more is a mistake or an attack."""


class Strict(BaseModel):
    """A model that refuses unknown fields and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=False)


Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
"""Any text of a user, a card or a story. As every constraint on a string does, the length makes
pydantic refuse lone surrogates, which no encoder downstream can write."""

ShortText = Annotated[str, StringConstraints(max_length=1_000)]
"""A title, a place, a trigger."""

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\r\n]*$"),
]
"""A name on one line, as it is written before a colon."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""An id chosen by the caller: opaque, never used as a path."""

EmbeddingId = Annotated[str, StringConstraints(pattern=r"^sha1:[0-9a-f]{40}$")]
"""The name of a text's vector: `sha1:` and 40 hex digits."""


async def done(work: Callable[[], T], *, aside: bool) -> T:
    """What the work gives; `aside`, in a thread, where it could keep the event loop for 50 ms."""
    return await asyncio.to_thread(work) if aside else work()


def embedding_id(text: str) -> str:
    """The name of a text's vector: the SHA-1 of the text in UTF-8, no safeguard."""
    return "sha1:" + hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest()


MAX_DEPTH = 100
"""Objects and lists within each other in free-form data. What a card holds has a dozen at most, and
pydantic writes no response of more than some 250."""

MAX_VALUES = 20_000
"""In one piece of free-form data: what is returned is written several times, in
5 µs a value."""


def _json_safe(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses what cannot be sent back as JSON."""
    inner: list[Any] = [value]
    values = 0
    for _ in range(MAX_DEPTH):
        values += sum(map(len, inner))
        if values > MAX_VALUES:
            raise ValueError(f"holds more than {MAX_VALUES:,} values; leave out what nobody reads")
        inner = [item for held in inner for item in _held(held)]
    if inner:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels; flatten it")
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        cure = "leave out NaN, half characters and numbers of more than 4,300 digits"
        raise ValueError(f"cannot be written as JSON; {cure}") from None
    return value


def _held(value: Any) -> Iterable[Any]:
    """The objects and lists right inside of a value."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return ()
    return [item for item in value if isinstance(item, dict | list | tuple)]


JsonObject = Annotated[dict[str, Any], AfterValidator(_json_safe)]
"""Free-form data of the caller, kept as it came."""


def size_of(value: Any, most: int) -> int:
    """About how many bytes a value has as JSON, without spaces; of more than `most`, some number
    above that. Costs no stack, and no longer than `most` bytes take."""
    size, waiting = 0, [value]
    while waiting and size <= most:
        size += BYTES_OF_VALUE
        match waiting.pop():
            case str() as text:
                size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
            case int() as number:
                size += number.bit_length() // 3
            case float():
                size += BYTES_OF_OBJECT
            case list() | tuple() as items:
                size += BYTES_OF_OBJECT
                waiting += islice(items, most)
            case dict() as fields:
                size += BYTES_OF_OBJECT
                waiting += islice(fields, most)
                waiting += islice(fields.values(), most)
    return size


BYTES_OF_VALUE = 4
"""Of its quotes and commas, or of a short number."""

BYTES_OF_OBJECT = 16
"""Of a list, an object or a float beside what it holds: to make one costs as much as that text."""


def digest(*parts: str) -> str:
    """160 bits over the parts, no two different lists of which run into the same bytes."""
    coded = [part.encode("utf-8", "surrogatepass") for part in parts]
    joined = b"".join(len(part).to_bytes(8) + part for part in coded)
    return hashlib.sha256(joined).hexdigest()[:40]
