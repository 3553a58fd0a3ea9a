"""Node `generate`: the model writes; once more, if the first reply speaks for somebody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from nodes.parse_reply import LONG, cast_of_turn, headings_of, stops_of
from replies.reply import LiveReply
from schemas.base import done
from schemas.errors import LLMError, traced
from schemas.models import Model, Models
from schemas.rag import PromptBuildOutput
from schemas.request import ChatRequest
from schemas.response import ParsedReply, Usage
from schemas.state import Context, Generation, State, request_of

log = logging.getLogger(__name__)

VERY_LONG = 50_000
"""Characters of a reply up to which a step of it is read within 20 ms."""

RETRY_TEMPERATURE = 0.5
"""Least temperature of a second attempt: a greedy one would write the same again."""


class _Ending(BaseCallbackHandler):
    """Keeps what `astream` does not hand out: how the reply ended and what it cost."""

    run_inline = True  # no task for each piece

    def __init__(self, reading: Callable[[int], None]) -> None:
        """Tells `reading` what is read of the prompt."""
        self.info: dict[str, Any] = {}
        self._reading = reading

    def on_llm_new_token(self, token: object, *, chunk: Any = None, **kwargs: Any) -> None:
        """What is known before the end; the usage so far is the last of a reply that is left."""
        known = getattr(chunk, "generation_info", None) or {}
        if "usage" in known:
            self.info = {"usage": known["usage"]}
        if "reading" in known:
            self._reading(known["reading"])

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """The merged generation_info of all chunks."""
        if response.generations and response.generations[0]:
            self.info = response.generations[0][0].generation_info or {}


async def generate_text(
    llm: BaseLLM,
    prompt: str,
    *,
    stop: Sequence[str],
    sampling: Mapping[str, Any],
    hear: Callable[[str], bool],
    reading: Callable[[int], None] = lambda percent: None,
    seconds: float = 300.0,
) -> Generation:
    """Streams a completion; a failure is kept in `error`, beside what was written before it.

    Args:
        prompt: the raw prompt, up to where the model goes on.
        sampling: as in GenConfig, only what is set; and `messages` for a chat endpoint.
        hear: called with each piece of text as it arrives; false ends the work on the server.
        reading: called with the per cent of the prompt that are read, where the server tells.
        seconds: until the reply has to be complete.
    """
    ending, text = _Ending(reading), ""
    try:
        async with asyncio.timeout(seconds):
            config: RunnableConfig = {"callbacks": [ending]}
            stream = llm.astream(prompt, config=config, stop=list(stop), **sampling)
            pieces = cast("AsyncGenerator[str, None]", stream)
            async with aclosing(pieces):  # leaving early ends the work on the server
                async for piece in pieces:
                    text += piece
                    aside = len(piece) > LONG or len(text) > VERY_LONG
                    if piece and not await done(partial(hear, piece), aside=aside):
                        break
    except LLMError as error:
        return _failed(text, error.message, error.retryable)
    except TimeoutError:
        return _failed(text, "the reply was not complete in time; try again later", True)
    except Exception as error:  # noqa: BLE001 - any LangChain LLM may be put in
        log.error("the model failed\n%s", traced(error))
        return _failed(text, f"the model failed ({type(error).__name__}); the log says more", True)
    usage = ending.info.get("usage")
    return Generation(
        text=text,
        finish_reason="length" if ending.info.get("finish_reason") == "length" else "stop",
        usage=Usage.model_validate(usage) if usage else None,
    )


def _failed(text: str, told: str, retryable: bool) -> Generation:
    return Generation(text=text, finish_reason="error", error=told, retryable=retryable)


def sampling_of(request: ChatRequest, context: Context, model: Model) -> dict[str, Any]:
    """The request's choice before the run's, the run's before the model's recommendation."""
    layout = model.layout_for(request.gen.max_new_tokens, context.max_new_tokens)
    chosen: dict[str, Any] = {**model.sampling, "max_new_tokens": layout.max_new_tokens}
    if context.temperature is not None:
        chosen["temperature"] = context.temperature
    asked = request.gen.model_dump(exclude_none=True, exclude={"stop", "max_new_tokens"})
    return chosen | asked


def sampling_again(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling of a second attempt: the next seed, and some chance where there was none."""
    again = {**sampling, "seed": ((sampling.get("seed") or 0) + 1) % 2**32}
    if "temperature" in sampling:
        again["temperature"] = max(sampling["temperature"], RETRY_TEMPERATURE)
    return again


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads `request`, `route` and `prompt`; writes `generation` and `reply`; streams what may be
    shown, and how far the server has read the prompt.

    A reply that begins by speaking for somebody else, or of which nothing is left, is given up as
    soon as that is known, and written once more: from the same prompt, within one deadline.
    """
    request, prompt = request_of(state), state["prompt"]
    model = models.choose(request.model.name)
    voices, stops, before = cast_of_turn(state), stops_of(state), request.reply_start or ""
    clock = asyncio.get_running_loop().time
    ends = clock() + model.deadline

    def reading(percent: int) -> None:
        runtime.stream_writer({"type": "status", "step": "reading", "percent": percent})

    async def write(sampling: dict[str, Any], *, last: bool) -> tuple[Generation, ParsedReply]:
        live = LiveReply(
            voices, stops, headings_of(state), runtime.stream_writer, before=before, last=last
        )
        written = await generate_text(
            model.llm,
            prompt.prompt,
            stop=stops,
            sampling=sampling | ({"messages": prompt.messages} if prompt.messages else {}),
            hear=live.hear,
            reading=reading,
            seconds=ends - clock(),
        )
        usage = written.usage or estimated_usage(prompt, written.text, model)
        reply = await done(partial(live.end, written.finish_reason), aside=len(written.text) > LONG)
        return written.model_copy(update={"usage": usage}), reply

    sampling = sampling_of(request, runtime.context or Context(), model)
    if model.backend == "scripted":  # it writes by rule: notes in the order of time rank nothing
        sampling["best_memory"] = best_memory(state)
    first, reply = await write(sampling, last=False)
    if first.error or not reply.regenerate:
        return {"generation": first, "reply": reply}
    second, last = await write(sampling_again(sampling), last=True)
    known = {"usage": add_usage(first.usage, second.usage), "given_up": list(reply.cuts)}
    return {"generation": second.model_copy(update=known), "reply": last}


def best_memory(state: State) -> str:
    """The text of the memory with the highest score that the prompt holds; empty if it has none."""
    items = state["prompt"].meta["items"]
    delivered = {(item["source"], item["id"]) for item in items if item["delivered"]}
    held = [chunk for chunk in state["chat"].context if (chunk.source, chunk.id) in delivered]
    return max(held, key=lambda chunk: chunk.score or 0.0).text if held else ""


def estimated_usage(prompt: PromptBuildOutput, text: str, model: Model) -> Usage:
    """Usage by our own count, where the server tells none."""
    asked, wrote = prompt.meta["tokens"]["total"], model.count(text)
    return Usage(
        prompt_tokens=asked, completion_tokens=wrote, total_tokens=asked + wrote, estimated=True
    )


def add_usage(*calls: Usage | None) -> Usage:
    """Usage of several calls; cached tokens of those that tell them."""
    told = [usage for usage in calls if usage]
    cached = [usage.cached_tokens for usage in told if usage.cached_tokens is not None]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in told),
        completion_tokens=sum(usage.completion_tokens for usage in told),
        total_tokens=sum(usage.total_tokens for usage in told),
        cached_tokens=sum(cached) if cached else None,
        estimated=any(usage.estimated for usage in told),
    )
