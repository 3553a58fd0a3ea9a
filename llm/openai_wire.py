"""What is said to an OpenAI-compatible server and heard from it, in our words.

The only module that knows the `openai` package, which takes a second to import: `OpenAIServerLLM`
imports this one in a thread, when it is first used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

# The package looks at httpx whenever that is among the loaded modules, and fails while another
# thread is still loading it (Chroma's client does): so it is loaded first.
import httpx  # noqa: F401
import openai

from llm.failures import Refused, Transient
from schemas.errors import LLMError

log = logging.getLogger(__name__)

EXTENSIONS = frozenset(
    {"stream_options", "top_k", "min_p", "repetition_penalty", "repeat_penalty"}
    | {"structured_outputs", "grammar"}
)
"""Fields of a request that some servers do not know; a reply without them is still a reply."""

Stream = openai.AsyncStream[object]
"""The chunks as plain JSON: half the work of the package's models, which check nothing anyway."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing heard: some text, the end of the text, or the count of tokens."""

    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] | None = None


class Wire:
    """Pooled connections to one server, for one event loop.

    It waits without limit for an answer, since a prompt may take long to read: the caller limits
    the time. It tries once: the caller decides about a second time.
    """

    def __init__(self, base_url: str, api_key: str, connect_timeout: float) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",  # the package wants one, servers without a key ignore it
            max_retries=0,
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
        try:
            return await self._client.post(
                path, body=body, cast_to=object, stream=True, stream_cls=Stream
            )
        except openai.OpenAIError as error:
            raise _failure(error) from None

    async def next(self, stream: Stream) -> Event:
        """The next event that says something. Raises LLMError, also when there is none."""
        while True:
            try:
                event = _event(await anext(stream))
            except StopAsyncIteration:
                raise Transient("the LLM server hung up before the reply was complete") from None
            except (openai.OpenAIError, ValueError, RecursionError) as error:
                raise _failure(error) from None
            if event.finish_reason in {"abort", "error"}:  # vLLM, SGLang: the engine gave up
                raise Transient("the LLM server gave the reply up")
            if event != Event():
                return event

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
                f"{root}/tokenize", body={**vllm, **llama_cpp}, cast_to=object
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
            return _refusal(error.status_code, str(error.body), error.response.headers)
        case openai.APIConnectionError():
            return Transient(
                "the LLM server cannot be reached or hung up; check that it runs, and its address"
            )
        case openai.APIError():
            return Transient("the LLM server reported an error in the middle of its answer")
        case _:
            return LLMError(
                "the LLM server sent something that is no stream of completions; "
                "check that its address is that of an OpenAI-compatible API"
            )


def _refusal(status: int, words: str, headers: Mapping[str, str]) -> LLMError:
    """An HTTP status that is not 200, and what to do about it."""
    match status:
        case 408 | 429:
            return Transient(
                f"the LLM server is too busy (HTTP {status}); try again later",
                wait=_retry_after(headers),
            )
        case _ if status >= 500:
            return Transient(
                f"the LLM server failed (HTTP {status}); try again later",
                wait=_retry_after(headers),
            )
        case 401 | 403:
            return LLMError(f"the LLM server refuses the key (HTTP {status}); check it")
        case 404:
            return LLMError(
                "the LLM server knows no such model or address (HTTP 404); check the model's name, "
                "and that the base URL ends where `/completions` follows, mostly in `/v1`"
            )
        case 400 | 413 | 422 if re.search(r"context|too long|max_new_tokens", words):
            return LLMError(
                f"the prompt does not fit the model's context (HTTP {status}); "
                "set the context length that the server was started with"
            )
        case _:
            named = {field for field in EXTENSIONS if re.search(rf"\b{field}\b", words)}
            return Refused(
                f"the LLM server refuses the request (HTTP {status}); "
                "check the model's name and the sampling values",
                fields=named,
            )


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait; a date instead of seconds counts as nothing."""
    value = headers.get("retry-after", "")
    return float(value) if re.fullmatch(r"\d{1,6}(\.\d+)?", value) else 0.0
