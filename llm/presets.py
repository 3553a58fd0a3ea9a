"""Which prompt format, context and sampling a model wants: the rows of `models.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from schemas.rag import PromptLayout

WORTH = 32_768
"""Tokens of context that are worth using of a model that is not known: what its server takes may be
millions, which cost time and memory and which hardly any model uses well."""

TABLE = Path(__file__).with_name("models.toml")


@dataclass(frozen=True)
class Preset:
    """What is known of a model. Everything but the name has a usable default."""

    name: str
    format: str = "chatml"
    """A name in `schemas.formats.FORMATS`."""
    tokens: str = "qwen"
    """A name in `prompts.tokens.FAMILIES`: how to estimate without the model's tokenizer."""
    context_length: int = 8192
    """Tokens that are worth using, which may be fewer than the model takes."""
    max_new_tokens: int = 300
    stops: Sequence[str] = ()
    """Beside the format's own."""
    sampling: dict[str, float] = field(default_factory=dict)
    """Fields of GenConfig that the model's makers recommend."""
    gpu_gb: dict[str, float] = field(default_factory=dict)
    """Size of the weights in GB by precision; the cache of the context comes on top."""
    vllm: str = ""
    """The first release of vLLM that runs it; empty where nobody looked."""
    languages: Sequence[str] = ("en",)
    licence: str = ""
    use: str = ""
    """What it is good for, in a few words."""
    match: str = ""
    """Shell-style pattern of lower-case names that mean this model; the last part of a path."""
    short: str = ""
    """Its name for `make model`, where there is a file to run in this process."""
    gguf: str = ""
    """That file, as in `llm/gguf.py`."""
    file_gb: float = 0.0
    """Its size in GB."""
    memory_gb: float = 0.0
    """Memory that it takes while it writes, with its context."""

    @property
    def worth(self) -> int:
        """Tokens of a server's context that are worth using."""
        return self.context_length if self.match else WORTH

    def layout(self, **knobs: Any) -> PromptLayout:
        """The prompt's layout for this model.

        Args:
            knobs: fields of PromptLayout, before the preset's own; None means unset.
        """
        own = {
            "format": self.format,
            "context_length": self.context_length,
            "max_new_tokens": self.max_new_tokens,
            "stops": self.stops,
        }
        chosen = {key: value for key, value in knobs.items() if value is not None}
        return PromptLayout.model_validate(own | chosen)


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


@cache
def presets() -> tuple[Preset, ...]:
    """All rows of the table, in its order."""
    every: dict[str, float] = _table()["sampling"]
    rows = _table()["model"]
    return tuple(Preset(**row | {"sampling": every | row.get("sampling", {})}) for row in rows)


def in_process() -> dict[str, Preset]:
    """The models that have a file to run in this process, by short name; small ones first."""
    return {row.short: row for row in sorted(presets(), key=lambda row: row.file_gb) if row.short}


def preset_for(model: str) -> Preset:
    """The row of that name, short or long, else the first whose pattern matches it, else a plain
    ChatML one with the kind of tokenizer that the name tells.

    Args:
        model: as a server calls it: a repository name, a path or a file name.
    """
    exact = [row for row in presets() if model.lower() in (row.name.lower(), row.short)]
    if exact:
        return exact[0]
    last = model.rstrip("/").replace("\\", "/").split("/")[-1].lower()
    for row in presets():
        if row.match and fnmatchcase(last, row.match):
            return row
    kinds: dict[str, list[str]] = _table()["tokens"]
    named = (
        kind
        for kind, patterns in kinds.items()
        if any(fnmatchcase(last, pattern) for pattern in patterns)
    )
    return Preset(
        name=model, tokens=next(named, Preset.tokens), sampling=dict(_table()["sampling"])
    )
