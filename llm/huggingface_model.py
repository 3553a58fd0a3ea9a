"""A transformers model in this process: loading it, and writing one reply, token by token.

The modules `huggingface_model`, `_prefix` and `_sampling` import torch and transformers, which
takes seconds: `HuggingFaceLLM` imports them in its thread, when it is first used.

The loop over the tokens is ours and not `model.generate`: it can be left between any two steps,
reading the prompt included, it takes no sampling from the model's files behind the operator's
back, and a seed is a reply's own.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from llm.huggingface_prefix import KeptPrefixes
from llm.huggingface_sampling import Sampler
from llm.huggingface_text import Detokenizer
from llm.text_stream import TextStream
from schemas.errors import LLMError

if find_spec("accelerate") is None:
    raise ImportError("transformers needs accelerate to place a model on a device")

log = logging.getLogger(__name__)

MAX_NEW_TOKENS = 300
"""Where the caller says nothing."""

STEP = 512
"""Tokens of a prompt that are read in one step: large enough for a GPU to be busy."""


@dataclass
class Ending:
    """How a reply ended; filled in while it is written."""

    finish_reason: str = "stop"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    @property
    def usage(self) -> dict[str, int]:
        """The counts as the contract names them."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "cached_tokens": self.cached_tokens,
        }


class LocalModel:
    """A loaded model with its tokenizer; one reply at a time, from one thread."""

    def __init__(self, model: Any, tokenizer: Any, kept_tokens: int) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._kept = KeptPrefixes(model.config, kept_tokens)
        self._cache_argument = _cache_argument(model)
        config = model.config.get_text_config(decoder=True)
        self._room: int | None = getattr(config, "max_position_embeddings", None)
        opening = tokenizer("")["input_ids"]
        self._opening = [token for token in opening if token == tokenizer.bos_token_id]
        self._added: dict[str, int] = tokenizer.get_added_vocab()
        ends = getattr(model.generation_config, "eos_token_id", None)
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}

    def write(
        self, prompt: str, stop: Sequence[str], sampling: Mapping[str, Any], ending: Ending
    ) -> Generator[str, None, None]:
        """The reply's text up to a stop string; "" where a step was made and nothing is certain.

        Closing it between two steps ends the work. Either way the keys and values are kept.

        Args:
            prompt: as it is; the tokenizer's opening token is put before it if it has one.
            stop: strings that end the reply and are not part of it.
            sampling: `max_new_tokens`, and the keys of `Sampler`.
            ending: filled in.

        Raises:
            LLMError: the prompt does not fit the model.
        """
        ids = self._read(prompt)
        ending.prompt_tokens = len(ids)
        left = self._limit(len(ids), sampling.get("max_new_tokens") or MAX_NEW_TOKENS)
        ending.cached_tokens, cache = self._kept.take(ids)
        reading = _Reading(self._model, self._cache_argument, cache, ids[: ending.cached_tokens])
        try:
            scores: Any = None
            for chunk in _chunks(ids[ending.cached_tokens :], STEP if self._kept.possible else 0):
                scores = reading.feed(chunk)
                yield ""
            sampler = Sampler(sampling, ids, self._model.device)
            text, tokens = TextStream(stop), Detokenizer(self._decode, ids)
            ends = self._ends | {self._added[s] for s in stop if s in self._added}
            while True:
                token = sampler.draw(scores)
                ending.completion_tokens += 1
                if token in ends:
                    break
                yield text.feed(tokens.feed(token))
                if text.stopped:
                    return
                if ending.completion_tokens == left:
                    ending.finish_reason = "length"
                    break
                scores = reading.feed([token])
            yield text.feed(tokens.flush()) + text.flush()
            if text.stopped:
                ending.finish_reason = "stop"
        finally:
            if reading.whole:
                self._kept.keep(reading.ids, cache)

    def forget(self) -> None:
        """Lets go of all kept keys and values and of the memory that they took."""
        self._kept.clear()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _read(self, prompt: str) -> list[int]:
        """The prompt's tokens; at least one."""
        text = prompt.encode(errors="replace").decode()
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        if self._opening and ids[:1] != self._opening:
            ids = self._opening + ids
        if not ids:
            raise LLMError("the prompt is empty; nothing can go on from it")
        return ids

    def _limit(self, prompt: int, wanted: int) -> int:
        """How many tokens the reply may have."""
        if self._room is None:
            return wanted
        if prompt >= self._room:
            raise LLMError(
                f"the prompt has {prompt} tokens and the model takes {self._room} with the reply; "
                "lower IYAGI_LLM_CONTEXT"
            )
        return min(wanted, self._room - prompt)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


