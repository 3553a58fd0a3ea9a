"""Chance that repeats: the same chat and turn always draw the same."""

from __future__ import annotations

import hashlib

from schemas.request import NEW_SESSION, ChatRequest


def draw(sides: int, *seed: object) -> int:
    """A number from 0 to `sides` - 1 that depends on nothing but the seed."""
    key = "\0".join(map(str, seed)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % sides


def chat_of(request: ChatRequest) -> str:
    """What chance in a chat is drawn from: its id; how it began, where the client gave none.

    The id that the server gives to such a chat is another one every turn, if the client drops it.
    """
    if request.session_id and not request.session_id.startswith(NEW_SESSION):
        return request.session_id
    said = (line.content for line in request.history if line.role == "user")
    return f"{request.persona.name}\n{next(said, request.message)}"
