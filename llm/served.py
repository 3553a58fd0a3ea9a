"""What a model server tells of itself at `GET /v1/models`, and what is known of it by that."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

MOST = 10**9
"""Tokens that a count can mean."""

LEAST_CONTEXT = 512
"""Tokens of a context with which a prompt can be written; a figure below it tells nothing."""

SHOWN = 5
"""Names of models that a line of the log shows."""


def count_of(raw: object, name: str) -> int | None:
    """The count that an object of an answer holds under this name, if it is one."""
    value = raw.get(name) if isinstance(raw, dict) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
    return value if is_count else None


@dataclass(frozen=True)
class Kind:
    """How a server wants to be asked; unknown ones as vLLM and OpenAI, who take the least."""

    stops: int = 4
    """Stop strings that it takes. vLLM refuses more from 0.28 on, TGI and OpenAI ever did."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """Sent with each request. They make it tell more, and a stricter server would refuse them."""


_USAGE_IN_EACH_CHUNK = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}

KINDS = {
    "vllm": Kind(fields=_USAGE_IN_EACH_CHUNK),
    "pygmalionai": Kind(fields=_USAGE_IN_EACH_CHUNK),  # Aphrodite, made of vLLM
    "sglang": Kind(stops=32, fields=_USAGE_IN_EACH_CHUNK),
    "llamacpp": Kind(stops=256, fields={"return_progress": True, "timings_per_token": True}),
}
"""Servers by `owned_by`, the name that they sign their models with."""


@dataclass(frozen=True)
class Served:
    """A server: its kind, and the models that it lists with the context length of each, if told."""

    kind: Kind = Kind()
    models: Mapping[str, int | None] = field(default_factory=dict)

    def context_of(self, model: str) -> int | None:
        """Tokens of prompt and reply together. A name that is not listed has the length that all
        models share, if they do: llama.cpp answers to any name, with the one model it has."""
        if (own := self.models.get(model)) is not None:
            return own
        lengths = set(self.models.values())
        return lengths.pop() if len(lengths) == 1 else None


def read_models(answer: object) -> Served:
    """The answer of `/v1/models`, whatever it is."""
    listed = answer.get("data") if isinstance(answer, dict) else None
    entries = [it for it in listed if isinstance(it, dict)] if isinstance(listed, list) else []
    models: dict[str, int | None] = {}
    for entry in entries:
        told = count_of(entry, "max_model_len"), count_of(entry.get("meta"), "n_ctx")
        length = next((count for count in told if count and count >= LEAST_CONTEXT), None)
        others = entry.get("aliases")
        names = [entry.get("id"), *(others if isinstance(others, list) else ())]
        models |= {name: length for name in names if isinstance(name, str)}
    owners = (entry.get("owned_by") for entry in entries)
    known = (KINDS[owner] for owner in owners if isinstance(owner, str) and owner in KINDS)
    return Served(next(known, Kind()), models)


class ServedContext:
    """The context length of a model, as far as its server tells it."""

    def __init__(
        self, about: Callable[[], Awaitable[Served | None]], model: str, *, most: int, chosen: bool
    ) -> None:
        """Asks nothing yet.

        Args:
            about: tells what server it is; None while that is not known.
            model: as the server is to call it.
            most: tokens that are worth using.
            chosen: whether that is the operator's choice, which the server may fall short of.
        """
        self._about, self._model, self._most, self._chosen = about, model, most, chosen
        self._learned = False
        self.tokens: int | None = None
        """Of prompt and reply together; None as long as nothing is known."""

    async def learn(self) -> None:
        """Asks the server, until it has answered once; says in the log what does not fit."""
        if self._learned or (served := await self._about()) is None or self._learned:
            return
        self._learned = True
        if served.models and self._model not in served.models:
            log.warning(
                "the LLM server lists no model %r (IYAGI_LLM_MODELS) but %s",
                self._model,
                ", ".join(repr(name[:100]) for name in list(served.models)[:SHOWN]),
            )
        if (told := served.context_of(self._model)) is None:
            return
        if self._chosen and told < self._most:
            log.warning(
                "IYAGI_LLM_CONTEXT is %d, but the LLM server takes %d tokens for %r: prompts keep "
                "to those",
                self._most,
                told,
                self._model,
            )
        self.tokens = min(told, self._most)
