"""What our backends share: the contract of `llm/__init__.py`, made of the raw pieces of a reply."""

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

from llm.text_stream import TextStream
from schemas.errors import LLMError

MAX_NEW_TOKENS = 300
"""Where the caller says nothing: servers would stop after 16, as OpenAI's API has it."""


@dataclass
class Ending:
    """How a reply ended; the backend fills it in."""

    finish_reason: str = "stop"
    usage: dict[str, int] | None = None


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
        text, ending, failure = TextStream(stop or ()), Ending(), None
        try:
            async with aclosing(self._write(prompt, stop or [], kwargs, ending)) as pieces:
                async for piece in pieces:
                    if certain := text.feed(piece):
                        yield await _chunk(certain, run_manager)
                    if text.stopped:
                        ending.finish_reason = "stop"
                        break
        except LLMError as error:
            failure = error
        if rest := text.flush():
            yield await _chunk(rest, run_manager)
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


async def _chunk(text: str, run_manager: AsyncCallbackManagerForLLMRun | None) -> GenerationChunk:
    """A piece for LangChain, told to its callbacks."""
    chunk = GenerationChunk(text=text)
    if run_manager:
        await run_manager.on_llm_new_token(text, chunk=chunk)
    return chunk
