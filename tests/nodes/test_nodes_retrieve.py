from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding.fake import HashEmbeddings
from nodes.retrieve_chat import retrieve_chat_context
from nodes.retrieve_story import retrieve_story_context
from retrieval.chat import beside, chat_passages, query_of, recallable, reranked, scenes
from retrieval.hybrid import Knobs
from retrieval.index import Index
from retrieval.query import view_vectors
from retrieval.story import EVENT_PART_SIZE, event_passages
from schemas.rag import RAGChunk, Search
from schemas.request import ChatRequest, Message, Persona, StoryEvent

HARU = Persona(name="하루", aliases=["Haru"])
EMBEDDER = HashEmbeddings()


def vectors(texts: list[str]) -> np.ndarray:
    rows = np.array(EMBEDDER.embed_documents(texts), dtype=np.float32)
    return rows.reshape(len(texts), -1)


def search(message: str) -> tuple[Search, ChatRequest]:
    request = ChatRequest(message=message, persona=HARU)
    query = query_of(request)
    rows = view_vectors(query, vectors(query.texts))
    return Search(query=query, views=rows, message=rows[0]), request


def said(*contents: str, **fields: Any) -> list[Message]:
    return [
        Message(role="user", content=content, id=f"m{n}", **fields)
        for n, content in enumerate(contents)
    ]


def recall(
    message: str, past: list[Message], verbatim: Sequence[Message] = (), **options: Any
) -> list[RAGChunk]:
    looked_for, request = search(message)
    index = Index(chat_passages(past, request))
    rows = vectors(index.parts) if index.parts else None
    options = {"allowed": recallable(past, verbatim), "top_k": 5, "knobs": Knobs(), **options}
    return retrieve_chat_context(looked_for, past, index, rows, **options)


PAST = said(
    "The compass was my grandfather's.",
    "We had soup with leeks for dinner.",
    "The ferry leaves at seven.",
    "내 고양이 이름은 보리야.",
    "오늘은 비가 온다.",
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Do you still have the compass?", "m0"),
        ("When does the ferry leave?", "m2"),
        ("내 고양이가 뭐였지?", "m3"),
    ],
)
def test_the_message_that_bears_on_it_comes_first_and_says_why(message: str, expected: str) -> None:
    first = recall(message, PAST)[0]
    assert first.id == expected
    assert set(first.meta["why"]) & {"dense", "lexical"}
    assert first.score is not None and 0 <= first.score <= 1


def test_a_threshold_filters() -> None:
    everything = recall("compass", PAST)
    best = everything[0].score or 0
    kept = recall("compass", PAST, knobs=Knobs(threshold=best))
    assert [chunk.id for chunk in kept] == [everything[0].id]


def test_what_is_verbatim_takes_no_place() -> None:
    found = recall("the compass", PAST, verbatim=said(PAST[0].content), top_k=1)
    assert [chunk.id for chunk in found] != ["m0"] and len(found) == 1


def test_repeated_messages_are_told_once_and_notes_of_the_system_never() -> None:
    past = [
        *said("나침반을 줄게", "나침반을 줄게"),
        Message(role="system", content="나침반을 줄게!"),
    ]
    assert len(recall("나침반", past)) == 1


def test_a_hit_brings_what_was_said_around_it() -> None:
    alone = recall("compass", PAST, top_k=1)
    index = Index(chat_passages(PAST, search("compass")[1]))
    around = beside(index, alone, PAST, allowed=recallable(PAST, ()), reach=1)
    assert [chunk.id for chunk in alone] == ["m0"]
    assert [(chunk.id, chunk.meta["why"]) for chunk in around] == [("m1", ["beside m0"])]
    seen = recallable(PAST, PAST[1:2])
    assert beside(index, alone, PAST, allowed=seen, reach=1) == []


class ByLength:
    """A cross-encoder that likes short texts."""

    async def arank(self, query: str, texts: Sequence[str]) -> np.ndarray:
        return np.array([1 / len(text) for text in texts], dtype=np.float32)


