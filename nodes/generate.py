"""Node `generate`: the model writes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import LLMResult
from langgraph.runtime import Runtime

from schemas.errors import LLMError
from schemas.models import Model, Models
from schemas.request import ChatRequest
from schemas.response import Usage
from schemas.state import Context, Generation, State, request_of

log = logging.getLogger(__name__)


class _Ending(AsyncCallbackHandler):
    """Keeps what `astream` does not hand out: how the reply ended and what it cost."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = {}

    async def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """The merged generation_info of all chunks."""
        if response.generations and response.generations[0]:
            self.info = response.generations[0][0].generation_info or {}


async def generate_text(
    llm: BaseLLM,
    prompt: str,
    *,
    stop: Sequence[str],
    sampling: Mapping[str, Any],
    on_token: Callable[[str], None],
) -> Generation:
    """Streams a completion; a failure is kept in `error`, beside what was written before it.

    Args:
        prompt: the raw prompt, up to where the model goes on.
        sampling: as in GenConfig, only what is set.
        on_token: called with each piece of text as it arrives.
    """
    ending, text = _Ending(), ""
    try:
        stream = llm.astream(prompt, config={"callbacks": [ending]}, stop=list(stop), **sampling)
        pieces = cast("AsyncGenerator[str, None]", stream)
        async with aclosing(pieces):  # leaving early ends the work on the server
            async for piece in pieces:
                if piece:
                    text += piece
                    on_token(piece)
    except LLMError as error:
        return Generation(text=text, finish_reason="error", error=error.message)
    except Exception as error:  # any LangChain LLM may be put in, with exceptions of its own
        log.exception("the model failed")
        told = f"the model failed ({type(error).__name__}); the log says more"
        return Generation(text=text, finish_reason="error", error=told)
    usage = ending.info.get("usage")
    return Generation(
        text=text,
        finish_reason="length" if ending.info.get("finish_reason") == "length" else "stop",
        usage=Usage.model_validate(usage) if usage else None,
    )


def sampling_of(request: ChatRequest, context: Context, model: Model) -> dict[str, Any]:
    """The request's choice before the run's, the run's before the model's recommendation."""
    layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
    chosen: dict[str, Any] = {**model.sampling, "max_new_tokens": layout.max_new_tokens}
    if context.temperature is not None:
        chosen["temperature"] = context.temperature
    asked = request.gen.model_dump(exclude_none=True, exclude={"stop", "max_new_tokens"})
    return chosen | asked


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads `request` and `prompt`; writes `generation`; streams tokens as custom events."""
    request, prompt = request_of(state), state["prompt"]
    model = models.choose(request.model.name)
    generation = await generate_text(
        model.llm,
        prompt.prompt,
        stop=[*prompt.stop, *request.gen.stop],
        sampling=sampling_of(request, runtime.context or Context(), model),
        on_token=lambda text: runtime.stream_writer({"type": "token", "text": text}),
    )
    return {"generation": generation}
