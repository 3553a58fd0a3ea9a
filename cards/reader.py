"""Fields that may be absent or of the wrong type: what cannot be used is said, not fatal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from cards.files import whole

T = TypeVar("T")


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

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; one text with commas counts as a list."""
        value = self.data.get(name)
        if value is None:
            return ()
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list):
            return self._wrong(name, "a list of texts", ())
        kept = [str(item) for item in value if isinstance(item, str | int | float)]
        if len(kept) < len(value):
            self._wrong(name, "a list of texts only", ())
        return tuple(whole(item) for item in kept)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false; other values count as JavaScript would take them."""
        value = self.data.get(name)
        return default if value is None else bool(value)

    def choice(self, name: str) -> bool | None:
        """True, false, or None for the reader's own setting."""
        value = self.data.get(name)
        return None if value is None else bool(value)

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A number, brought into its range; `"0.5"` counts as one."""
        value = self.data.get(name)
        if value is None or value == "":
            return default
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return self._wrong(name, "a number", default)
        if number != number:  # NaN, from a text
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
        kept = [item for item in value if isinstance(item, dict)]
        if len(kept) < len(value):
            self._wrong(name, "a list of objects only", [])
        return kept

    def warn(self, words: str) -> None:
        """Adds a warning about this object."""
        self._warnings.append(f"{self._place}: {words}" if self._place else words)

    def _wrong(self, name: str, wanted: str, default: T) -> T:
        self.warn(f"`{name}` should be {wanted}")
        return default
