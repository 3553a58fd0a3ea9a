"""What a turn looks for, what retrieval hands to the prompt, and that to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SkipValidation,
    WithJsonSchema,
)

from schemas.base import Strict
from schemas.errors import EmbeddingError
from schemas.formats import PromptTurn
from schemas.request import Message, Persona, Role, StoryEvent, Writer


def _size(vectors: np.ndarray) -> str:
    """What Studio shows in place of the numbers."""
    return f"float32 {' × '.join(str(length) for length in vectors.shape)}"


Vectors = Annotated[
    np.ndarray, PlainSerializer(_size, return_type=str), WithJsonSchema({"type": "string"})
]
"""Numbers that are written out as their shape only."""


@dataclass(frozen=True, slots=True)
class CosineScale:
    """How an embedder's cosines are to be read in a language (`embedding/scale.py` measures it)."""

    floor: float = 0.0  # cosine of unrelated texts
    trust: float = 1.0  # how surely it finds what says the same: 1 always, 0 as often as by chance
    reach: float = 1.0  # cosine that counts as 1: what says the same is .61 of the way there

    def read(self, cosines: np.ndarray) -> np.ndarray:
        """The same shape: 0 for unrelated texts, `trust` at the reach."""
        return self.trust * (cosines - self.floor) / (self.reach - self.floor)


@dataclass(frozen=True, slots=True)
class View:
    """One way to say what is looked for."""

    text: str  # to embed
    terms: Mapping[str, float]  # term: weight
    share: float = 0.0  # of the first view's vector in this one's


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for."""

    views: tuple[View, ...]  # the message, then the running chat if there is one
    speakers: frozenset[str] = frozenset()  # whose words are asked for, as folded names
    scene: str = ""  # the running scene, where it counts (`Search.in_scene`)
    follow_up: float = 0.0  # how far the message only carries the running chat on, 0 to 1
    cosines: CosineScale = CosineScale()  # how its vectors' cosines are to be read

    @property
    def texts(self) -> list[str]:
        """To embed, in this order."""
        return [view.text for view in self.views]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the texts hold that a search chooses among, where only some of them are at hand."""

    messages: int
    terms: int  # in all of them
    found: Mapping[str, int]  # in how many each term of the query stands


class Search(BaseModel):
    """A query with its vectors: float32 rows of unit length."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    query: Query
    views: Vectors  # (views, d), by `retrieval.query.view_vectors`
    message: Vectors  # (d,), of the message as it was written

    def in_scene(self, scene: str) -> Search:
        """The same where this scene runs."""
        return self.model_copy(update={"query": replace(self.query, scene=scene)})


def of_one_length(*vectors: np.ndarray) -> None:
    """Raises EmbeddingError where matrices have rows of several lengths."""
    if len({rows.shape[-1] for rows in vectors if len(rows)}) > 1:
        raise EmbeddingError(
            "the embedder's vectors changed their length; new ones are begun: try again",
            retryable=True,
        )


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a standing memory has for a search: candidates among their neighbours."""

    messages: tuple[Message, ...]  # in the order in which they were said
    runs: tuple[int, ...]  # of each the stretch it is in: between two of them others are left out
    corpus: Corpus  # of all that is remembered
    source: str | None = None  # which memory of the chat: another one once it was forgotten


NOTHING_RECALLED = Recalled((), (), Corpus(0, 0, {}))


class RAGChunk(Strict):
    """A retrieved piece of text."""

    id: str
    source: str = Field(description="`chat` or `story`.")
    text: str
    score: float | None = Field(None, ge=0, le=1)
    meta: dict[str, Any] = Field(default_factory=dict)


class ChatRAGResult(Strict):
    """Past messages worth recalling, best first, none of them in the verbatim history."""

    context: list[RAGChunk] = Field(default_factory=list)
    verbatim_from: int = Field(0, ge=0, description="Row of the first message kept verbatim.")
    warning: str | None = Field(None, description="What could not be looked up, and why.")


