"""Streamed text made whole: stop strings and characters that are split between pieces."""

from __future__ import annotations

from collections.abc import Sequence


class TextStream:
    """Takes a reply piece by piece, and gives out what is certain of it.

    The text ends before the stop string that is complete first. What may be the start of a stop
    string, or half of a character, is held back until the next piece decides.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = [stop for stop in stops if stop]
        self._starts = tuple({stop[:size] for stop in self._stops for size in range(1, len(stop))})
        self._held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """The text that is certain after `piece`; nothing once a stop string was met."""
        if self.stopped:
            return ""
        text, half = _mended(self._held + piece)
        if (end := self._cut(text)) is not None:
            self.stopped, self._held = True, ""
            return text[:end]
        certain = len(text) - self._undecided(text)
        self._held = text[certain:] + half
        return text[:certain]

    def flush(self) -> str:
        """What was held back, at the end of the reply."""
        text, half = _mended(self._held)
        self._held = ""
        return text + "\N{REPLACEMENT CHARACTER}" * len(half)

    def _cut(self, text: str) -> int | None:
        """Where the stop string starts that is complete first; of several, the longest."""
        places = ((text.find(stop), stop) for stop in self._stops)
        ends = [(start + len(stop), start) for start, stop in places if start >= 0]
        return min(ends)[1] if ends else None

    def _undecided(self, text: str) -> int:
        """Length of the longest end of `text` that is the start of a stop string."""
        if not text.endswith(self._starts):  # mostly so, and one call tells it
            return 0
        return max(len(start) for start in self._starts if text.endswith(start))


def _mended(text: str) -> tuple[str, str]:
    """The text with surrogate pairs joined and lone ones replaced, and the half at its end.

    JSON may spell a character outside the basic plane as two escapes, and a server that cuts its
    text by UTF-16 units sends them in two pieces.
    """
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    whole = text[: len(text) - len(half)]
    if not whole.isascii():
        whole = whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole, half
