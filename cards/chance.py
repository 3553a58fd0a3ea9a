"""Chance that repeats: the same chat and turn always draw the same."""

from __future__ import annotations

import hashlib


def draw(sides: int, *seed: object) -> int:
    """A number from 0 to `sides` - 1 that depends on nothing but the seed."""
    key = "\0".join(map(str, seed)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % sides
