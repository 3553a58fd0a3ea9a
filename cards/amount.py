"""Numbers of things, in words."""

from __future__ import annotations


def amount(count: int, one: str, many: str = "") -> str:
    """`1 line`, `2 lines`; `many` where the plural is no mere s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
