"""A model that transformers runs in this process, on a GPU or on the CPU (extra `huggingface`).

How the contract of `llm/__init__.py` is met:

- One thread of its own loads the model when it is first used, and writes one reply after another,
  in the order of asking. The event loop only takes text out of a pipe.
- Leaving the stream ends the work at the next step: a token, or 512 tokens of the prompt.
- Stop strings are found in the text, however tokens cut it; one that is a token of the model's
  own, such as `<|im_end|>`, is found as a token.
- The attention cache of the last chats is kept, up to `kept_tokens`: a prompt is read from where
  it differs from a known one. `usage.cached_tokens` says how much that was.
- Temperature 0 is greedy; what is not set is left at the model's own distribution, whatever its
  `generation_config.json` recommends (`models.toml` does that here). Unknown keys are ignored.
- Out of memory is an error of one reply. After any other error of CUDA the device is of no more
  use to this process: the error is `fatal`, and `poisoned` stays true.

For many users at once a server batches replies, which this does not: see docs/backends.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.outputs import GenerationChunk
from pydantic import Field, PrivateAttr

from llm.async_only import AsyncOnlyLLM
from llm.huggingface_pipe import Pipe
from schemas.errors import LLMError

if TYPE_CHECKING:
    from llm.huggingface_model import Ending, LocalModel

log = logging.getLogger(__name__)

MISSING = 'the huggingface backend needs its extra: pip install ".[huggingface]"'

_FATAL = ("AcceleratorError", "CUDA error", "cuDNN error", "HIP error")


class HuggingFaceLLM(AsyncOnlyLLM):
    """A causal language model; construction loads nothing. Async only: `astream`, `ainvoke`."""

    model: str
    """A name on the Hugging Face hub, or whatever the model at `path` is to be called."""
    path: Path | None = Field(None, repr=False)
    """A folder with the model's files, in place of the hub."""
    revision: str | None = None
    device: str = "auto"
    """"cpu", "cuda", "cuda:1", ...; "auto" is a GPU where there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """"auto" is what the files are in."""
    quantize: Literal["none", "int8", "int4"] = "none"
    """While loading, by bitsandbytes; files that are quantized already need "none"."""
    trust_remote_code: bool = False
    deadline: float = Field(300.0, gt=0)
    """Seconds for one reply: waiting, loading, reading and writing."""
    kept_tokens: int = Field(16_384, ge=0)
    """Tokens of past prompts whose attention cache is kept; see `KeptPrefixes`."""

    _thread: ThreadPoolExecutor = PrivateAttr()
    _local: LocalModel | None = PrivateAttr(None)
    _poisoned: bool = PrivateAttr(False)

    def model_post_init(self, context: Any) -> None:
        """Prepares the thread without starting it."""
        super().model_post_init(context)
        self._thread = ThreadPoolExecutor(1, "huggingface")

    @property
    def poisoned(self) -> bool:
        """The device failed in a way that only a new process cures; every call fails from now."""
        return self._poisoned

    @property
    def _llm_type(self) -> str:
        return "huggingface"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.model}

    async def load(self) -> None:
        """Loads the model now, unless it is loaded.

        Raises:
            LLMError: as a reply would; the next one tries again.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        async with aclosing(self._heard(prompt, stop or [], kwargs)) as heard:
            async for item in heard:
                if not isinstance(item, str):
                    ending = item
                    break
                chunk = GenerationChunk(text=item)
                if run_manager:
                    await run_manager.on_llm_new_token(item, chunk=chunk)
                yield chunk
        info = {"finish_reason": ending.finish_reason, "usage": ending.usage}
        yield GenerationChunk(text="", generation_info=info)

    async def _heard(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any]
    ) -> AsyncGenerator[str | Ending, None]:
        """The reply's pieces, and last how it ended."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.deadline
        pipe: Pipe[str | Ending | LLMError] = Pipe(patience=self.deadline)
        self._thread.submit(self._work, pipe, prompt, stop, sampling)
        try:
            while True:
                async with asyncio.timeout_at(ends):
                    item = await pipe.get()
                if isinstance(item, LLMError):
                    raise item
                yield item
        except TimeoutError:
            raise LLMError(
                f"the reply was not complete after {self.deadline:g} s; try again later",
                retryable=True,
            ) from None
        finally:
            pipe.close()

    def _work(
        self,
        pipe: Pipe[str | Ending | LLMError],
        prompt: str,
        stop: Sequence[str],
        sampling: Mapping[str, Any],
    ) -> None:
        """In the thread: writes one reply into the pipe, whatever comes of it."""
        if pipe.closed:
            return
        try:
            local = self._load()
            from llm.huggingface_model import Ending

            ending = Ending()
            pieces = local.write(prompt, stop, sampling, ending)
            for piece in pieces:
                if pipe.closed:
                    pieces.close()
                    return
                if piece:
                    pipe.put(piece)
            pipe.put(ending)
        except LLMError as error:
            pipe.put(error)
        except Exception as error:
            log.exception("the model failed")
            pipe.put(self._failure(error))

    def _load(self) -> LocalModel:
        """In the thread: the model, loaded by the first who needs it."""
        if self._poisoned:
            raise _fatal()
        if self._local is None:
            try:
                from llm.huggingface_model import load
            except ImportError:
                log.warning("cannot import torch and transformers", exc_info=True)
                raise LLMError(MISSING) from None
            try:
                self._local = load(
                    self.model,
                    str(self.path or self.model),
                    revision=self.revision,
                    device=self.device,
                    dtype=self.dtype,
                    quantize=self.quantize,
                    trust_remote_code=self.trust_remote_code,
                    kept_tokens=self.kept_tokens,
                )
            except LLMError:
                raise
            except RuntimeError as error:
                log.exception("loading failed")
                raise self._failure(error) from None
        return self._local

    def _failure(self, error: Exception) -> LLMError:
        """What torch or the model's code raised, in a line; nothing of the prompt is in it."""
        name = type(error).__name__
        if self._local and name == "OutOfMemoryError":
            self._local.forget()
            return LLMError(
                "the device has too little memory for this reply; lower IYAGI_LLM_CONTEXT or "
                "IYAGI_LLM_KEPT_TOKENS",
                retryable=True,
            )
        if any(sign in name or sign in str(error) for sign in _FATAL):
            self._poisoned = True
            return _fatal()
        return LLMError(f"the model failed ({name}); the log says more")


def _fatal() -> LLMError:
    return LLMError("the GPU failed; this process has to be replaced", retryable=True, fatal=True)
