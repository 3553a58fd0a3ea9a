"""What our streaming models share: LangChain's other calls, made of `_astream`."""

from __future__ import annotations

import functools
import operator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import LLMResult


class AsyncOnlyLLM(BaseLLM):
    """A model that streams; `ainvoke` gathers the stream, and blocking calls are refused."""

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        raise NotImplementedError(
            f"{type(self).__name__} is async only; use astream() or ainvoke()"
        )

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
