"""Any server with an OpenAI-compatible `/v1/completions`, asked with the raw prompt, streaming;
or with messages at its `/v1/chat/completions`, where the caller has them (`messages=[...]`).

vLLM            `vllm serve`; cached tokens with `--enable-prompt-tokens-details`
SGLang          `python -m sglang.launch_server`; cached tokens with `--enable-cache-report`
llama.cpp       `llama-server`; as many chats are kept warm as it has slots (`-np`)
Aphrodite       `aphrodite run`; like vLLM
TGI             `--max-stop-sequences 32`, it takes 4 by default; it knows no `min_p`
Runpod          `https://api.runpod.ai/v2/<endpoint>/openai/v1` of a vLLM endpoint, with its key

How the contract of `llm/__init__.py` is met:

- Timeouts. `connect_timeout` for the connection, `idle_timeout` from one token to the next (and to
  the first), `deadline` for all: queue, attempts and reply.
- Attempts. A connection that fails, HTTP 408, 429 and 5xx, and an answer that breaks off before
  its first token are tried again, `max_retries` times, after the server's Retry-After or a growing
  pause with jitter. Slowness is not: the work would start anew. After the first token nothing is.
- Sampling. `top_k` 0 (off) is sent as -1, which means the same to vLLM, SGLang, Aphrodite and
  llama.cpp, while 0 is an error to some. llama.cpp spells `repetition_penalty` as
  `repeat_penalty`, so both are sent. A server that refuses fields by name (`stream_options`, or
  those that OpenAI does not have) is asked again without them, and from then on. Sampling keys
  that are not known here go to the server unchanged.
- `choice` is sent as vLLM's `structured_outputs` and as llama.cpp's `grammar`; other servers write
  freely.
- Stop strings are sent, and watched here too: some servers leave them in the text.
- A reply that breaks off raises LLMError after all of its text was yielded. An empty reply is
  none: a stop string may have stood at its beginning.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.outputs import GenerationChunk
from pydantic import Field, PrivateAttr, SecretStr

from llm.async_only import AsyncOnlyLLM
from llm.failures import Refused, Transient
from llm.per_loop import PerLoop
from llm.text_stream import TextStream
from schemas.errors import LLMError

if TYPE_CHECKING:
    from llm.openai_wire import Event, Stream, Wire

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_NEW_TOKENS = 300
"""Where the caller says nothing: servers would stop after 16, as OpenAI's API has it."""

PATIENCE = 20.0
"""Longest pause before another attempt, in seconds: somebody waits for the reply."""

TOKENIZING = 0.5
"""Seconds to hear the tokens of a prompt: it takes some 10 ms, and the reply waits for it."""

TOKENIZED_AT_ONCE = 8

AFTERMATH = 1.0
"""Seconds that the count of tokens and the end of the stream may take after the last word."""


@dataclass
class _Ending:
    """How a reply ended."""

    finish_reason: str = "stop"
    usage: dict[str, int] | None = None


