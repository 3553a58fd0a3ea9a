"""Which prompt format, context and sampling a model wants: the rows of `models.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from schemas.rag import PromptLayout
from schemas.request import GenConfig

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
    stops: tuple[str, ...] = ()
    """Beside the format's own."""
    sampling: dict[str, float] = field(default_factory=dict)
    """Fields of GenConfig that the model's makers recommend."""
    gpu_gb: dict[str, float] = field(default_factory=dict)
    """Size of the weights in GB by precision; the cache of the context comes on top."""
    languages: tuple[str, ...] = ("en",)
    licence: str = ""
    use: str = ""
    """What it is good for, in a few words."""
    match: str = ""
    """Shell-style pattern of lower-case names that mean this model; the last part of a path."""

    def layout(self, *, max_new_tokens: int | None = None, **knobs: Any) -> PromptLayout:
        """The prompt's layout for this model.

        Args:
            max_new_tokens: of this reply; unset: the preset's.
            knobs: further fields of PromptLayout; None means unset.
        """
        chosen = {
            "format": self.format,
            "context_length": self.context_length,
            "max_new_tokens": max_new_tokens or self.max_new_tokens,
            "stops": list(self.stops),
            **{key: value for key, value in knobs.items() if value is not None},
        }
        return PromptLayout.model_validate(chosen)

    def sampling_for(self, gen: GenConfig) -> dict[str, float | int]:
        """Sampling of one reply: the request's choice, then the model's, then nothing."""
        asked = gen.model_dump(exclude_none=True, exclude={"stop", "max_new_tokens"})
        return {**self.sampling, **asked}


@cache
def presets() -> tuple[Preset, ...]:
    """All rows of the table, in its order."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return tuple(_preset(row, table["sampling"]) for row in table["model"])


@cache
def _kinds() -> dict[str, str]:
    """Pattern of a name to the kind of tokenizer, for models without a row."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))["tokens"]
    return {pattern: kind for kind, patterns in table.items() for pattern in patterns}


def _preset(row: dict[str, Any], sampling: dict[str, float]) -> Preset:
    fields = dict(row)
    for key in ("stops", "languages"):
        if key in fields:
            fields[key] = tuple(fields[key])
    fields["sampling"] = sampling | fields.get("sampling", {})
    return Preset(**fields)


def preset_for(model: str) -> Preset:
    """The row of that name, else the first whose pattern matches it, else a plain ChatML one with
    the kind of tokenizer that the name tells.

    Args:
        model: as a server calls it: a repository name, a path or a file name.
    """
    exact = [row for row in presets() if row.name.lower() == model.lower()]
    if exact:
        return exact[0]
    last = model.rstrip("/").replace("\\", "/").split("/")[-1].lower()
    for row in presets():
        if row.match and fnmatchcase(last, row.match):
            return row
    kinds = (kind for pattern, kind in _kinds().items() if fnmatchcase(last, pattern))
    sampling = dict(preset_for("scripted").sampling)
    return Preset(name=model, tokens=next(kinds, Preset.tokens), sampling=sampling)
