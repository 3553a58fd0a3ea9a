"""The embedders of a process, each with what stands under it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from language.script import Script
from schemas.protocols import Embedder, StandingMemory, StorySource


class Reader(NamedTuple):
    """An embedder, and what is searched with its vectors."""

    embedder: Embedder
    stories: StorySource
    memory: StandingMemory | None


Readers = Mapping[Script, Reader]
"""The reader of each script; it may be the same for all."""
