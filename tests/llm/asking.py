"""Asking a model, and what a reader of its reply learns."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import LLMResult

from schemas.errors import LLMError


class Ending(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.info: dict[str, Any] = {}
        self.tokens: list[str] = []

    async def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.tokens.append(token)

    async def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        self.info = response.generations[0][0].generation_info or {}


async def reply(llm: BaseLLM, **options: Any) -> tuple[list[str], dict[str, Any]]:
    """The pieces of a reply that are not empty, and how it ended."""
    ending = Ending()
    config: Any = {"callbacks": [ending]}
    pieces = [p async for p in llm.astream("The prompt:", config=config, **options) if p]
    assert ending.tokens == pieces
    return pieces, ending.info


async def failing(llm: BaseLLM, **options: Any) -> tuple[str, LLMError]:
    """What was said before the failure, and the failure."""
    said = ""
    with pytest.raises(LLMError) as caught:
        async for piece in llm.astream("The prompt:", **options):
            said += piece
    message = caught.value.message
    assert "127.0.0.1" not in message
    assert "The prompt" not in message
    return said, caught.value
