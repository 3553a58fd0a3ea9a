"""What the router reads: one turn as plain values, free of request schemas and stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Role = Literal["user", "character", "narrator"]
Speaker = Literal["narrator", "character"]
Vector = NDArray[np.float32]


class Line(NamedTuple):
    """One line of the running scene; a plain tuple (role, speaker, text) does as well."""

    role: Role
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A message with what surrounds it. `history` is oldest first; the last 12 lines are read."""

    message: str
    history: Sequence[Line] = ()
    character: str = ""
    aliases: Sequence[str] = ()
    user_name: str = ""
    others: Sequence[str] = ()
    """Names of further characters in the scene."""
    respond_as: Literal["auto", "narrator", "character"] = "auto"
    narrator_plays_people: bool = False
    """The narrator is a game master who also speaks for minor persons: to answer one is then the
    narrator's turn. Otherwise a person who speaks inside the narration counts as a character."""
    trigger_similarity: float | None = None
    """Cosine between the message and the next story event's trigger, where a story runs."""
    vector: Vector | None = field(default=None, compare=False)
    """Unit vector of the message, from the embedder that also embedded the exemplars."""
