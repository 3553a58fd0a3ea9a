"""Chance that repeats: the same chat, turn and place always draw the same."""

from __future__ import annotations

import hashlib

from schemas.request import NEW_SESSION, ChatRequest


class Draws:
    """The draws of a text: from chat and place, then from the number of the draw and a seed."""

    def __init__(self, chat: str, place: str) -> None:
        self.length = len(chat) + len(place)
        self._all = hashlib.blake2b(_joined(chat, place), digest_size=8)

    def number(self, sides: int, *seed: object) -> int:
        """From 0 to `sides` - 1."""
        drawn = self._all.copy()
        drawn.update(_joined("", *seed))
        return _number(drawn, sides)


def draw(sides: int, *seed: object) -> int:
    """A number from 0 to `sides` - 1 that depends on nothing but the seed."""
    return _number(hashlib.blake2b(_joined(*seed), digest_size=8), sides)


def _joined(*seed: object) -> bytes:
    return "\0".join(map(str, seed)).encode("utf-8", "surrogatepass")


def _number(drawn: hashlib.blake2b, sides: int) -> int:
    return int.from_bytes(drawn.digest(), "big") % sides


def chat_of(request: ChatRequest) -> str:
    """What chance in a chat is drawn from: its id; how it began, where the client gave none.

    The id that the server gives to such a chat is another one every turn, if the client drops it.
    """
    if request.session_id and not request.session_id.startswith(NEW_SESSION):
        return request.session_id
    said = (line.content for line in request.history if line.role == "user")
    return f"{request.persona.name}\n{next(said, request.message)}"
