"""What the nodes ask of live objects; the clients behind them are chosen in `graph/services.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from schemas.rag import CosineScale, Recalled, Search
from schemas.request import Message, StoryEvent

T = TypeVar("T")


class ServedCount(Protocol):
    """Counts of tokens that a server gives."""

    async def settle(self, run: Callable[[Callable[[str], int]], T], *, aside: bool = False) -> T:
        """What a pure function of a counter gives, with the server's counts where it tells them;
        `aside` as in `base.done`."""


class ServedContext(Protocol):
    """The context length that a server tells."""

    @property
    def tokens(self) -> int | None:
        """Tokens of prompt and reply together; None where it is not known."""

    async def learn(self) -> None:
        """Asks the server, until it has answered once."""


class Analyzer(Protocol):
    """Cuts texts into the terms by which they are found."""

    @property
    def name(self) -> str:
        """Terms of two names never mix."""

    def words(self, text: str, known: dict[str, Sequence[str]]) -> Iterable[Sequence[str]]:
        """The terms of each word of a text in `retrieval.text.normal` form, in order; `known` keeps
        those of words for the texts that are read with it."""


class PassageVectors(Protocol):
    """Knows and makes vectors of stored text: (n, dimension) float32 rows of unit length, in the
    order given. Both calls block."""

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors; they are known afterwards. Raises EmbeddingError."""

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What needs no embedding: rows, and the mask (n,) of those that are known."""


class PassageEncoder(PassageVectors, Protocol):
    """The part of an embedder that stores need."""

    @property
    def fingerprint(self) -> str:
        """Names the model and its version: vectors of two fingerprints never mix."""

    @property
    def dimension(self) -> int:
        """Numbers per vector."""

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Takes vectors from a store as known, in this process."""


class Embedder(PassageEncoder, Protocol):
    """Text to vectors: (n, dimension) float32 rows of unit length, in the order given."""

    async def cosine_scale(self, text: str) -> CosineScale:
        """How to read the cosines of a question in this text's language. Raises EmbeddingError."""

    def begin_queries(self, texts: Sequence[str]) -> Awaitable[np.ndarray]:
        """Vectors of questions; the work begins now. Raises EmbeddingError when awaited."""

    async def aencode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of stored text; they are known afterwards. Raises EmbeddingError."""

    def flush(self) -> None:
        """Waits until what is known will be known to the next process. Blocks."""


class Reranker(Protocol):
    """A model that reads the question and a passage together."""

    async def arank(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """How well each text answers, (n,) from 0 to 1. Raises EmbeddingError."""


class Story(Protocol):
    """A story's events in story order."""

    @property
    def name(self) -> str:
        """Different for stories that differ."""

    @property
    def events(self) -> Sequence[StoryEvent]:
        """All of them; who may see which is the node's concern."""

    @property
    def stands(self) -> bool:
        """Whether its vectors stand on the server, to be searched there."""


class Store(Protocol):
    """What may have to be waited for, long if it hangs."""

    async def apart(self, work: Callable[[], T], *, writes: bool = False) -> T:
        """The result of work that asks this store, done in the few threads of its own."""


class StorySource(Store, Protocol):
    """Stories by what a request says of them."""

    async def aload(self, events: Sequence[StoryEvent], story_id: str | None = None) -> Story:
        """The story of a request: its own events where it sends some, else the named one.

        Raises BadRequest where the named story was never built, StoreError, EmbeddingError.
        """

    def make_known(self, story: Any, events: Iterable[int]) -> None:
        """Takes what the server has of the vectors of these events. Blocks; raises StoreError."""

    def search(
        self,
        story: Any,
        index: Any,
        search: Search,
        masks: Sequence[np.ndarray],
        position: int | None,
    ) -> np.ndarray:
        """(parts of the index, d) vectors to rank a standing story with, NaN where not looked at.
        Blocks; raises StoreError."""


class StandingMemory(Store, Protocol):
    """What was said in each chat, for backends that send only recent messages. All of it blocks and
    raises StoreError, or EmbeddingError where something is embedded."""

    def recall(
        self,
        user_id: str,
        session_id: str,
        search: Search,
        history: Sequence[Message],
        message: str,
    ) -> Recalled:
        """What this chat's memory may hold for a search; it may be nothing."""

    def remember(
        self,
        user_id: str,
        session_id: str,
        messages: Sequence[Message],
        *,
        said_now: int = 0,
        recalled_from: str | None = None,
    ) -> int:
        """Adds what is not known yet; how many these were."""

    def forget(self, user_id: str, session_id: str) -> bool:
        """Deletes all that is remembered of a chat; whether there was any."""
