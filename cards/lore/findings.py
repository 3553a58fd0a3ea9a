"""What was odd in a whole book: said once, with how many entries it concerns and a few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from cards.amount import amount
from cards.forms import keys_in
from cards.lore.lorebook import LoreEntry
from schemas.errors import BadRequest

MAX_NAMED = 5
"""Entries that a warning names."""

MAX_SETTINGS = 12
"""Settings without a place here that are told one by one."""


class Findings:
    """Looks at the entries of a book one after another."""

    def __init__(self) -> None:
        self.unplaced = Counter[str]()
        """Settings of World Info without a place here, by the entries that use them."""
        self._unread: list[Any] = []
        self._empty: list[str] = []
        self._keyless: list[str] = []
        self._copies: list[str] = []
        self._ids = set[str]()
        self._entries = self._off = 0

    def unread(self, raw: Any) -> None:
        """An entry of which nothing was understood."""
        self._unread.append(raw)

    def read(self, raw: Mapping[str, Any], form: Mapping[str, Any], entry: LoreEntry) -> None:
        """An entry, as the file has it, in the words of World Info, and as it was read."""
        if not isinstance(form.get("content"), str | int | float):
            self.unread(raw)
            return
        label = entry.name or entry.id
        self._entries += 1
        self._off += not entry.enabled
        if not entry.content:
            self._empty.append(label)
        elif entry.enabled and not entry.keys and not entry.constant:
            self._keyless.append(label)
        uid = form.get("uid")
        if isinstance(uid, str | int) and entry.id != str(uid) and entry.id.startswith(f"{uid}#"):
            self._copies.append(entry.id)

    def judged(self, *, strict: bool) -> list[str]:
        """The warnings.

        Raises:
            BadRequest: `strict`, and nothing or less than half was understood.
        """
        rows, lost = self._entries + len(self._unread), len(self._unread)
        if strict:
            self._refuse(rows, lost)
        said = []
        if lost:
            told = f"{lost:,} of {rows:,} entries have no text that is known here"
            said.append(told + self._seen())
        for words, names in (
            ("without text, left out", self._empty),
            ("without keys that never take part", self._keyless),
            ("with the id of another", self._copies),
        ):
            if names:
                said.append(f"{amount(len(names), 'entry', 'entries')} {words}: {_few(names)}")
        if self._entries and self._off == self._entries:
            said.append("all entries are disabled")
        return [*said, *unplaced_words("the book", self.unplaced)]

    def _refuse(self, rows: int, lost: int) -> None:
        if not rows:
            raise BadRequest("holds no entries")
        if 2 * lost > rows:
            told = (
                f"has no text that is known here in {lost:,} of {amount(rows, 'entry', 'entries')}"
            )
            raise BadRequest(told + self._seen())
        if len(self._empty) == self._entries:
            raise BadRequest(
                f"is a lorebook without text; of {amount(rows, 'entry', 'entries')} each is empty"
            )

    def _seen(self) -> str:
        """The keys of what was not understood."""
        keys = keys_in(self._unread)
        return f"; their keys are {keys}" if keys else ""


def _few(names: Iterable[str]) -> str:
    """The first of some names."""
    named = list(islice(names, MAX_NAMED + 1))
    more = ", …" if len(named) > MAX_NAMED else ""
    return ", ".join(f"`{_shown(name)}`" for name in named[:MAX_NAMED]) + more


def _shown(name: str) -> str:
    """A name as it may be printed."""
    return "".join(c if c.isprintable() else "?" for c in name[:40])


def unplaced_words(program: str, settings: Counter[str]) -> list[str]:
    """Which settings of a program have no place here, and how many entries use them."""
    told = [
        f"{program}'s `{_shown(name)}` has no place here: {amount(count, 'entry', 'entries')}"
        for name, count in settings.most_common(MAX_SETTINGS)
    ]
    if len(settings) > MAX_SETTINGS:
        told.append(f"{len(settings) - MAX_SETTINGS:,} more settings have no place here")
    return told