class _Reading:
    """What a model has read of one prompt and reply so far."""

    def __init__(self, model: Any, argument: str, cache: Any, ids: list[int]) -> None:
        self._model = model
        self._options = {argument: cache, "use_cache": True, "logits_to_keep": 1}
        self.ids = list(ids)
        self.whole = True
        """The cache holds just these tokens; not so where reading broke off with an error."""

    def feed(self, ids: list[int]) -> torch.Tensor:
        """Reads on; the scores of the token behind them, (1, vocabulary) in float32."""
        self.whole = False
        with torch.inference_mode():
            tokens = torch.tensor([ids], device=self._model.device)
            output = self._model(input_ids=tokens, **self._options)
            scores: torch.Tensor = output.logits[:, -1].to(torch.float32, copy=True)
        self.ids += ids
        self.whole = True
        return scores


def _cache_argument(model: Any) -> str:
    """What the model calls the keys and values it is given; transformers 5.24 renamed them."""
    known = inspect.signature(model.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def _chunks(ids: list[int], size: int) -> Iterator[list[int]]:
    """Parts of at most `size`, or all at once if it is 0."""
    size = size or len(ids)
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def load(
    name: str,
    source: str,
    *,
    revision: str | None,
    device: str,
    dtype: str,
    quantize: str,
    trust_remote_code: bool,
    kept_tokens: int,
) -> LocalModel:
    """Loads a model from a folder, from the local cache of the Hugging Face hub or from the hub.

    Args:
        name: what it is called in messages.
        source: folder or name on the hub.

    Raises:
        LLMError: says what is missing.
    """
    found = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(found if device == "auto" else device)
    if place.type == "cuda" and found == "cpu":
        raise LLMError(f"IYAGI_LLM_DEVICE={device}: torch sees no CUDA device here; use cpu")
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "revision": revision}
    if quantize != "none":
        if find_spec("bitsandbytes") is None:
            raise LLMError(f"IYAGI_LLM_QUANTIZE={quantize} needs: pip install bitsandbytes")
        options["quantization_config"] = _quantization(quantize)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=trust_remote_code, revision=revision
        )
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, device_map={"": place}, **options
        )
    except Exception as error:
        if isinstance(error, RuntimeError) and "CUDA error" in str(error):
            raise  # of the device, not of the model
        log.warning("loading %s failed", name, exc_info=error)
        raise LLMError(_why(name, error)) from None
    return LocalModel(model, tokenizer, kept_tokens)


def _quantization(bits: str) -> BitsAndBytesConfig:
    """NF4 with 16-bit arithmetic is the usual 4-bit choice (QLoRA, arXiv:2305.14314)."""
    if bits == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def _why(name: str, error: Exception) -> str:
    """One line for what libraries say in many; the log has theirs."""
    said = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        cure = "the device has too little memory; try IYAGI_LLM_QUANTIZE or a smaller model"
    elif "trust_remote_code" in said:
        cure = "it brings code of its own; set IYAGI_LLM_TRUST_REMOTE_CODE=true if you trust it"
    elif isinstance(error, ImportError):
        cure = "a package is missing; the log names it"
    elif isinstance(error, OSError):
        cure = "it is not found; check IYAGI_LLM_PATH or the name, the network, and HF_TOKEN"
    else:
        cure = f"{type(error).__name__}; the log says more"
    return f"cannot load the model {name!r}: {cure}"
