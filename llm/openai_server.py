"""Any server with an OpenAI-compatible `/v1/completions`, asked with the raw prompt, streaming;
or with messages at its `/v1/chat/completions`, where the caller has them (`messages=[...]`).

vLLM            `vllm serve`; cached tokens with `--enable-prompt-tokens-details`
SGLang          `python -m sglang.launch_server`; cached tokens with `--enable-cache-report`
llama.cpp       `llama-server`; as many chats are kept warm as it has slots (`-np`)
Aphrodite       `aphrodite run`; like vLLM
TGI             knows no `min_p`
Runpod          `https://api.runpod.ai/v2/<endpoint>/openai/v1` of a vLLM endpoint, with its key

How the contract of `llm/__init__.py` is met:

- Timeouts. `connect_timeout` for the connection, `first_token_timeout` to the first token, further
  attempts included, and `idle_timeout` from one token to the next. A server that tells how far it
  has read the prompt (llama.cpp) has the first anew with each step. The caller limits the whole.
- Attempts. A connection that fails, HTTP 408, 409, 429 and 5xx are tried again by the `openai`
  package, `max_retries` times, after the server's Retry-After or a growing pause. A server that is
  loading its model (llama.cpp) is asked again until the time for the first token is up. An answer
  that breaks off before its first token is asked for once more. Slowness is no reason: the work
  would start anew. After the first token nothing is tried again.
- Sampling. What is unset is sent as what changes nothing (`OFF`): a server would take its own
  values, or those that a model's files recommend (`models.toml` does that here). Off is -1 for
  `top_k`, which means the same to vLLM, SGLang, Aphrodite and llama.cpp, while 0 is an error to
  some. llama.cpp spells `repetition_penalty` as `repeat_penalty`, so both are sent. Sampling keys
  that are not known here go to the server unchanged. A server that refuses fields that not every
  server knows (`STANDARD`) is asked again without those that its error names by its structure, or
  else without any of them. Its words are not read, since they may be the user's, and the next call
  tries anew.
- What server it is and how much it takes is asked once (`about`, `llm/served.py`); a reply does
  not wait for it.
- `choice` is sent as vLLM's `structured_outputs` and as llama.cpp's `grammar`; other servers write
  freely.
- Stop strings are sent as far as the server takes them, and all are watched here: some servers
  leave them in the text. So is the length (`Room`): a reply that goes on is cut off, and hanging up
  ends the server's work, a token or two later than its own stop would.
- What a server sends is bounded (`Bounded`), and never unpacked: none is asked to compress, and a
  small answer could unpack to gigabytes. No redirect is followed with a prompt or a key.
- Proxies are those of the environment (HTTPS_PROXY, NO_PROXY), as for every program.
- A reply that breaks off raises LLMError after all of its text was yielded. An empty reply is
  none: a stop string may have stood at its beginning.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
    Set,
)
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import httpx2  # the HTTP client of the openai package
import openai
from pydantic import Field, PrivateAttr, SecretStr

from llm.served import Served, count_of, read_models
from llm.streaming import MAX_NEW_TOKENS, Ending, StreamingLLM
from schemas.errors import LLMError, moved

log = logging.getLogger(__name__)

T = TypeVar("T")

STANDARD = frozenset({"messages", "max_tokens", "temperature", "top_p", "seed"})
"""Fields beside model and prompt that every server knows; a reply can do without any other."""

OFF: Mapping[str, object] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""Sampling from the model's own distribution."""

Stream = openai.AsyncStream[object]
"""The chunks as plain JSON: half the work of the package's models, which check nothing anyway."""


