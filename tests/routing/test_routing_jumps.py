"""What is told to the narrator and is none of the story's events does not advance the story."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from benchmarks.routing import Learned
from embedding.embedder import Embedder
from graph.settings import ROOT
from routing.progress import advance, find_upcoming
from schemas.request import StoryEvent

Language = Literal["ko", "en"]
LINES = tomllib.loads((Path(__file__).parent / "unrelated.toml").read_text(encoding="utf-8"))
SCRIPTS = json.loads((Path(__file__).parent / "playthrough.json").read_text(encoding="utf-8"))
SAYS = {"ko": "나레이션: ", "en": "Narration: "}


@pytest.fixture(scope="module")
def embedders() -> dict[Language, Embedder]:
    known = Learned().embedders
    return {"ko": known["cjk"], "en": known["latin"]}


class Passages:
    """The vectors of the story's texts, all known."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._made: dict[str, np.ndarray] = {}

    def known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        if new := [text for text in dict.fromkeys(texts) if text not in self._made]:
            self._made |= dict(zip(new, self._embedder.encode_passages(new), strict=True))
        return np.stack([self._made[text] for text in texts]), np.ones(len(texts), bool)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._embedder.encode_passages(texts)


class Told:
    """A mock story at each of its events, told what happens."""

    def __init__(self, language: Language, embedder: Embedder) -> None:
        name = "sample_request.ko.json" if language == "ko" else "sample_request.json"
        request = json.loads((ROOT / "data/mock" / name).read_text(encoding="utf-8"))
        events = sorted(map(StoryEvent.model_validate, request["story"]), key=lambda e: e.order)
        self.events = [event for event in events if not event.is_lore]
        self.waiting = [event for event in self.events if event.trigger]
        self._embedder, self._source = embedder, Passages(embedder)
        self._says = SAYS[language]

    def reached(self, event: StoryEvent, line: str) -> bool:
        message = f"{self._says}{line}"
        position = max((e.order for e in self.events if e.order < event.order), default=0)
        scale = asyncio.run(self._embedder.cosine_scale(message))
        upcoming, _ = find_upcoming(
            self.events, position, message, self._embedder.encode_queries([message])[0],
            self._source, trust=scale.trust,
        )  # fmt: skip
        assert upcoming is not None
        return advance(upcoming, position, message, asked=True).event is not None


@pytest.mark.parametrize(("language", "most"), [("ko", 5), ("en", 10)])
def test_what_is_unrelated_reaches_nothing_and_what_is_told_does(
    language: Language, most: int, embedders: dict[Language, Embedder]
) -> None:
    told = Told(language, embedders[language])
    false = [
        (event.id, line)
        for event in told.waiting
        for line in LINES[language]
        if told.reached(event, line)
    ]
    assert len(false) <= most, false  # of 340
    by_id = {event.id: event for event in told.waiting}
    lines = [(event, event.trigger) for event in told.waiting]
    for name in (f"{language} again", f"{language} fourth"):
        lines += [
            (by_id[line["reaches"]], line["message"].replace("*", ""))
            for line in SCRIPTS[name]
            if line["reaches"]
        ]
    right = sum(told.reached(event, line) for event, line in lines)
    assert right >= 0.95 * len(lines)
