"""Any server with an OpenAI-compatible `/v1/completions`, asked with the raw prompt, streaming;
or with messages at its `/v1/chat/completions`, where the caller has them (`messages=[...]`).

vLLM            `vllm serve`; cached tokens with `--enable-prompt-tokens-details`
SGLang          `python -m sglang.launch_server`; cached tokens with `--enable-cache-report`
llama.cpp       `llama-server`; as many chats are kept warm as it has slots (`-np`)
Aphrodite       `aphrodite run`; like vLLM
TGI             `--max-stop-sequences 32`, it takes 4 by default; it knows no `min_p`
Runpod          `https://api.runpod.ai/v2/<endpoint>/openai/v1` of a vLLM endpoint, with its key

How the contract of `llm/__init__.py` is met:

- Timeouts. `connect_timeout` for the connection, `idle_timeout` from one token to the next, and to
  the first, further attempts included. The caller limits the whole.
- Attempts. A connection that fails, HTTP 408, 409, 429 and 5xx are tried again by the `openai`
  package, `max_retries` times, after the server's Retry-After or a growing pause. An answer that
  breaks off before its first token is asked for once more. Slowness is no reason: the work would
  start anew. After the first token nothing is tried again.
- Sampling. `top_k` 0 (off) is sent as -1, which means the same to vLLM, SGLang, Aphrodite and
  llama.cpp, while 0 is an error to some. llama.cpp spells `repetition_penalty` as
  `repeat_penalty`, so both are sent. Sampling keys that are not known here go to the server
  unchanged. A server that refuses fields that not every server knows (`STANDARD`) is asked again
  without those that its error names by its structure, or else without any of them. Its words are
  not read, since they may be the user's, and the next call tries anew.
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
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pydantic import Field, PrivateAttr, SecretStr

from llm.streaming import MAX_NEW_TOKENS, Ending, StreamingLLM
from schemas.errors import LLMError

if TYPE_CHECKING:
    from llm.openai_client import Client, Event, Stream

log = logging.getLogger(__name__)

TOKENIZE_TIMEOUT = 0.5
"""Seconds to hear the tokens of a prompt: it takes some 10 ms, and the reply waits for it."""

USAGE_TIMEOUT = 1.0
"""Seconds that the count of tokens and the end of the stream may take after the last word."""


class OpenAIServerLLM(StreamingLLM):
    """A model of an OpenAI-compatible server; construction opens nothing.

    `llm.model_copy(update={"model": name})` is another model of the same server that shares the
    connections and `max_concurrency` with this one. Async only: `astream`, `ainvoke`.
    """

    base_url: str = Field(repr=False)
    api_key: SecretStr = SecretStr("")
    connect_timeout: float = Field(5.0, gt=0)
    idle_timeout: float = Field(60.0, gt=0)
    max_retries: int = Field(2, ge=0)
    max_concurrency: int = Field(32, ge=1)

    # One of each for an event loop: an HTTP client breaks in another's loop, a semaphore too.
    _clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = PrivateAttr(
        default_factory=WeakKeyDictionary
    )
    _places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = PrivateAttr(
        default_factory=WeakKeyDictionary
    )

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; the next use opens new ones."""
        if client := self._clients.pop(asyncio.get_running_loop(), None):
            await client.close()

    async def tokenize(self, text: str) -> list[int]:
        """Ids of the text's tokens, from the server's `/tokenize` (vLLM, llama.cpp); waits for no
        place among the replies.

        Raises:
            LLMError: the server has none, fails or is slow.
        """
        client = await self._client()
        try:
            async with asyncio.timeout(TOKENIZE_TIMEOUT):
                return await client.tokenize(self.model, text)
        except TimeoutError:
            raise LLMError("the LLM server is slow to count tokens") from None

    async def _write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        async with self._places.setdefault(loop, asyncio.Semaphore(self.max_concurrency)):
            client = await self._client()
            stream, event = await self._begin(client, prompt, _fields(stop, sampling))
            async with stream:
                while event.finish_reason is None:
                    yield event.text
                    event = await client.next(stream)
                yield event.text
                ending.finish_reason = "length" if event.finish_reason == "length" else "stop"
                ending.usage = await _usage(client, stream) or event.usage

    async def _begin(
        self, client: Client, prompt: str, fields: dict[str, object]
    ) -> tuple[Stream, Event]:
        """Opens the stream and hears its first event; the caller closes the stream."""
        from llm.openai_client import BrokenOff, Refused

        once_more = self.max_retries > 0
        while True:
            try:
                async with AsyncExitStack() as stack:
                    stream = await client.open(self.model, prompt, fields)
                    await stack.enter_async_context(stream)
                    event = await client.next(stream)
                    stack.pop_all()
                    return stream, event
            except Refused as error:
                if not (refused := error.optional(fields.keys())):
                    raise
                log.info("the LLM server refuses %s: asking without", ", ".join(sorted(refused)))
                fields = {name: fields[name] for name in fields.keys() - refused}
            except BrokenOff:
                if not once_more:
                    raise
                once_more = False

    async def _client(self) -> Client:
        """The running loop's connections; the first use imports the `openai` package, in a thread:
        it takes a second."""
        loop = asyncio.get_running_loop()
        if (client := self._clients.get(loop)) is None:
            made = await asyncio.to_thread(self._connect)
            client = self._clients.setdefault(loop, made)
        return client

    def _connect(self) -> Client:
        from llm.openai_client import Client

        return Client(
            self.base_url,
            self.api_key.get_secret_value(),
            connect_timeout=self.connect_timeout,
            idle_timeout=self.idle_timeout,
            max_retries=self.max_retries,
        )


async def _usage(client: Client, stream: Stream) -> dict[str, int] | None:
    """Reads on to the very end, so that the connection can be used again; the usage, if any."""
    usage = None
    with suppress(LLMError, TimeoutError):
        async with asyncio.timeout(USAGE_TIMEOUT):
            while True:
                usage = (await client.next(stream)).usage or usage
    return usage


def _fields(stop: Sequence[str], sampling: Mapping[str, Any]) -> dict[str, object]:
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
        fields["stop"] = list(stop)
    fields["stream_options"] = {"include_usage": True}
    return fields


def _one_of(choice: Sequence[str]) -> dict[str, object]:
    """Fields that hold the reply to one of these strings: vLLM's (from 0.11) and llama.cpp's; a
    server ignores the other's, or refuses it and is asked without."""
    grammar = " | ".join(json.dumps(text, ensure_ascii=False) for text in choice)
    return {"structured_outputs": {"choice": list(choice)}, "grammar": f"root ::= {grammar}"}
