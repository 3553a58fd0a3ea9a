"""The ledger of a prompt: where its tokens went, and what was delivered or dropped."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Strict


class TokenLedger(Strict):
    """Tokens by section, each counted alone.

    They add up to `total`, unless the prompt had to be counted as a whole to fit.
    """

    system: int
    examples: int
    history: int
    message: int
    memories: int
    story: int
    frame: int = Field(description="Headings of the notes, state and direction.")
    instruction: int = Field(description="With the opening of the reply.")
    total: int = Field(description="Tokens of the whole prompt.")
    reserve: int = Field(description="Kept free for the reply.")
    budget: int = Field(description="Most that the prompt may hold: the context less the reserve.")


class ItemLedger(Strict):
    """What became of a memory or an event."""

    id: str
    source: str
    delivered: bool
    reason: str = Field("", description="Why it was dropped.")
    tokens: int


class CutLedger(Strict):
    """Where the verbatim history begins."""

    verbatim_from: int = Field(description="Row of the first message kept.")
    dropped_messages: int
    dropped_examples: int


class PrefixLedger(Strict):
    """What the engine can reuse from this chat's last prompt."""

    tokens: int
    share: float


class Ledger(Strict):
    """`meta.prompt` of a response."""

    format: str
    place: Literal["after_history", "before_history", "depth"]
    language: str
    speaker: str
    sha256: str
    tokens: TokenLedger
    items: list[ItemLedger]
    cut: CutLedger
    stop: list[str]
    prefix: PrefixLedger | None = Field(
        None, description="Unset where the history does not tell the last turn."
    )
