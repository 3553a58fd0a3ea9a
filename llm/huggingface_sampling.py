"""Choosing a token, with the sampling keys of the contract in `llm/__init__.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from schemas.errors import LLMError


class Sampler:
    """Draws the tokens of one reply.

    What is not set changes nothing, so that `{}` draws from the model's own distribution; keys
    that are not known here are ignored. Temperature 0 takes the likeliest token. The seed decides
    alone: neither torch's global random state nor other replies have a part in it.

    Args:
        sampling: temperature, top_p, top_k, min_p, repetition_penalty, seed.
        prompt: its token ids; the repetition penalty counts them in, as servers do.
        device: where the scores are.
    """

    def __init__(self, sampling: Mapping[str, Any], prompt: Sequence[int], device: Any) -> None:
        self._greedy = sampling.get("temperature") == 0
        self._penalty = sampling.get("repetition_penalty") or 1.0
        self._seen = torch.tensor(sorted(set(prompt)), dtype=torch.long, device=device)
        self._narrow = [] if self._greedy else _warpers(sampling)
        self._chance = torch.Generator(device)
        if (seed := sampling.get("seed")) is None:
            self._chance.seed()
        else:
            self._chance.manual_seed(seed)

    def draw(self, scores: torch.Tensor) -> int:
        """The next token.

        Args:
            scores: (1, vocabulary), float32; may be written to.

        Raises:
            LLMError: the scores are no numbers.
        """
        with torch.inference_mode():
            return self._drawn(scores)

    def _drawn(self, scores: torch.Tensor) -> int:
        if not math.isfinite(scores.max().item()):
            raise LLMError(
                "the model computed no numbers (NaN); load it as float32 or bfloat16, or check "
                "its files"
            )
        if self._penalty != 1.0:
            said = scores[0, self._seen]
            scores[0, self._seen] = torch.where(
                said > 0, said / self._penalty, said * self._penalty
            )
        for warp in self._narrow:
            scores = warp(None, scores)
        if not self._greedy:
            # The largest of p / Exp(1) falls on a token with probability p. torch.multinomial
            # would do the same, but an odd number in it takes the whole GPU down.
            scores = scores.softmax(-1)
            scores = scores / torch.empty_like(scores).exponential_(generator=self._chance)
        token = scores.argmax(-1)
        if self._penalty != 1.0:
            self._seen = torch.cat([self._seen, token])
        return int(token.item())


def _warpers(sampling: Mapping[str, Any]) -> list[Callable[[Any, torch.Tensor], torch.Tensor]]:
    """What narrows the choice, in the order of transformers and vLLM."""
    made: list[Any] = []
    if (temperature := sampling.get("temperature")) is not None and temperature != 1:
        made.append(TemperatureLogitsWarper(float(temperature)))
    if top_k := sampling.get("top_k"):
        made.append(TopKLogitsWarper(int(top_k)))
    if (top_p := sampling.get("top_p")) is not None and top_p < 1:
        made.append(TopPLogitsWarper(float(top_p)))
    if min_p := sampling.get("min_p"):
        made.append(MinPLogitsWarper(float(min_p)))
    return made
