"""What a turn embeds of a story before the model is asked: little, however long the story is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from graph.build import Services
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import Settings
from language.script import SCRIPTS
from routing import LazyExemplars
from schemas.readers import Reader
from scripts import build_index
from stores.chroma import ChromaDatabase
from stores.story_index import StoryIndex
from stores.vector_cache import VectorCache
from tests.support import MakePipeline, ask


class Counting(HashEmbeddings):
    """Keeps the passages that it embeds."""

    def __init__(self) -> None:
        super().__init__(384)
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return super().embed_documents(texts)


def long_story(size: int, *, triggers: bool = True) -> list[dict[str, Any]]:
    return [
        {"id": f"e{n}", "order": n, "text": f"Part {n} begins. The king leaves house {n}."}
        | ({"trigger": f"they come to house {n}"} if triggers else {})
        for n in range(size)
    ]


def counting_services(folder: Path, embeddings: Counting) -> Services:
    embedder = Embedder(embeddings, cache=VectorCache(folder / "v.sqlite", "counting"))
    reader = Reader(embedder, StoryIndex(ChromaDatabase(path=folder / "chroma"), embedder), None)
    uncounted = Reader(Embedder(HashEmbeddings(embeddings.dimension)), reader.stories, None)
    return replace(
        make_services(Settings(_env_file=None, index_dir=folder)),
        readers=dict.fromkeys(SCRIPTS, reader),
        exemplars=LazyExemplars(dict.fromkeys(SCRIPTS, uncounted)),
    )


async def embedded_before_the_model(folder: Path, **fields: Any) -> list[str]:
    """The passages that a turn embeds until the model is asked."""
    embeddings = Counting()
    pipeline = Pipeline(counting_services(folder, embeddings))
    payload, before = ask("*I go to the king's house.*", **fields), list[str]()
    async for event in pipeline.stream(payload):
        if event.get("step") == "generate":
            before = list(embeddings.texts)
    await pipeline.drain()
    assert len(before) < len(embeddings.texts), "the rest follows the reply"
    return before


@pytest.mark.parametrize("size", [960, 10_000])
async def test_triggers_make_a_first_turn_embed_at_most_twice_as_much(
    size: int, tmp_path: Path
) -> None:
    plain = await embedded_before_the_model(
        tmp_path / "plain", story=long_story(960, triggers=False), story_position=480
    )
    waiting = await embedded_before_the_model(
        tmp_path / "waiting", story=long_story(size), story_position=size // 2
    )
    assert 0 < len(plain) <= 40
    assert len(waiting) <= 2 * len(plain)
    assert f"they come to house {size // 2 + 1}" in waiting, "the next event comes first"


async def test_no_turn_waits_for_a_story_that_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "graph.services.make_services", lambda settings: counting_services(tmp_path, Counting())
    )
    file = tmp_path / "kings.json"
    file.write_text(json.dumps(long_story(960)), encoding="utf-8")
    assert build_index.main([str(file)]) == 0
    before = await embedded_before_the_model(tmp_path, story_id="kings", story_position=400)
    assert before == []


@pytest.mark.parametrize("where", ["last", "past", "blank trigger"])
async def test_an_event_without_words_costs_no_turn(
    make_pipeline: MakePipeline, where: str
) -> None:
    story = [
        {"id": "a", "order": 1, "text": "The lamp went out."},
        {"id": "d", "order": 2, "text": "Tom comes", "trigger": "somebody lights the lamp"},
    ]
    if where == "last":
        story.append({"id": "e", "order": 3, "text": ""})
    elif where == "past":
        story.insert(0, {"id": "z", "order": 0, "text": ""})
    else:
        story[1]["trigger"] = " "
    answer = await make_pipeline().chat(ask("*lights the lamp*", story=story, story_position=1))
    assert answer["error"] is None and answer["response_contents"]
