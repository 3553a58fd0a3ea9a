"""The benchmarks' measures, and a run on a file of our own."""

import json
from pathlib import Path

import pytest

from benchmarks.chat_retrieval import measure as measure_chat
from benchmarks.corpus import read_chats
from benchmarks.metrics import mean, measures, percentile, table
from benchmarks.retrievers import Retriever
from benchmarks.story_retrieval import measure as measure_story


def test_measures_of_a_known_ranking() -> None:
    result = measures(["x", "a", "y", "b"], {"a", "b", "c"})
    assert result["mrr"] == 0.5
    assert result["recall@1"] == 0
    assert result["recall@5"] == pytest.approx(2 / 3)
    assert result["hit@3"] == 1
    # (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))
    assert result["ndcg@10"] == pytest.approx(0.4981, abs=1e-3)
    assert measures([], {"a"})["mrr"] == 0


def test_averages_and_percentiles() -> None:
    assert mean([{"a": 1.0}, {"a": 2.0, "b": 4.0}]) == {"a": 1.5, "b": 4.0}
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([], 0.5) == 0.0
    assert "0.500" in table({"file": {"mrr": 0.5}}, ["mrr"])


@pytest.mark.parametrize("name", ["hybrid", "dense", "bm25"])
def test_a_chat_file(tmp_path: Path, name: str) -> None:
    chat = {
        "id": "c",
        "messages": [
            {"id": "1", "speaker": "Mia", "text": "I lost my locket.", "session": 1},
            {"id": "2", "speaker": "Jon", "text": "The soup is cold.", "session": 1},
        ],
        "queries": [{"text": "Where is the locket?", "relevant": ["1"], "category": "single"}],
    }
    path = tmp_path / "own.chat.jsonl"
    path.write_text(json.dumps(chat) + "\n", encoding="utf-8")
    result = measure_chat(path, Retriever(name), context=True)
    assert result["queries"] == 1
    assert result["mrr"] == 1
    assert result["by_category"]["single"]["recall@1"] == 1  # type: ignore[index]


def test_other_chats_interrupt_and_fill_up(tmp_path: Path) -> None:
    chats = [
        {
            "id": name,
            "messages": [{"id": "1", "speaker": "Mia", "text": text, "session": 1}],
            "queries": [{"text": "Where is the locket?", "relevant": ["1"]}],
        }
        for name, text in (("a", "I lost my locket."), ("b", "The soup is cold."))
    ]
    path = tmp_path / "own.chat.jsonl"
    path.write_text("\n".join(map(json.dumps, chats)), encoding="utf-8")
    first, _ = read_chats(path, interrupted=True)
    assert first.questions[0].query.texts[1].startswith("The soup is cold.")
    (filled,) = read_chats(path, messages=7)
    assert len(filled.index) == len(set(filled.ids)) == 7
    measured = measure_chat(path, Retriever("bm25"), interrupted=True)
    assert measured["queries"] == 2


def test_a_story_file_leaks_nothing(tmp_path: Path) -> None:
    texts = ["A king slept.", "The king woke.", "The king left.", "The king died."]
    people = [None, ["Mia"], ["Jon"], ["Mia"]]
    events = [
        {"id": str(order), "order": order, "text": text, "characters": present}
        for order, (text, present) in enumerate(zip(texts, people, strict=True))
    ]
    query = {"text": "What did the king do?", "relevant": ["1"], "position": 2, "character": "mia"}
    path = tmp_path / "own.story.jsonl"
    path.write_text(json.dumps({"id": "s", "events": events, "queries": [query]}), encoding="utf-8")
    result = measure_story(path, Retriever("hybrid"))
    assert result["future_leak"] == 0
    assert result["unknown_leak"] == 0
    assert result["recall@5"] == 1
