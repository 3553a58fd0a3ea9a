"""A model that llama.cpp runs in this process, for a trial without a server (extra `llamacpp`).

How the contract of `llm/__init__.py` is met:

- The package `xllamacpp` runs llama.cpp's own server on a loopback port, behind a key that only
  this process knows; `OpenAIServerLLM` asks it as it asks any server.
- The model is found or downloaded, and loaded, in a thread of its own when it is first needed:
  for the worker in its warm-up turn. All who come meanwhile wait for the same; a failure is told
  to all of them and to the rest of the turn, and a later turn tries anew.
- One reply at a time: two would only share the cores. The server has two slots, so that a reply
  need not wait for one that was just left, and keeps the beginnings of chats in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import openai
from pydantic import Field, PrivateAttr, SecretStr

from llm.gguf import cores, fetch, free_memory, read_header
from llm.openai_server import OpenAIServerLLM
from llm.served import Served
from llm.streaming import Ending
from schemas.errors import IyagiError, LLMError, SettingsError, traced

log = logging.getLogger(__name__)

T = TypeVar("T")

SLOTS = 2

BATCH = 256
"""Tokens of a prompt that are read at once. A reply that is left ends with its batch: on one slow
core .7 s with 256 and 17 s with 2,048."""

CACHE_MIB = 128
"""Memory for beginnings of chats that are in no slot: four of SmolLM2's, at least one of any."""

PAUSE = 30.0
"""Seconds for which a failure is remembered. A turn needs the model three times (its context, its
tokens, its reply), and each would wait for the same download to fail."""

OVERHEAD = 100_000_000
"""Bytes that the server and its computing take beside weights and context."""


def runtime() -> Any:
    """The package that runs models.

    Raises:
        SettingsError: it is missing, or cannot run here; names the cure.
    """
    # Threads that wait by spinning are slower than one alone where others want the cores, too: 4
    # tokens a second against 22. Read when the library is first loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ModuleNotFoundError:
        raise SettingsError(
            'IYAGI_LLM=llamacpp needs its extra: make model, or pip install ".[llamacpp]"'
        ) from None
    except ImportError as error:
        library = "libgomp.so.1" if "libgomp" in str(error) else "a library of the system"
        raise SettingsError(
            f"IYAGI_LLM=llamacpp needs {library}; on Debian and Ubuntu: apt-get install libgomp1"
        ) from None
    return xllamacpp


class LlamaCppLLM(OpenAIServerLLM):
    """A model in this process; construction loads nothing. Async only: `astream`, `ainvoke`.

    Raises:
        SettingsError: the package is missing, or cannot run here.
    """

    path: Path | None = Field(None, repr=False)
    """The model's file; unset: `model` is a name as in `llm/gguf.py`."""
    folder: Path = Field(repr=False)
    """Where downloads are kept."""
    context_length: int = 4096
    base_url: str = Field("", repr=False)
    max_concurrency: int = 1
    tokenize_timeout: float | None = 5.0
    """Longer than of a server: where the cores are busy, the reply takes long anyway."""

    _server: Any = PrivateAttr(None)
    _loading: Future[None] | None = PrivateAttr(None)
    _failed_at: float = PrivateAttr(0.0)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def model_post_init(self, context: Any, /) -> None:
        """Says at the start what is missing."""
        super().model_post_init(context)
        runtime()

    async def about(self) -> Served | None:
        """What server this is, when the model is loaded; None where it cannot be, as the reply will
        say."""
        try:
            await self._ready()
        except IyagiError:
            return None
        return await super().about()

    async def tokenize(self, text: str) -> list[int]:
        """Ids of the text's tokens. Raises LLMError."""
        await self._ready()
        return await super().tokenize(text)

    async def _write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> AsyncGenerator[str, None]:
        await self._ready()
        async with aclosing(super()._write(prompt, stop, sampling, ending)) as pieces:
            async for piece in pieces:
                yield piece

    async def _ready(self) -> None:
        """Waits until the model is loaded. Raises LLMError, SettingsError."""
        if self._server is not None:
            return
        with self._lock:
            loading = self._loading
            if loading is None or (loading.done() and time.monotonic() > self._failed_at + PAUSE):
                loading = self._loading = _in_background(self._try_to_load)
        await asyncio.wrap_future(loading)

    def _try_to_load(self) -> None:
        """In the thread: `_load`, and when it failed."""
        try:
            self._load()
        except BaseException:
            self._failed_at = time.monotonic()
            raise

    def _load(self) -> None:
        """In the thread: starts the server, which loads the model."""
        if self._server is not None:
            return
        path = self.path or fetch(self.model, self.folder)
        header = read_header(path)
        # Not known at the start where the file was not here; the server tells it to who plans.
        self.context_length = min(self.context_length, header.context_length or self.context_length)
        needed = path.stat().st_size + self.context_length * header.bytes_per_token + OVERHEAD
        free = free_memory()
        if free is not None and needed > free:  # it would be killed, or swap without an end
            raise LLMError(
                f"the model needs {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} are free; "
                "end other programs, lower IYAGI_LLM_CONTEXT, or take a smaller one: make model",
                retryable=True,
            )
        key = secrets.token_hex(32)
        try:
            server = runtime().Server(self._params(str(path), key))
        except RuntimeError:  # it says no more than that
            raise LLMError(
                f"llama.cpp cannot load the model {self.model!r}: its file is broken or of a kind "
                "that it does not know; delete it and fetch it anew, or take another: make model"
            ) from None
        self.base_url, self.api_key = f"{server.listening_address}/v1", SecretStr(key)
        self._server = server

    def _params(self, path: str, key: str) -> Any:
        params = runtime().CommonParams()
        params.model.path, params.model_alias, params.api_keys = path, {self.model}, [key]
        params.port, params.ui, params.endpoint_slots = 0, False, False
        params.verbosity = -1  # it would print prompts
        # The context is one chat's; chats share it, and those that do not fit wait in the cache.
        params.n_ctx, params.n_parallel, params.kv_unified = self.context_length, SLOTS, True
        params.fit_params = False  # would take another context than the prompts are made for
        params.n_batch = params.n_ubatch = BATCH
        params.cache_ram_mib = CACHE_MIB
        params.swa_full = True  # Gemma would read everything anew behind a cut
        # One is left for the pipeline, and for whatever else the machine does.
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, cores() - 1)
        return params

    def _client(self) -> openai.AsyncOpenAI:
        """The running loop's connections; no proxy of the environment stands before our own
        process."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            own = openai.DefaultAsyncHttpxClient(trust_env=False)
            self._clients[loop] = super()._client().with_options(http_client=own)
        return self._clients[loop]


def _in_background(work: Callable[[], T]) -> Future[T]:
    """Runs `work` in a thread that the end of the process does not wait for, as it would for an
    executor's: it may be in the middle of a download."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from now on, who stops waiting does not cancel it

    def run() -> None:
        try:
            future.set_result(work())
        except IyagiError as error:
            future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever the package does
            log.error("loading the model failed\n%s", traced(error))
            future.set_exception(
                LLMError(f"loading the model failed ({type(error).__name__}); see the log")
            )

    threading.Thread(target=run, name="llamacpp", daemon=True).start()
    return future
