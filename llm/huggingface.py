"""A model that transformers runs in this process, for a GPU without a server (extra `huggingface`).

How the contract of `llm/__init__.py` is met:

- The library writes: `model.generate` with its streamer. One thread for all models of the process
  loads a model when it is first used, and writes one reply after another. For many users at once
  a server batches replies: see docs/backends.md.
- Leaving the stream ends the work at the next token; a reply that waits is never begun.
- Stop strings are found in the text, however tokens cut it; one that is a token of the model's
  own, such as `<|im_end|>`, ends the reply as a token.
- Temperature 0 is greedy; what is not set is left at the model's own distribution, whatever its
  `generation_config.json` recommends (`models.toml` does that here). Unknown keys are ignored.
- Out of memory is an error of one reply. After any error the worker asks the GPU itself whether
  the process can go on (`worker/device.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, PrivateAttr

from llm.streaming import MAX_NEW_TOKENS, Ending, StreamingLLM
from schemas.errors import LLMError, traced

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREAD = ThreadPoolExecutor(1, "huggingface")
"""One for all models: torch has one random state for all, and a seed is to be a reply's own."""


class HuggingFaceLLM(StreamingLLM):
    """A causal language model; construction loads nothing. Async only: `astream`, `ainvoke`."""

    path: Path | None = Field(None, repr=False)
    """A folder with the model's files; unset: `model` is a name on the Hugging Face hub."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1", ...; "auto" is a GPU where there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """"auto" is what the files are in."""
    quantize: Literal["none", "int8", "int4"] = "none"
    """While loading, by bitsandbytes; files that are quantized already need "none"."""
    trust_remote_code: bool = False

    _model: Any = PrivateAttr(None)
    _tokenizer: Any = PrivateAttr(None)
    _ends: frozenset[int] = PrivateAttr(frozenset())
    _added: frozenset[str] = PrivateAttr(frozenset())

    def added_tokens(self) -> frozenset[str]:
        """What the tokenizer takes for one token wherever it stands; none until it is loaded."""
        return self._added

    async def _write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> AsyncGenerator[str, None]:
        loading = f"cannot load the model {self.model!r}"
        ids = await _in_thread(loading, self._read, prompt)
        from transformers import AsyncTextIteratorStreamer

        options = self._options(len(ids), stop, sampling)
        streamer = AsyncTextIteratorStreamer(
            self._tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        left, written = threading.Event(), [0]
        work = (ids, sampling.get("seed"), options, streamer, left, written)
        writing = _in_thread("the model failed", self._reply, *work)
        try:
            async for piece in streamer:
                yield piece
            if await writing not in options["eos_token_id"]:
                ending.finish_reason = "length"
        finally:
            left.set()
            writing.cancel()  # of no effect once it has begun
            ending.usage = {
                "prompt_tokens": len(ids),
                "completion_tokens": written[0],
                "total_tokens": len(ids) + written[0],
            }

    def _read(self, prompt: str) -> list[int]:
        """In the thread: the prompt's tokens, behind the tokenizer's opening one if it has one. The
        first who needs the model loads it."""
        if self._model is None:
            self._load()
        ids: list[int] = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        opening: list[int] = self._tokenizer("")["input_ids"][:1]
        if opening == [self._tokenizer.bos_token_id] != ids[:1]:
            return opening + ids
        return ids

    def _load(self) -> None:
        import torch
        from transformers import (
            AutoModelForCausalLM,
            AutoTokenizer,
            BitsAndBytesConfig,
            GenerationConfig,
        )

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise LLMError(f"IYAGI_LLM_DEVICE={device}: torch sees no CUDA device here; use cpu")
        source = str(self.path or self.model)
        options: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        if self.quantize != "none":  # four bits the usual way, as in QLoRA (arXiv:2305.14314)
            options["quantization_config"] = BitsAndBytesConfig(
                load_in_8bit=self.quantize == "int8",
                load_in_4bit=self.quantize == "int4",
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=torch.bfloat16,
            )
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=self.dtype, device_map={"": device}, **options
        )
        ends = model.generation_config.eos_token_id
        ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        model.generation_config = GenerationConfig()  # nothing of the files goes into sampling
        self._added = frozenset(tokenizer.get_added_vocab())
        self._model, self._tokenizer, self._ends = model, tokenizer, frozenset(ends - {None})

    def _options(
        self, prompt: int, stop: Sequence[str], sampling: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What `model.generate` is asked for, after a prompt of so many tokens."""
        limit = sampling.get("max_new_tokens") or MAX_NEW_TOKENS
        config = self._model.config.get_text_config(decoder=True)
        room = getattr(config, "max_position_embeddings", prompt + limit)
        if prompt >= room:
            raise LLMError(
                f"the prompt has {prompt} tokens and the model takes {room} with the reply; "
                "lower IYAGI_LLM_CONTEXT"
            )
        added = self._tokenizer.get_added_vocab()
        options = {
            "max_new_tokens": min(limit, room - prompt),
            "eos_token_id": sorted(self._ends | {added[text] for text in stop if text in added}),
            "pad_token_id": 0,  # of no effect with one prompt, but missed
            "repetition_penalty": sampling.get("repetition_penalty") or 1.0,
        }
        if sampling.get("temperature") == 0:
            return options | {"do_sample": False}
        chosen = {name: sampling.get(name) for name in ("temperature", "top_p", "min_p")}
        narrow = {name: float(value) for name, value in chosen.items() if value is not None}
        return options | narrow | {"do_sample": True, "top_k": sampling.get("top_k") or 0}

    def _reply(
        self,
        ids: list[int],
        seed: int | None,
        options: Mapping[str, Any],
        streamer: Any,
        left: threading.Event,
        written: list[int],
    ) -> int:
        """In the thread: streams one reply, counts its tokens in `written[0]`, and gives the last
        of them."""
        import torch

        def watch(tokens: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            written[0] = tokens.shape[1] - len(ids)
            return torch.tensor([left.is_set()], device=tokens.device)

        def check(tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if not scores.max().isfinite():  # drawing from it would take the whole GPU down
                raise LLMError("the model computed no numbers (NaN); set IYAGI_LLM_DTYPE=bfloat16")
            return scores

        try:
            prompt = torch.tensor([ids], device=self._model.device)
            torch.manual_seed(secrets.randbits(63) if seed is None else seed)
            tokens = self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                streamer=streamer,
                stopping_criteria=[watch],
                logits_processor=[check],
                **options,
            )
            return int(tokens[0, -1])
        finally:
            streamer.end()  # also after an error, which its reader would wait for


def _in_thread(what: str, work: Callable[..., T], *given: Any) -> asyncio.Future[T]:
    """Runs `work` when the thread comes to it; `what` begins the one line of an LLMError that is
    raised for what libraries say in many."""

    def run() -> T:
        try:
            return work(*given)
        except LLMError:
            raise
        except Exception as error:  # noqa: BLE001 - torch, the hub, a model's own code
            log.error("%s\n%s", what, traced(error))
            # A RuntimeError is torch's: too little memory now, or a GPU that a new worker replaces.
            retryable = isinstance(error, RuntimeError)
            raise LLMError(f"{what}: {_cure(error)}", retryable=retryable) from None

    return asyncio.get_running_loop().run_in_executor(_THREAD, run)


def _cure(error: Exception) -> str:
    name = type(error).__name__
    if isinstance(error, ImportError):
        return 'a package is missing, the log names it; pip install ".[huggingface]"'
    if name == "OutOfMemoryError":
        return "the device has too little memory; lower IYAGI_LLM_CONTEXT or set IYAGI_LLM_QUANTIZE"
    if "trust_remote_code" in str(error):
        return "it brings code of its own; set IYAGI_LLM_TRUST_REMOTE_CODE=true if you trust it"
    if isinstance(error, OSError):
        return "it is not found; check IYAGI_LLM_PATH or the name, the network, and HF_TOKEN"
    return f"{name}; the log says more"
