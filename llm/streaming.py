"""What our backends share: the contract of `llm/__init__.py`, made of the raw pieces of a reply.

Stop strings and characters may be split between pieces.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import GenerationChunk, LLMResult

from schemas.errors import LLMError

MAX_NEW_TOKENS = 300
"""Where the caller says nothing: servers would stop after 16, as OpenAI's API has it."""


@dataclass
class Ending:
    """How a reply stands and ended; the backend fills it in."""

    finish_reason: str = "stop"
    usage: dict[str, int] | None = None
    """As far as it is known."""
    reading: int | None = None
    """Per cent of the prompt that are read, before the first token; with an empty piece."""


class StreamingLLM(BaseLLM):
    """A model that streams; `ainvoke` gathers the stream, and blocking calls are refused."""

    model: str
    """Its name."""

    @property
    def _llm_type(self) -> str:
        return type(self).__name__

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.model}

    def _write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> AsyncGenerator[str, None]:
        """The backend's part: the reply as it comes, some pieces empty. It may run past a stop
        string, where it is closed. Raises LLMError."""
        raise NotImplementedError

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        text, ending, failure, read = TextStream(stop or ()), Ending(), None, None
        try:
            async with aclosing(self._write(prompt, stop or [], kwargs, ending)) as pieces:
                async for piece in pieces:
                    if ending.reading not in (None, read):
                        read = ending.reading
                        await _tell(run_manager, "", reading=read)
                    if certain := text.feed(piece):
                        await _tell(run_manager, certain, usage=ending.usage)
                        yield GenerationChunk(text=certain)
                    if text.stopped:
                        ending.finish_reason = "stop"
                        break
        except LLMError as error:
            failure = error
        if rest := text.flush():
            await _tell(run_manager, rest, usage=ending.usage)
            yield GenerationChunk(text=rest)
        if failure:
            raise failure
        info: dict[str, Any] = {"finish_reason": ending.finish_reason}
        if ending.usage:
            info["usage"] = ending.usage
        yield GenerationChunk(text="", generation_info=info)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        replies = []
        for prompt in prompts:
            chunks = [c async for c in self._astream(prompt, stop, run_manager, **kwargs)]
            replies.append([functools.reduce(operator.add, chunks)])
        return LLMResult(generations=replies)

    def _generate(self, *_: Any, **__: Any) -> LLMResult:
        raise NotImplementedError(
            f"{type(self).__name__} is async only; use astream() or ainvoke()"
        )


async def _tell(
    run_manager: AsyncCallbackManagerForLLMRun | None, text: str, **known: object
) -> None:
    """Tells LangChain's callbacks of a piece, and what is known by now."""
    if run_manager:
        info = {name: value for name, value in known.items() if value is not None}
        chunk = GenerationChunk(text=text, generation_info=info or None)
        await run_manager.on_llm_new_token(text, chunk=chunk)


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