class BrokenOff(LLMError):
    """The answer had begun, and ended too early."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


NO_STREAM = (
    "the LLM server sent something that is no stream of completions; check that its address is "
    "that of an OpenAI-compatible API, and ends where `/completions` follows, mostly in `/v1`"
)


class Loading(LLMError):
    """The server has not loaded its model yet."""

    def __init__(self) -> None:
        super().__init__("the LLM server is loading its model; try again later", retryable=True)


class Refused(LLMError):
    """The server does not take the request; `named` are the fields that its error points at."""

    def __init__(self, message: str, named: Set[str]) -> None:
        super().__init__(message)
        self._named = named

    def optional(self, fields: Set[str]) -> Set[str]:
        """Of these fields, what the refusal is about and a reply can do without; where it names
        none of them, that may be any."""
        return (self._named & fields or fields) - STANDARD


@dataclass(frozen=True, slots=True)
class Event:
    """One thing heard: some text, the end of the text, the count of tokens, or which share of the
    prompt is read."""

    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    reading: float | None = None


class Room:
    """What a reply of so many tokens may still hold: characters, of which an event without text
    takes one, unless more of the prompt is read.

    Characters bound tokens of any tokenizer. A token has 4 or 5 of them in English and fewer in
    Korean; the longest, runs of spaces or dashes, have 128, but no text is made of those.
    """

    def __init__(self, tokens: int) -> None:
        self._left = 16 * tokens + 256
        self._read = -1.0

    @property
    def used_up(self) -> bool:
        """Whether more came than there was room for."""
        return self._left < 0

    def take(self, event: Event) -> Event:
        """The event; cut, and the reply's last, where it has no room."""
        if event.reading is not None:
            if event.reading > self._read:
                self._read = event.reading
                return event
            event = replace(event, reading=None)
        self._left -= max(1, len(event.text))
        if not self.used_up:
            return event
        return replace(event, text=event.text[: self._left], finish_reason="length")


class Silence:
    """How long the server may say nothing: some seconds to the first token, then others from one
    to the next."""

    def __init__(self, first: float, idle: float) -> None:
        self._seconds, self._idle, self._time = first, idle, asyncio.get_running_loop().time
        self._ends = self._time() + first
        self.begun = False
        self.loading = False
        """Whether all that it says is that it is loading its model."""
        self.strange = False
        """Whether all that came are chunks without choices."""

    def heard(self, event: Event) -> Event:
        """The event, which may be the first token, or a step on the way to it."""
        if event.text:
            self.begun, self._seconds = True, self._idle
        elif event.reading is not None:
            self._ends = self._time() + self._seconds
        return event

    async def broken_by(self, answer: Awaitable[T]) -> T:
        """What the server answers. Raises LLMError if that is nothing for too long."""
        ends = self._time() + self._idle if self.begun else self._ends
        try:
            async with asyncio.timeout_at(ends):
                return await answer
        except TimeoutError:
            if self.loading:
                raise Loading from None
            raise LLMError(
                f"the LLM server sent nothing for {self._seconds:g} s; try again later",
                retryable=True,
            ) from None


ANSWER = 16_000_000
"""Bytes of an answer at most: 4,096 tokens in an event each, which take 300 to 1,000 bytes, or the
ids of 2,000,000 tokens."""

LINE = 64
"""Bytes that the end of a line stands for: that is the work of it, be the line empty."""

EVENT = 4_000_000
"""Bytes of one event, which are read at once; of an error's body more are left out."""


class Unreadable(openai.OpenAIError):
    """An answer that is not read to its end; says why."""


