"""Counts of tokens by the server that runs the model, asked before they are needed.

Planning a prompt is a pure function that calls a counter for each text, and a server takes one
text a call, over the network. So the function runs twice: once to hear which texts it counts,
then one call for all that are not known, then with their counts. The texts travel as one, with a
mark before each that no tokenizer merges with its neighbours.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from prompts.tokens import KNOWN, Count
from schemas.base import done
from schemas.errors import BadRequest, LLMError

log = logging.getLogger(__name__)

T = TypeVar("T")

MARK = "\x1e"
"""The record separator: one byte that no vocabulary has merged with another, so it is a token of
its own and those beside it are what they are without it. Chats have no use for it."""

ROUNDS = 8
"""Calls for one prompt at most. One is usual; each note that a prompt near its limit loses is a
further one."""

PAUSE = 30.0
"""Seconds without asking after a failure, so that the nodes of a turn count alike."""

Tokenize = Callable[[str], Awaitable[Sequence[int]]]
"""Ids of the tokens of a text. Raises LLMError."""


class ServedCount:
    """Tokens of a text as the server counted it, else by an estimate; safe with several threads."""

    def __init__(self, tokenize: Tokenize, estimate: Count) -> None:
        """Asks nothing yet.

        Args:
            tokenize: asks the server.
            estimate: counts what the server was not asked, and everything while it fails.
        """
        self._tokenize, self._estimate = tokenize, estimate
        self._counts: dict[int, int] = {}  # by hash, as in `tokens.remembered`
        self._silent_until = 0.0
        self._warned = False

    def __call__(self, text: str) -> int:
        """Tokens of the text; asks nobody."""
        known = self._counts.get(hash(text))
        return self._estimate(text) if known is None else known

    async def settle(self, run: Callable[[Count], T], *, aside: bool = False) -> T:
        """What `run` gives when each text it counts was counted by the server.

        Args:
            run: a pure function of a counter; it may run several times, and its BadRequest
                counts only when it knows all it asks for.
            aside: as in `base.done`.
        """
        for _ in range(ROUNDS):
            if time.monotonic() < self._silent_until:
                break
            unknown: dict[str, None] = {}

            def count(text: str, unknown: dict[str, None] = unknown) -> int:
                known = self._counts.get(hash(text))
                if known is not None:
                    return known
                unknown[text] = None
                # Too low, so that a first run looks as far back as the real counts can reach.
                return self._estimate(text) // 2

            try:
                result = await done(partial(run, count), aside=aside)
            except BadRequest:
                if not unknown:
                    raise
            else:
                if not unknown:
                    return result
            await self._learn(list(unknown))
        return await done(partial(run, self), aside=aside)

    async def _learn(self, texts: list[str]) -> None:
        """Asks for the counts of all these texts at once; after a failure not again for a while."""
        try:
            counts = await count_together(texts, self._tokenize)
        except LLMError as error:
            self._silent_until = time.monotonic() + PAUSE
            if not self._warned:
                log.warning("/tokenize failed, so tokens are estimated: %s", error.message)
            self._warned = True
            return
        self._warned = False
        if len(self._counts) + len(texts) > KNOWN:
            self._counts.clear()
        self._counts.update(zip(map(hash, texts), counts, strict=True))


async def count_together(texts: Sequence[str], tokenize: Tokenize) -> list[int]:
    """Tokens of each text, with one call.

    A token counts to the text that stands before the next mark. What the tokenizer puts at the
    very beginning (a beginning-of-sequence token, SentencePiece's space) counts to none.

    Raises:
        LLMError: the call failed, or the tokenizer gives the mark no token of its own.
    """
    whole = "".join(MARK + text.replace(MARK, " ") for text in texts) + MARK
    ids = await tokenize(whole)
    marks = [at for at, token in enumerate(ids) if token == ids[-1]]
    if len(marks) != len(texts) + 1:
        raise LLMError("the tokens that the server counted cannot be told apart by text")
    return [end - start - 1 for start, end in pairwise(marks)]
