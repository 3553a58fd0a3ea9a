"""What several searches found, joined."""

from __future__ import annotations

from retrieval.chat import Found, joined
from schemas.rag import RAGChunk


def chunk(name: str, score: float | None, *why: str, text: str = "") -> RAGChunk:
    told = {"why": [*why]}
    return RAGChunk(id=name, source="chat", text=text or name, score=score, meta=told)


def test_the_best_of_all_are_taken_no_text_twice_and_what_stands_beside_them_only() -> None:
    said = Found(
        best=[chunk("a", 0.9), chunk("b", 0.5), chunk("c", 0.2)],
        beside=[chunk("next to a", None, "beside a"), chunk("next to c", None, "beside c")],
        unread=[],
    )
    remembered = Found(
        best=[chunk("A", 0.8, text="a"), chunk("d", 0.6)],
        beside=[chunk("next to d", None, "beside d"), chunk("again", None, "beside a", text="d")],
        unread=[],
    )
    found = joined([said, remembered], 2)
    assert [it.id for it in found] == ["a", "d", "next to a", "next to d"]
