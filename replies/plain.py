"""A plain text of a model, read as it is written: hidden reasoning before it is dropped, and it
ends at a stop string or a control token."""

from __future__ import annotations

import re
from collections.abc import Sequence

from replies.edges import TOKEN, opening_end, opening_is_open, readable

_LONGEST_TOKEN = 44
"""Characters of a control token at most (`replies.edges.TOKEN`)."""


class PlainReader:
    """Reads the deltas of one text; what it has shown is never taken back.

    Args:
        stops: strings that end it.
        opening: whether reasoning and turn headers before it are dropped.
    """

    def __init__(self, stops: Sequence[str], *, opening: bool) -> None:
        """Prepares for the first delta."""
        found = sorted(filter(None, stops), key=len, reverse=True)
        self._stop = re.compile("|".join(map(re.escape, found)) or r"(?!)")
        self._starts = {stop[:size] for stop in found for size in range(1, len(stop))}
        self._held = max([_LONGEST_TOKEN, *map(len, found)])
        self._waiting: str | None = "" if opening else None
        self._opening = opening
        self._text = ""
        self._shown = 0
        self.done = False

    def feed(self, delta: str) -> str:
        """What of the text may be shown now."""
        if self.done:
            return ""
        if self._waiting is not None:
            self._waiting += delta
            if opening_is_open(self._waiting):
                return ""
            delta, self._waiting = self._without_opening(self._waiting), None
        self._text += delta if self._text or not self._opening else delta.lstrip()
        return self._show(self._settled())

    def end(self) -> str:
        """What is left to show."""
        if self._waiting is not None:
            self._text, self._waiting = self._without_opening(self._waiting), None
            self._settled()
        return self._show(len(self._text))

    @property
    def text(self) -> str:
        """All of it that may be shown."""
        return readable(self._text[: self._shown])

    @staticmethod
    def _without_opening(text: str) -> str:
        return text[opening_end(text)[0] :].lstrip()

    def _show(self, end: int) -> str:
        more, self._shown = self._text[self._shown : end], max(end, self._shown)
        return readable(more)

    def _settled(self) -> int:
        """Characters that no stop string can touch; ends the text at one that is whole."""
        start = max(0, self._shown - self._held)
        ends = [found.start() for found in (self._stop.search(self._text, start),
                                            TOKEN.search(self._text, start)) if found]  # fmt: skip
        if ends:
            self._text, self.done = self._text[: max(self._shown, min(ends))], True
            return len(self._text)
        tail = self._text[-self._held :]
        for size in range(len(tail), 0, -1):
            if tail[-size:] in self._starts:
                return len(self._text) - size
        mark = max(tail.rfind(sign) for sign in "<[")
        return len(self._text) if mark < 0 else len(self._text) - len(tail) + mark
