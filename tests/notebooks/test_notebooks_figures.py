from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from langchain_core.runnables import RunnablePassthrough
from langchain_core.runnables.graph import Graph

from graph import graph
from scripts import figures
from tests.support import MakePipeline, ask

HOSTILE = '<script>alert("이야기")</script>'


@pytest.fixture
async def answer(make_pipeline: MakePipeline, mock_request: dict[str, Any]) -> dict[str, Any]:
    return await make_pipeline().chat(mock_request)


def all_of(answer: dict[str, Any]) -> str:
    drawn = [
        figures.reply(answer),
        figures.recalled(answer),
        figures.ledger(answer),
        figures.evidence(answer),
        figures.playthrough([(HOSTILE, answer)]),
        figures.pipeline(graph.get_graph(), answer),
    ]
    return "".join(figure._repr_html_() for figure in drawn)


async def test_texts_of_users_are_shown_and_never_run(make_pipeline: MakePipeline) -> None:
    story = [{"id": HOSTILE, "order": 0, "text": HOSTILE, "constant": True}]
    persona = {"name": HOSTILE, "description": HOSTILE}
    answer = await make_pipeline().chat(ask(HOSTILE, persona=persona, story=story))
    assert "<script" not in all_of(answer)
    assert all_of(answer).count("&lt;script&gt;") >= 3


async def test_a_failed_turn_can_be_drawn(answer: dict[str, Any]) -> None:
    failed = {**answer, "response_contents": [], "error": "the server is down", "timing": None}
    assert "the server is down" in all_of(failed)


async def test_what_the_prompt_does_not_hold_is_faint(answer: dict[str, Any]) -> None:
    rows = figures.recalled(answer).html.split("<tr>")[2:]
    assert len(rows) == len(answer["retrieved"])
    for row, item in zip(rows, answer["retrieved"], strict=True):
        assert (figures.FAINT in row) != item["used"]
        assert ("✓" in row) == item["used"]


async def test_the_ledger_shows_every_section_and_what_was_cached(answer: dict[str, Any]) -> None:
    assert "cache" not in figures.ledger(answer).html, "a server that does not tell"
    answer["usage"] |= {"prompt_tokens": 2000, "cached_tokens": 1500}
    drawn = figures.ledger(answer).html
    book = answer["meta"]["prompt"]
    widths = {
        name: int(n) for name, n in re.findall(r'title="(\w+) [\d,]+" style="flex:(\d+)', drawn)
    }
    assert widths == {
        name: n for name, n in book["tokens"].items() if n and name in figures.SECTIONS
    }
    assert re.findall(r"width:([\d.]+)%;border-top", drawn) == ["75.0"]
    assert "1,500 tokens" in drawn


async def test_evidence_pushes_to_its_side(answer: dict[str, Any]) -> None:
    rows = figures.evidence(answer).html.split("<tr>")[2:]
    assert rows
    for row in rows:
        left, right = (float(width) for width in re.findall(r'"width:([\d.]+)%', row))
        push = float(re.findall(r">([+-]\d\.\d\d)<", row)[0])
        assert min(left, right) == 0
        assert push == 0 or (left > 0) == (push < 0)


def test_the_graph_is_drawn_from_left_to_right_with_its_branches_apart() -> None:
    picture = ElementTree.fromstring(figures.pipeline(graph.get_graph()).html)
    columns: dict[str, set[float]] = {}
    names = [text for text in picture.iter("text") if text.text]
    for text in names:
        columns.setdefault(text.attrib["x"], set()).add(float(text.attrib["y"]))
    assert [text.text for text in names if len(columns[text.attrib["x"]]) == 2] == [
        "embed",
        "plan_prompt",
        "retrieve_chat",
        "retrieve_story",
    ]
    lines = list(picture.iter("line"))
    assert len(lines) == len(graph.get_graph().edges)
    assert all(float(line.attrib["x1"]) < float(line.attrib["x2"]) for line in lines)


def test_any_graph_without_loops_can_be_drawn() -> None:
    drawn = Graph()
    first, second = (drawn.add_node(RunnablePassthrough(), name) for name in ("첫째", "<둘째>"))
    drawn.add_edge(first, second)
    assert "&lt;둘째&gt;" in figures.pipeline(drawn).html
