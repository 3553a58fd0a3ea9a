"""The language models that the operator offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from langchain_core.language_models import BaseLLM

from schemas.base import done
from schemas.errors import BadRequest
from schemas.protocols import ServedContext, ServedCount
from schemas.rag import PromptLayout

T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """A model, how to write prompts for it, and how to count their tokens."""

    name: str
    backend: str
    llm: BaseLLM
    layout: PromptLayout
    """Format and size of its prompts."""
    count: Callable[[str], int]
    """Tokens of a text."""
    added_tokens: Callable[[], frozenset[str]] = frozenset
    """What its tokenizer takes for one token wherever it stands, as far as that is known."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """What the model's makers recommend, named as in GenConfig."""
    deadline: float = 300.0
    """Seconds for one reply, a second attempt included."""
    second_opinion: float = 0.0
    """Confidence of the router below which the model is asked who answers; 0: never."""
    served: ServedCount | None = None
    """Where the server counts tokens: `count` is then what it said, or an estimate."""

    context: ServedContext | None = None
    """Where a server tells how much it takes."""

    def within_context(self) -> Model:
        """The same with prompts of the size that the server takes, as far as that is known."""
        size = self.context.tokens if self.context else None
        if size is None or size == self.layout.context_length:
            return self
        return replace(self, layout=self.layout.model_copy(update={"context_length": size}))

    async def counted(self, run: Callable[[Callable[[str], int]], T], *, aside: bool = False) -> T:
        """What a pure function of a counter gives, with this model's own count of tokens; `aside`
        as in `base.done`."""
        if self.served is not None:
            return await self.served.settle(run, aside=aside)
        return await done(partial(run, self.count), aside=aside)

    def layout_for(self, *reply_tokens: int | None) -> PromptLayout:
        """The layout of a prompt that keeps the first of these numbers that is set free for the
        reply, or what the model's preset recommends."""
        chosen = next((number for number in reply_tokens if number is not None), None)
        known: dict[str, object] = {"added_tokens": self.added_tokens()}
        return self.layout.model_copy(update=known | ({"max_new_tokens": chosen} if chosen else {}))


@dataclass(frozen=True)
class Models:
    """What a request can choose among; the first is the default."""

    offered: tuple[Model, ...]

    def choose(self, name: str | None) -> Model:
        """The model of this name, or the default.

        Raises:
            BadRequest: the operator does not offer it; says which are offered.
        """
        if name is None:
            return self.offered[0].within_context()
        for model in self.offered:
            if model.name == name:
                return model.within_context()
        names = ", ".join(model.name for model in self.offered)
        raise BadRequest(f"is not offered here; choose among: {names}", field="model.name")

    async def meet(self, name: str | None) -> Model:
        """What `choose` gives, once its server was asked how much it takes: a turn begins here."""
        if context := self.choose(name).context:
            await context.learn()
        return self.choose(name)