class EventSimilarity(Strict):
    """How near a message is to an event of the story, and to the others around it on average.

    A cosine is unset where its vector was not known in time."""

    trigger: float | None = Field(description="Cosine of the message and the event's trigger.")
    trigger_others: float = Field(description="The same of the other triggers: their mean.")
    event: float | None = Field(description="Cosine of the message and the event as it is told.")
    event_others: float = Field(description="The same of the other events: their mean.")
    words: float = Field(ge=0, description="Words in common, 1 for each that only this event has.")
    words_others: float = Field(ge=0, description="The same of the other events: their mean.")
    trigger_words: float = Field(ge=0, le=1, description="Share of the trigger's words, weighted.")
    trust: float = Field(
        1.0, ge=0, le=1, description="How well the embedder tells this story's events apart."
    )


class Upcoming(Strict):
    """The next event that waits for something to happen; it never enters a prompt as it is."""

    event: StoryEvent
    passing: list[StoryEvent] = Field(
        default_factory=list, description="Events without a trigger on the way to it."
    )
    similarity: EventSimilarity
    later: list[tuple[int, EventSimilarity]] = Field(
        default_factory=list, description="Order of, and similarity to, the events after it."
    )
    past: list[EventSimilarity] = Field(
        default_factory=list, description="Similarity to the last events that have happened."
    )


class StoryRAGResult(Strict):
    """Events of the story: what the character may know, and what only the narrator may see."""

    context: list[RAGChunk] = Field(default_factory=list)
    narrator_only: list[RAGChunk] = Field(default_factory=list)
    upcoming: Upcoming | None = Field(None, description="Unset without a clock, or at the end.")
    warning: str | None = Field(None, description="What could not be looked up, and why.")


class Lore(Strict):
    """Entries of a lorebook that take part in a turn, and why found ones do not."""

    standing: list[RAGChunk] = Field(
        default_factory=list, description="In every turn of the chat: part of the system text."
    )
    passing: list[RAGChunk] = Field(
        default_factory=list, description="Called for by this turn, the most important first."
    )
    placed: list[RAGChunk] = Field(
        default_factory=list, description="Standing where the card names their outlet."
    )
    tokens: int = Field(0, ge=0, description="Of all of them.")
    budget: int = Field(0, ge=0, description="Most tokens that lore may take.")
    room: int = Field(
        0, ge=0, description="Tokens that the notes have for `passing` lore, the same every turn."
    )
    left_out: dict[str, str] = Field(
        default_factory=dict, description="Entries that were found and left out: id to reason."
    )
    warnings: list[str] = Field(default_factory=list)


class DialogueTurn(Strict):
    """A line of the history that no request brought."""

    role: Role
    name: str
    content: str
    id: str | None = None


Line = DialogueTurn | Message
"""A line of the history; without a name it bears that of its role."""


class PromptLayout(Strict):
    """The shape of the prompt: the model's format and size, and the operator's knobs.

    Nothing here may change from turn to turn of one chat, else the engine's cache is lost.
    """

    format: str = Field("chatml", description="A name in `schemas.formats.FORMATS`.")
    context_length: int = Field(8192, ge=256, description="Tokens of prompt and reply together.")
    max_new_tokens: int = Field(300, ge=1, description="Tokens kept free for the reply.")
    stops: list[str] = Field(default_factory=list, description="Stops beside the format's own.")
    added_tokens: frozenset[str] = Field(
        frozenset(), description="Tokens that the model's own tokenizer finds in any text."
    )
    volatile_tokens: int | None = Field(
        None, ge=0, description="Most tokens of memories, story and state; unset: a tenth."
    )
    keep: float = Field(
        0.5,
        ge=0.25,
        le=1,
        description="Share of the window that a cut of the history leaves on average; with 1 the "
        "history slides by a message at a time.",
    )
    place: Literal["after_history", "before_history", "depth"] = Field(
        "after_history", description="Where memories, story and state go."
    )
    recent_only: bool = Field(
        False, description="The backend sends the end of the chat only, never its beginning."
    )
    reply_language: str = Field(
        "auto",
        pattern=r"^(auto|card|[a-z]{2})$",
        description="Of replies: `auto` follows the card, else the user; `card` the card alone; or "
        "a code such as `ko`.",
    )


