"""Plain work of a language model, for clients that want a text and no turn of a chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import ValidationError

from nodes.generate import estimated_usage, generate_text
from prompts.plain import plain_prompt, raw_prompt
from replies.plain import PlainReader
from schemas.completion import CompletionRequest, CompletionResponse
from schemas.errors import BadRequest
from schemas.models import Model, Models
from schemas.rag import PromptBuildOutput, PromptLayout
from schemas.state import Generation


async def complete(models: Models, payload: object) -> AsyncGenerator[dict[str, Any], None]:
    """What the model writes, as it comes.

        {"type": "token", "text": ...}
        {"type": "final", "response": {...}}     last: a CompletionResponse as JSON data

    Args:
        models: on offer.
        payload: a CompletionRequest as JSON data.

    Raises:
        BadRequest: the payload is at fault.
    """
    try:
        request = CompletionRequest.model_validate(payload)
    except ValidationError as error:
        raise BadRequest.from_validation(error, CompletionRequest) from None
    model = await models.meet(request.model.name)
    layout = model.layout_for(request.gen.max_new_tokens)
    prompt = await _prompt(request, model, layout)
    stops = [*prompt.stop, *request.gen.stop]
    reader = PlainReader(stops, opening=request.prompt is None)
    shown: asyncio.Queue[str | None] = asyncio.Queue()

    def hear(piece: str) -> bool:
        shown.put_nowait(reader.feed(piece))
        return not reader.done

    asked = request.gen.model_dump(exclude_none=True, exclude={"stop", "max_new_tokens"})
    sampling = {**model.sampling, "max_new_tokens": layout.max_new_tokens, **asked}
    if prompt.messages:
        sampling["messages"] = prompt.messages
    writing = asyncio.create_task(
        generate_text(
            model.llm, prompt.prompt, stop=stops, sampling=sampling, hear=hear,
            seconds=model.deadline,
        )
    )  # fmt: skip
    writing.add_done_callback(lambda _: shown.put_nowait(None))
    try:
        while (text := await shown.get()) is not None:
            if text:
                yield {"type": "token", "text": text}
        written = await writing
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({writing})
    if rest := reader.end():
        yield {"type": "token", "text": rest}
    response = _response(written, reader.text, prompt, model)
    yield {"type": "final", "response": response.model_dump(mode="json")}


async def _prompt(
    request: CompletionRequest, model: Model, layout: PromptLayout
) -> PromptBuildOutput:
    if request.prompt is not None:
        return await model.counted(partial(raw_prompt, request.prompt, layout), aside=True)
    return await model.counted(partial(plain_prompt, request.messages, layout), aside=True)


def _response(
    written: Generation, text: str, prompt: PromptBuildOutput, model: Model
) -> CompletionResponse:
    return CompletionResponse(
        text=text,
        finish_reason=written.finish_reason,
        usage=written.usage or estimated_usage(prompt, written.text, model),
        error=written.error,
        retryable=written.error is not None and written.retryable,
    )
