"""The two scripts that fill the stores beforehand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding.embedder import Embedder
from embedding.fake import HashEmbeddings
from graph.pipeline import Pipeline
from graph.services import make_services
from graph.settings import ROOT, Settings
from schemas.base import embedding_id
from schemas.errors import BadRequest
from scripts import build_index, embed_history
from stores.chroma import ChromaDatabase
from stores.story_index import Built, StoryIndex
from stores.vector_cache import VectorCache
from tests.stores.stores_support import CountingEncoder

EVENTS = [
    {"id": "e1", "order": 1, "text": "배가 떠난다."},
    {"id": "e2", "order": 2, "text": "Rain."},
]
MESSAGES = [{"role": "user", "content": "안녕"}, {"role": "character", "content": "Hello."}]


def saved(folder: Path, data: Any, name: str = "my story.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_a_story_goes_by_the_option_else_its_own_name_else_the_files(tmp_path: Path) -> None:
    plain = saved(tmp_path, EVENTS)
    assert build_index.read_story(plain, None).story_id == "my story"
    assert build_index.read_story(plain, "부두").story_id == "부두"
    named = saved(tmp_path, {"story_id": "own", "story": EVENTS, "message": "a whole request"})
    assert build_index.read_story(named, None).story_id == "own"
    assert [event.id for event in build_index.read_story(named, None).story] == ["e1", "e2"]


def test_building_indexes_the_story(tmp_path: Path, database: ChromaDatabase) -> None:
    stories = StoryIndex(database, CountingEncoder())
    story = build_index.read_story(saved(tmp_path, EVENTS), None)
    assert build_index.build(story, stories) == Built(2, 2, 0)
    assert build_index.build(story, stories) == Built(2, 0, 0)
    assert stories.named("my story").events == tuple(story.story)


def test_embedding_fills_the_cache_once(tmp_path: Path) -> None:
    cache = VectorCache(None, "m")
    embedder = Embedder(HashEmbeddings(16), cache=cache)
    history = embed_history.read_history(saved(tmp_path, {"history": [*MESSAGES, MESSAGES[0]]}))
    assert len(history) == 3
    texts = [message.content for message in history]
    assert embed_history.embed(texts, embedder) == 2
    assert embed_history.embed(texts, embedder) == 0
    vectors, known = cache.get([embedding_id(text) for text in texts])
    assert known.all()
    assert np.array_equal(vectors[0], vectors[2])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("{", "my story.json: is not JSON"),
        ("[1]", r"story\.0"),
        ('"text"', "must hold a list of events"),
        ({"events": EVENTS}, "must hold a list of events"),
        ([{**EVENTS[0], "bogus": 1}], r"story\.0\.bogus: unknown field"),
        ([EVENTS[0], EVENTS[0]], "story: event 1 has the id of event 0"),
        ([{**EVENTS[0], "order": float("nan")}], r"story\.0\.order"),
    ],
)
def test_a_bad_story_is_refused_by_its_place(tmp_path: Path, data: Any, fault: str) -> None:
    with pytest.raises(BadRequest, match=fault):
        build_index.read_story(saved(tmp_path, data), None)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("", "is not JSON"),
        ({"messages": MESSAGES}, "must hold a list of messages"),
        ([{**MESSAGES[0], "role": "bot"}], r"history\.0\.role"),
        ([{**MESSAGES[0], "content": "\ud800"}], r"history\.0\.content: holds half of a character"),
    ],
)
def test_a_bad_history_is_refused_by_its_place(tmp_path: Path, data: Any, fault: str) -> None:
    with pytest.raises(BadRequest, match=fault):
        embed_history.read_history(saved(tmp_path, data))


def run(script: str, *arguments: object, index: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"scripts.{script}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "IYAGI_INDEX_DIR": str(index), "IYAGI_EMBEDDER": "onnx"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_the_commands_say_what_they_did_and_the_second_time_nothing(tmp_path: Path) -> None:
    story, history = saved(tmp_path, EVENTS), saved(tmp_path, MESSAGES, "history.json")
    said = [
        run("build_index", story, "--story-id", "부두", index=tmp_path / "i").stdout,
        run("build_index", story, "--story-id", "부두", index=tmp_path / "i").stdout,
        run("embed_history", history, index=tmp_path / "i").stdout,
        run("embed_history", history, index=tmp_path / "i").stdout,
    ]
    assert said == [
        "부두: 2 events, 2 embedded, 0 removed\n",
        "부두: 2 events, nothing to do\n",
        "history.json: 2 messages, 2 embedded\n",
        "history.json: 2 messages, nothing to do\n",
    ]


def test_a_question_shows_the_nearest_events(tmp_path: Path) -> None:
    said = run(
        "build_index", saved(tmp_path, EVENTS), "--ask", "Rain.", index=tmp_path / "i"
    ).stdout
    [_, first, second] = said.splitlines()
    assert "e2" in first and "e1" in second
    assert float(first.split()[0]) > 0.7 > float(second.split()[0])


ASKED = tomllib.loads(Path(__file__).with_name("asked.toml").read_text(encoding="utf-8"))


async def test_a_question_finds_what_a_turn_finds(tmp_path: Path) -> None:
    services = make_services(Settings(index_dir=tmp_path / "i"))
    story = build_index.read_story(saved(tmp_path, ASKED["story"]), "빵집")
    reader = services.readers["cjk"]
    assert isinstance(reader.stories, StoryIndex)
    build_index.build(story, reader.stories)
    stored, right = reader.stories.named("빵집"), 0
    for question, answer in ASKED["asked"].items():
        found = await build_index.ask(question, stored, reader, services.indexes)
        turn = {"message": question, "persona": {"name": "하람"}, "story_id": "빵집",
                "respond_as": "narrator"}  # fmt: skip
        response = await Pipeline(services).chat(turn)
        assert {event.id: event.score for event in found} == {
            item["id"]: pytest.approx(item["score"]) for item in response["retrieved"]
        }
        assert [event.score for event in found] == sorted(
            (event.score for event in found), key=lambda score: -(score or 0)
        )
        right += found[0].id == answer
    assert right >= len(ASKED["asked"]) - 1


@pytest.mark.parametrize("script", ["build_index", "embed_history"])
def test_bad_input_is_one_line_and_code_2(tmp_path: Path, script: str) -> None:
    for path in (saved(tmp_path, "{"), tmp_path / "missing.json", tmp_path):
        ended = run(script, path, index=tmp_path / "i")
        assert ended.returncode == 2
        assert ended.stdout == ""
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1
        assert str(tmp_path) not in ended.stderr
    assert not (tmp_path / "i").exists()
