"""The embedders of a process, each with what stands under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from language.script import Script
from schemas.protocols import Embedder, StandingMemory, StorySource


class Reader(NamedTuple):
    """An embedder, and what is searched with its vectors."""

    embedder: Embedder
    stories: StorySource
    memory: StandingMemory | None


class Readers:
    """A reader for each script, made when a turn first needs it.

    Args:
        make: makes one; it may be the same for all scripts.
    """

    def __init__(self, make: Callable[[Script], Reader]) -> None:
        self._make = make
        self._made: dict[Script, Reader] = {}

    @property
    def made(self) -> list[Reader]:
        """Those that a turn has needed."""
        return [*self._made.values()]

    def __getitem__(self, script: Script) -> Reader:
        """The same object each time."""
        if script not in self._made:
            self._made[script] = self._make(script)
        return self._made[script]