class OpenAIServerLLM(AsyncOnlyLLM):
    """A model of an OpenAI-compatible server; construction opens nothing.

    `llm.model_copy(update={"model": name})` is another model of the same server that shares the
    connections and `max_concurrency` with this one. Async only: `astream`, `ainvoke`.
    """

    base_url: str = Field(repr=False)
    model: str
    api_key: SecretStr = SecretStr("")
    connect_timeout: float = Field(5.0, gt=0)
    idle_timeout: float = Field(60.0, gt=0)
    deadline: float = Field(300.0, gt=0)
    max_retries: int = Field(2, ge=0)
    backoff: float = Field(0.5, ge=0)
    """Longest pause before the second attempt, in seconds; it doubles with each further one."""
    max_concurrency: int = Field(32, ge=1)

    _connections: PerLoop = PrivateAttr()
    _tokenizing: PerLoop = PrivateAttr()  # never waits for a place among the replies
    _unknown: set[str] = PrivateAttr(default_factory=set)

    def model_post_init(self, context: Any) -> None:
        """Prepares the connections without opening one."""
        super().model_post_init(context)
        self._connections = PerLoop(self._connect, self.max_concurrency)
        self._tokenizing = PerLoop(self._connect, TOKENIZED_AT_ONCE)

    @property
    def _llm_type(self) -> str:
        return "openai_server"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.model}

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; the next use opens new ones."""
        await self._connections.aclose()
        await self._tokenizing.aclose()

    async def tokenize(self, text: str) -> list[int]:
        """Ids of the text's tokens, from the server's `/tokenize` (vLLM, llama.cpp).

        Raises:
            LLMError: the server has none, fails or is slow.
        """
        try:
            async with self._tokenizing.place(_now() + self.connect_timeout) as wire:
                async with asyncio.timeout(TOKENIZING):
                    return await wire.tokenize(self.model, text)
        except TimeoutError:
            raise LLMError("the LLM server is slow to count tokens") from None

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        ends = _now() + self.deadline
        ending = _Ending()
        async with aclosing(self._pieces(prompt, stop or [], kwargs, ends, ending)) as pieces:
            async for piece in pieces:
                chunk = GenerationChunk(text=piece)
                if run_manager:
                    await run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
        info: dict[str, Any] = {"finish_reason": ending.finish_reason}
        if ending.usage:
            info["usage"] = ending.usage
        yield GenerationChunk(text="", generation_info=info)

    async def _pieces(
        self,
        prompt: str,
        stop: list[str],
        sampling: Mapping[str, Any],
        ends: float,
        ending: _Ending,
    ) -> AsyncGenerator[str, None]:
        """The reply's text up to a stop string, none of it empty; `ending` is filled in."""
        text = TextStream(stop)
        async with AsyncExitStack() as stack:
            try:
                wire = await stack.enter_async_context(self._connections.place(ends))
            except TimeoutError:
                raise self._too_late() from None
            stream, event = await self._begin(wire, prompt, _fields(stop, sampling), ends)
            await stack.enter_async_context(stream)
            while event.finish_reason is None:
                if piece := text.feed(event.text):
                    yield piece
                if text.stopped:
                    return
                try:
                    event = await self._heard(wire.next(stream), ends)
                except LLMError:
                    if piece := text.flush():
                        yield piece
                    raise
            if piece := text.feed(event.text) + text.flush():
                yield piece
            if event.finish_reason == "length" and not text.stopped:
                ending.finish_reason = "length"
            ending.usage = await self._aftermath(wire, stream, ends) or event.usage

    async def _aftermath(self, wire: Wire, stream: Stream, ends: float) -> dict[str, int] | None:
        """Reads on to the very end, so that the connection can be used again; the usage, if any."""
        usage = None
        ends = min(ends, _now() + AFTERMATH)
        with suppress(LLMError):
            while True:
                usage = (await self._heard(wire.next(stream), ends)).usage or usage
        return usage

    async def _begin(
        self, wire: Wire, prompt: str, fields: dict[str, object], ends: float
    ) -> tuple[Stream, Event]:
        """Opens the stream and hears its first event, in as many attempts as are allowed."""
        pause = self.backoff
        left = self.max_retries
        without = set(self._unknown)
        while True:
            sent = {name: value for name, value in fields.items() if name not in without}
            try:
                async with AsyncExitStack() as stack:
                    stream = await self._heard(wire.open(self.model, prompt, sent), ends)
                    await stack.enter_async_context(stream)
                    event = await self._heard(wire.next(stream), ends)
                    stack.pop_all()  # the caller closes the stream
                self._unknown |= without
                return stream, event
            except Refused as error:
                if not (named := error.fields & sent.keys()):
                    raise
                log.warning("the LLM server refuses %s: going on without", ", ".join(sorted(named)))
                without |= named
            except Transient as error:
                wait = error.wait + pause * random.uniform(0.5, 1.0)
                if not left or wait > PATIENCE or _now() + wait >= ends:
                    raise
                left -= 1
                pause *= 2
                await asyncio.sleep(wait)

    async def _heard(self, answer: Coroutine[Any, Any, T], ends: float) -> T:
        """Waits for the server, within `idle_timeout` and until `ends` on the loop's clock."""
        try:
            async with asyncio.timeout_at(min(ends, _now() + self.idle_timeout)):
                return await answer
        except TimeoutError:
            if _now() >= ends:
                raise self._too_late() from None
            raise LLMError(
                f"the LLM server sent nothing for {self.idle_timeout:g} s; try again later",
                retryable=True,
            ) from None

    def _connect(self) -> Wire:
        """Slow: imports the `openai` package and loads certificates."""
        from llm.openai_wire import Wire

        return Wire(self.base_url, self.api_key.get_secret_value(), self.connect_timeout)

    def _too_late(self) -> LLMError:
        return LLMError(
            f"the reply was not complete after {self.deadline:g} s; try again later",
            retryable=True,
        )


def _fields(stop: list[str], sampling: Mapping[str, Any]) -> dict[str, object]:
    """The request's fields beside model and prompt, in the words of the servers; with `messages`,
    where there are some, in place of the prompt."""
    fields = {name: value for name, value in sampling.items() if value is not None}
    fields["max_tokens"] = fields.pop("max_new_tokens", MAX_NEW_TOKENS)
    if fields.get("top_k") == 0:
        fields["top_k"] = -1
    if "repetition_penalty" in fields:
        fields["repeat_penalty"] = fields["repetition_penalty"]
    if choice := fields.pop("choice", None):
        fields |= _one_of(choice)
    if stop:
        fields["stop"] = stop
    fields["stream_options"] = {"include_usage": True}
    return fields


def _one_of(choice: object) -> dict[str, object]:
    """Fields that hold the reply to one of these strings: vLLM's (from 0.11) and llama.cpp's; a
    server ignores the other's, or refuses it by name and is asked without."""
    texts = [str(text) for text in choice] if isinstance(choice, list) else []
    grammar = " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)
    return {"structured_outputs": {"choice": texts}, "grammar": f"root ::= {grammar}"}


def _now() -> float:
    """The running loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