class Bounded(httpx2.AsyncByteStream):
    """The bytes of an answer; raises Unreadable where there are too many."""

    def __init__(self, response: httpx2.Response) -> None:
        self._bytes = cast(httpx2.AsyncByteStream, response.stream)
        self._failed = not response.is_success

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The parts as they come."""
        answer, event, last = 0, 0, b""
        async for part in self._bytes:
            seen = last + part
            end = max(map(seen.rfind, (b"\n\n", b"\n\r\n", b"\r\r")))
            event = event + len(part) if end < 0 else len(seen) - end
            lines = part.count(b"\n") + part.count(b"\r")
            answer, last = answer + len(part) + LINE * lines, part[-2:]
            if answer > ANSWER or event > EVENT:
                if self._failed:
                    return
                raise Unreadable("the LLM server sends more than any reply can hold; check it")
            yield part

    async def aclose(self) -> None:
        """Closes the answer."""
        await self._bytes.aclose()


async def _bound(response: httpx2.Response) -> None:
    kind = response.headers.get("content-type", "").partition(";")[0]
    streams = response.request.url.path.endswith("/completions")
    if streams and response.is_success and kind in {"text/html", "application/json"}:
        raise Unreadable(NO_STREAM)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unreadable("the LLM server compresses its answer unasked; switch that off there")
    response.stream = Bounded(response)


TOKENIZE_TIMEOUT = 0.5
"""Seconds to hear the tokens of a prompt: it takes some 10 ms, and the reply waits for it."""

MODELS_TIMEOUT = 2.0
"""Seconds to hear which models there are: the first turn waits for it."""

PAUSE = 30.0
"""Seconds without asking that after a failure."""

POLLS = (0.25, 0.5, 1.0, 2.0)
"""Seconds between two looks at a server that loads its model; the last for all further ones."""

USAGE_TIMEOUT = 1.0
"""Seconds that the count of tokens and the end of the stream may take after the last word."""


@dataclass
class About:
    """What is known of a server, by all its models."""

    served: Served | None = None
    silent_until: float = 0.0
    waited: bool = False
    """Whether it was waited for as long as the question may take; then a reply waits the rest."""


class OpenAIServerLLM(StreamingLLM):
    """A model of an OpenAI-compatible server; construction opens nothing.

    `llm.model_copy(update={"model": name})` is another model of the same server that shares the
    connections and `max_concurrency` with this one. Async only: `astream`, `ainvoke`.
    """

    base_url: str = Field(repr=False)
    api_key: SecretStr = SecretStr("")
    connect_timeout: float = Field(5.0, gt=0)
    first_token_timeout: float = Field(300.0, gt=0)
    idle_timeout: float = Field(60.0, gt=0)
    max_retries: int = Field(2, ge=0)
    max_concurrency: int = Field(32, ge=1)
    max_stops: int | None = Field(None, ge=0)
    """Stop strings that the server takes; unset: what is known of its kind."""
    tokenize_timeout: float | None = Field(None, gt=0)
    """Unset: TOKENIZE_TIMEOUT."""

    # One of each for an event loop: an HTTP client breaks in another's loop, a semaphore too.
    _clients: WeakKeyDictionary[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = PrivateAttr(
        default_factory=WeakKeyDictionary
    )
    _places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = PrivateAttr(
        default_factory=WeakKeyDictionary
    )
    _about: About = PrivateAttr(default_factory=About)

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; the next use opens new ones."""
        if client := self._clients.pop(asyncio.get_running_loop(), None):
            await client.close()

    async def about(self) -> Served | None:
        """What server this is, asked until it answers once; None while it does not, for which it
        is given some time. Waits for one that is loading its model, as a reply would."""
        about = self._about
        if about.served is None and time.monotonic() >= about.silent_until:
            try:
                # the reply has the other half, if it is not loaded by then
                async with asyncio.timeout(self.first_token_timeout / 2):
                    about.served = await _when_loaded(self._models)
            except (LLMError, TimeoutError) as error:  # the reply will say so, if it has none
                about.waited = isinstance(error, TimeoutError)
                about.silent_until = time.monotonic() + PAUSE
                log.debug("the LLM server does not list its models yet: %s", error)
        return about.served

    @property
    def _served(self) -> Served:
        """What is known of the server by now."""
        return self._about.served or Served()

    async def _models(self) -> Served:
        """What `/models` says, or nothing where there is no such thing. Raises LLMError where it
        may soon answer."""
        client, once = self._client(), cast(Any, {"max_retries": 0})
        try:
            async with asyncio.timeout(MODELS_TIMEOUT):
                answer = await client.get("/models", cast_to=object, options=once)
        except TimeoutError:
            raise LLMError("the LLM server is slow to list its models", retryable=True) from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            failure = _failure(error)
            if failure.retryable:
                raise failure from None
            return Served()
        return read_models(answer)

    async def tokenize(self, text: str) -> list[int]:
        """Ids of the text's tokens, from the server's `/tokenize` (vLLM, llama.cpp); waits for no
        place among the replies.

        Raises:
            LLMError: the server has none, fails or is slow.
        """
        # vLLM and llama.cpp call the fields differently and pass over those they do not know. Both
        # answer `{"tokens": [...]}`, beside their `/v1`; special tokens read as such, none added.
        vllm = {"model": self.model, "prompt": text, "add_special_tokens": False}
        llama_cpp = {"content": text, "add_special": False, "parse_special": True}
        try:
            async with asyncio.timeout(self.tokenize_timeout or TOKENIZE_TIMEOUT):
                answer = await self._client().post(
                    f"{self.base_url.rstrip('/').removesuffix('/v1')}/tokenize",
                    body={**vllm, **llama_cpp},
                    cast_to=object,
                    options={"max_retries": 0},
                )
        except TimeoutError:
            raise LLMError("the LLM server is slow to count tokens") from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise _failure(error) from None
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise LLMError("the LLM server answered /tokenize with something that is no tokens")
        return tokens

    async def _write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> AsyncGenerator[str, None]:
        loop, fields = asyncio.get_running_loop(), self._fields(stop, sampling)
        async with (
            self._places.setdefault(loop, asyncio.Semaphore(self.max_concurrency)),
            aclosing(self._events(prompt, fields)) as events,
        ):
            async for event in events:
                ending.usage = event.usage or ending.usage
                if event.reading is not None:
                    ending.reading = int(100 * event.reading)
                if event.finish_reason is not None:
                    ending.finish_reason = "length" if event.finish_reason == "length" else "stop"
                yield event.text

    async def _events(
        self, prompt: str, fields: Mapping[str, object]
    ) -> AsyncGenerator[Event, None]:
        """What is heard of a reply, the last with its finish reason. Raises LLMError."""
        room = Room(cast(int, fields["max_tokens"]))
        first = self.first_token_timeout / (2 if self._about.waited else 1)
        silence = Silence(first, self.idle_timeout)
        once_more = self.max_retries > 0
        while True:
            try:
                opened = _when_loaded(partial(self._open, prompt, fields), silence)
                async with await silence.broken_by(opened) as stream:
                    event = await self._next(stream, room, silence)
                    while event.finish_reason is None:
                        yield event
                        event = await self._next(stream, room, silence)
                    yield replace(event, finish_reason=None)
                    usage = await self._last_usage(stream, room, silence)
                yield Event(finish_reason=event.finish_reason, usage=usage)
                return
            except Refused as error:
                if not (refused := error.optional(fields.keys())):
                    raise
                log.info("the LLM server refuses %s: asking without", ", ".join(sorted(refused)))
                fields = {name: fields[name] for name in fields.keys() - refused}
            except BrokenOff:
                if silence.begun or not once_more:
                    raise
                once_more = False

    async def _open(self, prompt: str, fields: Mapping[str, object]) -> Stream:
        """Starts a reply to the prompt, or to the `messages` among the fields. Raises LLMError."""
        body = {**fields, "model": self.model, "stream": True}
        if "messages" in fields:
            path = "/chat/completions"
        else:
            path, body["prompt"] = "/completions", prompt
        try:
            return await self._client().post(
                path, body=body, cast_to=object, stream=True, stream_cls=Stream
            )
        except openai.OpenAIError as error:
            raise _failure(error, self._served.context_of(self.model)) from None

    async def _next(self, stream: Stream, room: Room, silence: Silence) -> Event:
        """The next event that says something. Raises LLMError, also when there is none."""
        try:
            event = await silence.broken_by(_telling(stream, room, silence))
        except StopAsyncIteration:
            if silence.strange:
                raise LLMError(NO_STREAM) from None
            raise BrokenOff("the LLM server hung up before the reply was complete") from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            failure = _failure(error)
            raise BrokenOff(failure.message) if failure.retryable else failure from None
        if event.finish_reason in {"abort", "error"}:  # vLLM, SGLang: the engine gave up
            raise BrokenOff("the LLM server gave the reply up")
        return silence.heard(event)

    async def _last_usage(
        self, stream: Stream, room: Room, silence: Silence
    ) -> dict[str, int] | None:
        """Reads on to the very end, so that the connection can be used again; the usage, if any."""
        usage = None
        with suppress(LLMError, TimeoutError):
            async with asyncio.timeout(USAGE_TIMEOUT):
                while not room.used_up:
                    usage = (await self._next(stream, room, silence)).usage or usage
        return usage

    def _fields(self, stop: Sequence[str], sampling: Mapping[str, Any]) -> dict[str, object]:
        """The request's fields beside model and prompt, in the words of the servers; with
        `messages`, where there are some, in place of the prompt."""
        kind = self._served.kind
        chosen = {name: value for name, value in sampling.items() if value is not None}
        fields = {**OFF, "stream_options": {"include_usage": True}, **kind.fields, **chosen}
        fields.pop("max_new_tokens", None)
        fields["max_tokens"] = _tokens(sampling)
        if fields["top_k"] == 0:
            fields["top_k"] = OFF["top_k"]
        fields["repeat_penalty"] = fields["repetition_penalty"]
        if _goes_on(fields.get("messages")):  # vLLM's and SGLang's words; llama.cpp does so itself
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
        if choice := fields.pop("choice", None):
            fields |= _one_of(cast(Sequence[str], choice))
        most = kind.stops if self.max_stops is None else self.max_stops
        if stops := foremost(stop, most):
            fields["stop"] = stops
        return fields

    def _client(self) -> openai.AsyncOpenAI:
        """The running loop's connections."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = openai.AsyncOpenAI(
                base_url=self.base_url,
                # the package wants one, servers without a key ignore it
                api_key=self.api_key.get_secret_value() or "none",
                max_retries=self.max_retries,
                # It would try again after a timeout, so it has none for the answer.
                timeout=openai.Timeout(None, connect=self.connect_timeout),
                # The package's own client tries to close itself in whatever loop runs when it is
                # collected, and fails loudly if that is not its own.
                http_client=openai.DefaultAsyncHttpxClient(
                    headers={"Accept-Encoding": "identity"},
                    follow_redirects=False,
                    event_hooks={"response": [_bound]},
                ),
            )
        return self._clients[loop]


def _goes_on(messages: object) -> bool:
    """Whether the last message is the beginning of the reply."""
    return isinstance(messages, list) and bool(messages) and messages[-1]["role"] == "assistant"


def _tokens(sampling: Mapping[str, Any]) -> int:
    """Of the reply at most."""
    return int(sampling.get("max_new_tokens") or MAX_NEW_TOKENS)


def foremost(stop: Sequence[str], most: int) -> list[str]:
    """The stop strings that a server gets which takes so many.

    A line that somebody else begins is what a reply runs into that does not end: the user's name
    comes first, then others in the order given. A format's token comes last, since the model ends
    with it anyway.
    """

    def rank(text: str) -> int:
        if text.startswith("\n") and text.endswith(":") and "#" not in text:
            return 0
        return 2 if text.startswith(("<", "[")) else 1

    return sorted(stop, key=rank)[:most] if len(stop) > most else list(stop)


async def _when_loaded(ask: Callable[[], Awaitable[T]], silence: Silence | None = None) -> T:
    """What the server answers once it has loaded its model; the caller limits the time."""
    for pause in chain(POLLS, repeat(POLLS[-1])):
        try:
            answer = await ask()
        except Loading:
            if silence:
                silence.loading = True
            await asyncio.sleep(pause)
        else:
            if silence:
                silence.loading = False
            return answer
    raise AssertionError("pauses have no end")


def _one_of(choice: Sequence[str]) -> dict[str, object]:
    """Fields that hold the reply to one of these strings: vLLM's (from 0.11) and llama.cpp's; a
    server ignores the other's, or refuses it and is asked without."""
    grammar = " | ".join(json.dumps(text, ensure_ascii=False) for text in choice)
    return {"structured_outputs": {"choice": list(choice)}, "grammar": f"root ::= {grammar}"}