async def test_a_cross_encoder_has_the_last_word() -> None:
    found = await reranked("?", recall("the compass", PAST), ByLength(), top_k=2)
    assert [chunk.id for chunk in found] == ["m4", "m3"]
    assert all(chunk.meta["why"][-1] == "reranked" for chunk in found)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=6), st.text())
def test_any_text_can_be_asked_and_searched(contents: list[str], message: str) -> None:
    message = message.encode("utf-8", "ignore").decode() if message.strip() else "?"
    found = recall(message if message.strip() else "?", said(*contents))
    assert len({chunk.id for chunk in found}) == len(found)


def test_a_pause_ends_a_scene() -> None:
    times = ["2026-01-01T10:00:00Z", "2026-01-01T10:05:00", None, "2026-01-02T09:00:00+09:00"]
    messages = [
        Message.model_validate({"role": "user", "content": "a", "timestamp": time})
        for time in times
    ]
    assert scenes(messages) == ["0", "0", "0", "1"]


def event(name: str, order: int, **fields: object) -> StoryEvent:
    return StoryEvent.model_validate({"id": name, "order": order, "text": name, **fields})


def tell(
    events: list[StoryEvent], position: int | None, message: str = "?", **options: Any
) -> tuple[list[RAGChunk], list[RAGChunk]]:
    looked_for, _ = search(message)
    index = Index(event_passages(events), part_size=EVENT_PART_SIZE)
    options = {"top_k": 50, **options}
    found = retrieve_story_context(
        looked_for,
        events,
        index,
        vectors(index.parts) if events else None,
        persona=HARU,
        position=position,
        **options,
    )
    return found.context, found.narrator_only


def test_who_knows_what() -> None:
    events = [
        event("public", 1),
        event("seen", 1, characters=["하루", "미르"]),
        event("seen by alias", 1, characters=["haru "]),
        event("unseen", 1, characters=["미르"]),
        event("told", 1, characters=["미르"], known_by=["하루"]),
        event("secret", 1, characters=["하루"], visibility="secret"),
        event("secret known", 1, visibility="secret", known_by=["하루"]),
        event("future", 9, constant=True, keywords=["?"]),
    ]
    known, hidden = tell(events, position=5)
    assert {c.id for c in known} == {"public", "seen", "seen by alias", "told", "secret known"}
    assert {c.id for c in hidden} == {"unseen", "secret"}


def test_constants_and_keywords_bring_an_event_in() -> None:
    events = [
        event("bridge", 1, keywords=["다리"]),
        event("forest", 1, keywords=["숲"]),
        event("rule", 1, constant=True),
    ]
    texts = ["은빛숲길 너머 다리를 건너자"]
    known, _ = tell(events, None, top_k=0, texts=texts)
    assert {c.id: c.meta["why"] for c in known} == {
        "rule": ["constant"],
        "bridge": ["keyword 다리"],
    }


NAMES = st.sampled_from(["하루", "미르", "소라"])
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.fixed_dictionaries(
            {
                "characters": st.lists(NAMES, max_size=2),
                "known_by": st.lists(NAMES, max_size=2),
                "visibility": st.sampled_from(["public", "witnessed", "secret"]),
                "constant": st.booleans(),
                "keywords": st.lists(st.sampled_from(["문", "door"]), max_size=1),
            }
        ),
    ),
    max_size=12,
)


@given(EVENTS, st.integers(0, 9))
def test_nothing_future_and_nothing_unknown_is_ever_told(
    drawn: list[tuple[int, dict[str, object]]], position: int
) -> None:
    events = [event(f"e{n} door", order, **fields) for n, (order, fields) in enumerate(drawn)]
    known, hidden = tell(events, position, "문을 여는 door", texts=["문을 여는 door"])
    told, kept_back = {chunk.id for chunk in known}, {chunk.id for chunk in hidden}
    for item in events:
        may = item.visibility == "public" or "하루" in item.known_by
        may = may or (item.visibility == "witnessed" and "하루" in item.characters)
        assert item.order <= position or item.id not in told | kept_back
        assert may or item.id not in told
        assert not may or item.id not in kept_back
