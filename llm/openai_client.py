"""What is said to an OpenAI-compatible server and heard from it, in our words.

The only module that knows the `openai` package, which takes a second to import: `OpenAIServerLLM`
imports this one in a thread, when it is first used.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine, Mapping, Set
from dataclasses import dataclass
from typing import Any, TypeVar

# The package looks at httpx whenever that is among the loaded modules, and fails while another
# thread is still loading it (Chroma's client does): so it is loaded first.
import httpx  # noqa: F401
import openai

from schemas.errors import LLMError

log = logging.getLogger(__name__)

T = TypeVar("T")

STANDARD = frozenset({"messages", "max_tokens", "temperature", "top_p", "seed"})
"""Fields beside model and prompt that every server knows; a reply can do without any other."""

Stream = openai.AsyncStream[object]
"""The chunks as plain JSON: half the work of the package's models, which check nothing anyway."""


class BrokenOff(LLMError):
    """The answer had begun, and ended too early."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


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
    """One thing heard: some text, the end of the text, or the count of tokens."""

    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] | None = None


class Client:
    """Pooled connections to one server, for one event loop.

    Args:
        connect_timeout: seconds to reach the server.
        idle_timeout: seconds until the next event, keep-alives and empty ones apart; and to the
            first, with what further attempts take.
        max_retries: attempts after the first that the package makes, where no answer has begun.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout: float,
        idle_timeout: float,
        max_retries: int,
    ) -> None:
        self._idle_timeout = idle_timeout
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",  # the package wants one, servers without a key ignore it
            max_retries=max_retries,
            # It would try again after a timeout, so it has none for the answer.
            timeout=openai.Timeout(None, connect=connect_timeout),
            # The package's own client tries to close itself in whatever loop runs when it is
            # collected, and fails loudly if that is not its own.
            http_client=openai.DefaultAsyncHttpxClient(),
        )

    async def open(self, model: str, prompt: str, fields: Mapping[str, object]) -> Stream:
        """Starts a reply to the prompt, or to the `messages` among the fields. Raises LLMError."""
        body = {**fields, "model": model, "stream": True}
        if "messages" in fields:
            path = "/chat/completions"
        else:
            path, body["prompt"] = "/completions", prompt
        answer = self._client.post(path, body=body, cast_to=object, stream=True, stream_cls=Stream)
        try:
            return await self._heard(answer)
        except openai.OpenAIError as error:
            raise _failure(error) from None

    async def next(self, stream: Stream) -> Event:
        """The next event that says something. Raises LLMError, also when there is none."""
        try:
            event = await self._heard(_telling(stream))
        except StopAsyncIteration:
            raise BrokenOff("the LLM server hung up before the reply was complete") from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            failure = _failure(error)
            raise BrokenOff(failure.message) if failure.retryable else failure from None
        if event.finish_reason in {"abort", "error"}:  # vLLM, SGLang: the engine gave up
            raise BrokenOff("the LLM server gave the reply up")
        return event

    async def _heard(self, answer: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._idle_timeout):
                return await answer
        except TimeoutError:
            raise LLMError(
                f"the LLM server sent nothing for {self._idle_timeout:g} s; try again later",
                retryable=True,
            ) from None

    async def tokenize(self, model: str, text: str) -> list[int]:
        """Ids of a text's tokens, special ones read as such and none added. Raises LLMError.

        vLLM and llama.cpp call the fields differently and pass over those they do not know. Both
        answer `{"tokens": [...]}`, beside their `/v1`.
        """
        vllm = {"model": model, "prompt": text, "add_special_tokens": False}
        llama_cpp = {"content": text, "add_special": False, "parse_special": True}
        root = str(self._client.base_url).rstrip("/").removesuffix("/v1")
        try:
            answer = await self._client.post(
                f"{root}/tokenize",
                body={**vllm, **llama_cpp},
                cast_to=object,
                options={"max_retries": 0},
            )
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise _failure(error) from None
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise LLMError("the LLM server answered /tokenize with something that is no tokens")
        return tokens

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()


async def _telling(stream: Stream) -> Event:
    """The next event that says something."""
    while (event := _event(await anext(stream))) == Event():
        pass
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
    )


def _usage(raw: object, timings: object) -> dict[str, int] | None:
    """The server's count of tokens, if it is one; llama.cpp tells the cached ones elsewhere."""
    if not isinstance(raw, dict):
        return None
    prompt, completion = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    if prompt is None or completion is None:
        return None
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    cached = _count(raw.get("prompt_tokens_details"), "cached_tokens")
    if cached is None:
        cached = _count(timings, "cache_n")
    return usage if cached is None else {**usage, "cached_tokens": cached}


def _count(raw: object, name: str) -> int | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, int) and value >= 0 else None


def _failure(error: Exception) -> LLMError:
    """The package's error in our words: no address, no key, nothing of the prompt."""
    log.debug("LLM server: %s", error)
    match error:
        case openai.APIStatusError():
            return _refusal(error.status_code, error.body)
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
            return LLMError(
                "the LLM server sent something that is no stream of completions; "
                "check that its address is that of an OpenAI-compatible API"
            )


def _refusal(status: int, body: object) -> LLMError:
    """An HTTP status that is not 200, and what to do about it. The server's words decide nothing:
    it may repeat the prompt in them."""
    match status:
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
                "is not above the context length it was started with, the model's name and the "
                "sampling values",
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