async def _telling(stream: Stream, room: Room, silence: Silence) -> Event:
    """The next event that says something, as far as there is room for it."""
    while (event := room.take(_event(chunk := await anext(stream)))) == Event():
        silence.strange = not (isinstance(chunk, dict) and "choices" in chunk)
    silence.strange = False
    return event


def _event(chunk: object) -> Event:
    """A chunk as an event, whatever it is."""
    heard = chunk if isinstance(chunk, dict) else {}
    choices = heard.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        choice = {}
    delta, finish_reason = choice.get("delta"), choice.get("finish_reason")
    text = delta.get("content") if isinstance(delta, dict) else choice.get("text")
    return Event(
        text=text if isinstance(text, str) else "",
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        usage=_usage(heard.get("usage"), heard.get("timings")),
        reading=_reading(heard.get("prompt_progress")),
    )


def _usage(raw: object, timings: object) -> dict[str, int] | None:
    """The server's count of tokens, if it is one. llama.cpp tells it among its timings until the
    reply is complete, and there the cached ones always."""
    cached = count_of(timings, "cache_n")
    if isinstance(raw, dict):
        prompt, completion = count_of(raw, "prompt_tokens"), count_of(raw, "completion_tokens")
        told = count_of(raw.get("prompt_tokens_details"), "cached_tokens")
        cached = cached if told is None else told
    else:
        read, completion = count_of(timings, "prompt_n"), count_of(timings, "predicted_n")
        prompt = None if read is None or cached is None else cached + read
    if prompt is None or completion is None:
        return None
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return usage if cached is None else {**usage, "cached_tokens": cached}


