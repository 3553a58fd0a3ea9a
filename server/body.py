"""What a request brings: a body within limits of size and time, and ids in headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request

from cards.files import MAX_JSON, MEGABYTE, parse_json
from schemas.base import done
from schemas.errors import BadRequest
from server.errors import Ending, HttpError

BODY_SECONDS = 60.0
"""For all of a body: the largest of a page's files (64 MB) at 10 Mbit/s."""

MAX_VALUES = 200_000
"""Numbers, texts, lists and objects in a body: 5,000 events of a story have 150,000, and reading
takes a microsecond for each, in which the server does nothing else."""

MAX_KEYS = 1_000
"""Of one object, free-form data included: to refuse a thousand unknown fields takes 40 ms."""

ASIDE = 100_000
"""Bytes of a body from which it is read in a thread."""

LONGEST_ID = 200
"""Characters, as of an `Identifier`."""

_SESSION = ("x-iyagi-session", "x-openwebui-chat-id")
_USER = ("x-openwebui-user-id",)


async def read_body(request: Request, most: int = MAX_JSON) -> bytes:
    """The body; errors as of `body_parts`."""
    content = bytearray()
    async with aclosing(body_parts(request, most)) as parts:
        async for part in parts:
            content += part
    return bytes(content)


async def body_parts(
    request: Request, most: int, seconds: float | None = None
) -> AsyncGenerator[bytes]:
    """The body as it arrives, for who keeps it elsewhere than in memory.

    Raises:
        HttpError: it has more than `most` bytes (413), does not arrive in time (408) or before the
            server ends (503), or the client hung up; of what is left of it, no more is read.
    """
    if request.headers.get("content-length", "").isdecimal():  # said beforehand
        _check(int(request.headers["content-length"][:20]), most)
    size, seconds = 0, BODY_SECONDS if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                _check(size, most)
                yield part
    except TimeoutError:
        told = f"the body did not arrive within {seconds:g} s; send it faster, or send less"
        raise HttpError("body_timeout", told, headers=_CLOSE, retryable=True) from None
    except asyncio.CancelledError:  # the server ends, and waits no longer
        raise Ending from None
    except ClientDisconnect:
        raise HttpError("hung_up", "the client hung up", headers=_CLOSE) from None


_CLOSE = {"Connection": "close"}
"""The connection cannot be used again while the rest of a body is on its way."""


def _check(size: int, most: int) -> None:
    if size > most:
        told = f"the body is larger than {most // MEGABYTE} MB; send less"
        raise HttpError("too_large", told, headers=_CLOSE)


async def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object, with the ids that the headers name.

    Raises:
        BadRequest: it is no JSON object, or an id is too long.
        HttpError: as `read_body`.
    """
    content = await read_body(request)
    try:
        body = await done(partial(_parsed, content), aside=len(content) > ASIDE)
    except BadRequest as error:
        raise BadRequest(error.message, field="the body") from None
    if not isinstance(body, dict):
        raise BadRequest("must be a JSON object", field="the body")
    return body


def _parsed(content: bytes) -> Any:
    """The JSON value, unless it has so many parts that to read it would keep all others waiting."""
    bare = content.replace(rb"\\", b"").replace(rb"\"", b"")
    parts = bare.count(b'"')
    if parts <= 4 * MAX_VALUES:  # so many quotes have the keys and texts of so many values
        outside = b"".join(bare.split(b'"')[::2])
        parts = sum(map(outside.count, (b",", b"[", b"{")))
    if parts > MAX_VALUES:
        raise BadRequest(f"holds more than {MAX_VALUES:,} values; send less")
    value = parse_json(content)
    waiting = [value]
    while waiting:
        match waiting.pop():
            case list() as items:
                waiting += [item for item in items if isinstance(item, dict | list)]
            case dict() as fields:
                if len(fields) > MAX_KEYS:
                    raise BadRequest(f"holds an object of more than {MAX_KEYS:,} fields; send less")
                waiting += [item for item in fields.values() if isinstance(item, dict | list)]
    return value


def with_ids(body: dict[str, Any], request: Request, user: str | None = None) -> dict[str, Any]:
    """The body with `session_id` and `user_id` from the headers, where it has none of its own.

    Where the key has an owner, whoever is named is one of the owner's users: no other key reaches
    what is remembered of them.

    Args:
        user: the id of a user whom neither names.

    Raises:
        BadRequest: an id is too long, or another key's.
    """
    named = dict(body)
    if session := _id(request, _SESSION):
        _fill(named, "session_id", session)
    if named.get("user") is None and (user := _id(request, _USER) or user):
        _fill(named, "user_id", user)
    if owner := request.scope["state"].get("owner"):
        _give_to(owner, named)
    else:
        _check_owned(named, request.scope["state"].get("owners", ()))
    return named


def _check_owned(body: dict[str, Any], owners: Iterable[str]) -> None:
    """Refuses the users of those who have keys of their own."""
    user = body.get("user")
    ids = {
        "user_id": body.get("user_id"),
        "user": user.get("id") if isinstance(user, dict) else user,
    }
    for name, value in ids.items():
        if str(value).strip().partition("/")[0] in set(filter(None, owners)):
            raise BadRequest("belongs to another key; choose another id", field=name)


def _give_to(owner: str, body: dict[str, Any]) -> None:
    """Names the owner's user in place of the one that is named."""
    user = named = body.pop("user", None)
    if isinstance(user, dict):  # as some programs send it
        named = user.get("id")
        _fill(body, "user_name", str(user.get("name") or "") or None)
    named = body.get("user_id") if body.get("user_id") is not None else named
    body["user_id"] = owner if named in (None, "") else f"{owner}/{named}"


def _fill(body: dict[str, Any], name: str, value: str | None) -> None:
    if value and body.get(name) is None:
        body[name] = value


def _id(request: Request, names: tuple[str, ...]) -> str | None:
    for name in names:
        value = request.headers.get(name, "").strip()
        if len(value) > LONGEST_ID:
            raise BadRequest(f"has more than {LONGEST_ID} characters; shorten it", field=name)
        if value:
            return value
    return None