class PromptBuildInput(Strict):
    """All that a prompt is made of. `history` is whole, as it was sent: the prompt cuts it."""

    persona: Persona
    chat_context: list[RAGChunk] = Field(default_factory=list)
    story_context: list[RAGChunk] = Field(default_factory=list)
    narrator_only: list[RAGChunk] = Field(
        default_factory=list, description="Events that only the narrator may see."
    )
    lore: list[RAGChunk] = Field(
        default_factory=list, description="Constant lore: the same for the whole chat."
    )
    lore_room: int = Field(0, ge=0, description="Tokens of the notes for lore that passes.")
    history: SkipValidation[Sequence[Line]] = ()
    user_message: str
    user_name: str | None = Field(None, description="Unset: a word for the user in the language.")
    chat: str = Field("", description="What chance in the card's macros is drawn from.")
    sent: datetime | None = Field(None, description="When the message was.")
    story: SkipValidation[Sequence[StoryEvent]] = Field(
        (), exclude=True, description="The events, of which lore may set variables."
    )
    placed: list[RAGChunk] = Field(
        default_factory=list, description="Lore that stands where the card names its outlet."
    )
    speaker: Writer = "character"
    instruction: str = Field("", description="How this reply is to be written.")
    reply_start: str = Field("", description="What is written of the reply already.")
    user_note: str = Field("", description="What the user asked for once and for all.")
    direction: str = Field("", description="What this reply should bring about.")
    wish: str = Field("", description="What the user asks for now, outside of the scene.")
    shows: bool = Field(False, description="The wish is to be shown something, and that is all.")
    state: str = Field("", description="Time and place of the scene.")
    layout: PromptLayout = Field(default_factory=PromptLayout)


class PromptPlan(Strict, frozen=True):
    """What the prompt holds, whatever will be retrieved. Written out, it shows its numbers only."""

    system: str = Field(exclude=True)
    """The system text with the lore and the examples that stay."""
    turns: SkipValidation[list[PromptTurn]] = Field(exclude=True)
    """The verbatim history as the model will see it."""
    message: SkipValidation[PromptTurn] = Field(exclude=True)
    """The user's message."""
    verbatim_from: int
    """Row of the first message of the history that is kept; older ones may be retrieved."""
    dropped_examples: int
    """Blocks of example dialogue that are left out."""
    budget: int
    """Tokens of the prompt at most."""
    volatile: int
    """Tokens of notes at most."""
    system_tokens: int
    examples_tokens: int
    history_tokens: SkipValidation[list[int]] = Field(exclude=True)
    """Of each turn of the history."""
    message_tokens: int
    instruction_tokens: int
    """Of the longer of both speakers' instructions, with the user's standing note and the opening
    of the reply."""

    @property
    def tokens(self) -> int:
        """Tokens of all but the notes."""
        return (
            self.system_tokens
            + self.examples_tokens
            + sum(self.history_tokens)
            + self.message_tokens
            + self.instruction_tokens
        )

    def shorter(self) -> PromptPlan:
        """The same without the oldest turn of the history."""
        return self.model_copy(
            update={
                "turns": self.turns[1:],
                "history_tokens": self.history_tokens[1:],
                "verbatim_from": self.verbatim_from + 1,
            }
        )


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
    frame: int = Field(description="Headings of the notes, state, direction and wish.")
    instruction: int = Field(
        description="With the user's standing note and the opening of the reply."
    )
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


class Ledger(Strict):
    """`meta.prompt` of a response: where the tokens of a prompt went."""

    format: str
    place: Literal["after_history", "before_history", "depth"]
    language: str
    speaker: str
    sha256: str
    tokens: TokenLedger
    items: list[ItemLedger]
    cut: CutLedger
    stop: list[str]


class PromptBuildOutput(Strict):
    """The prompt, the strings that end a reply to it, and its ledger in `meta`."""

    prompt: str
    messages: list[dict[str, str]] = Field(
        default_factory=list, description="The prompt as chat messages, for the format `chat`."
    )
    stop: list[str] = Field(default_factory=list)
    headings: list[str] = Field(
        default_factory=list,
        description="How its notes and instructions begin: a reply that says so copies them.",
    )
    speaker_name: str = Field("", description="The name behind which the reply goes on.")
    meta: dict[str, Any] = Field(default_factory=dict, description="A `Ledger` as data.")