def _reading(raw: object) -> float | None:
    """Which share of the prompt is read, of what was to be read: 0 to 1 (llama.cpp)."""
    total, done = count_of(raw, "total"), count_of(raw, "processed")
    if total is None or done is None:
        return None
    cached = count_of(raw, "cache") or 0
    return min(1.0, max(0, done - cached) / (total - cached)) if total > cached else 1.0


def _failure(error: Exception, context: int | None = None) -> LLMError:
    """The package's error in our words: no address, no key, nothing of the prompt; with the length
    of the server's context, where it is known."""
    log.debug("LLM server: %s", error)
    match error:
        case Unreadable():
            return LLMError(str(error))
        case openai.APIStatusError():
            return _refusal(error.status_code, error.body, context)
        case openai.APIConnectionError():
            return LLMError(
                "the LLM server cannot be reached or hung up; check that it runs, and its address",
                retryable=True,
            )
        case openai.APIError():
            return LLMError(
                "the LLM server reported an error in the middle of its answer", retryable=True
            )
        case _:
            return LLMError(NO_STREAM)


def _refusal(status: int, body: object, context: int | None) -> LLMError:
    """An HTTP status that is not 200, and what to do about it. The server's words decide nothing:
    it may repeat the prompt in them. Its types and numbers do."""
    asked, room = count_of(body, "n_prompt_tokens"), count_of(body, "n_ctx")  # llama.cpp
    match status:
        case 503 if isinstance(body, dict) and body.get("type") == "unavailable_error":
            return Loading()  # llama.cpp
        case 400 if asked is not None and room is not None:
            return LLMError(
                f"the prompt has {asked} tokens and the LLM server takes {room} with the reply; "
                "lower IYAGI_LLM_CONTEXT, or set IYAGI_LLM_TOKENIZER so that tokens are counted"
            )
        case _ if 300 <= status < 400:
            return LLMError(moved("LLM", status, "IYAGI_LLM_URL"))
        case _ if status in {408, 409, 429} or status >= 500:
            return LLMError(
                f"the LLM server is busy or failed (HTTP {status}); try again later", retryable=True
            )
        case 401 | 403:
            return LLMError(f"the LLM server refuses the key (HTTP {status}); check it")
        case 404:
            return LLMError(
                "the LLM server knows no such model or address (HTTP 404); check the model's name, "
                "and that the base URL ends where `/completions` follows, mostly in `/v1`"
            )
        case _:
            return Refused(
                f"the LLM server refuses the request (HTTP {status}); check that IYAGI_LLM_CONTEXT "
                f"is not above {f'its {context} tokens' if context else 'its context length'}, the "
                "model's name and the sampling values",
                _named_fields(body),
            )


def _named_fields(body: object) -> Set[str]:
    """Where a refusal points by its structure: OpenAI's and vLLM's `param` ("min_p"), or the `loc`
    of FastAPI and pydantic (["body", "min_p"]), word by word."""
    error = body if isinstance(body, dict) else {}
    details = error.get("detail")
    located = details if isinstance(details, list) else []
    places = [item.get("loc") for item in located if isinstance(item, dict)]
    return set(re.findall(r"\w+", str([error.get("param"), *places])))
