from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.retrieve_chat import retrieve_chat_context
from nodes.retrieve_story import retrieve_story_context
from schemas.request import Message, Persona, StoryEvent

HARU = Persona(name="하루", aliases=["Haru"])


def axis(*heights: float) -> np.ndarray:
    """Unit vectors of which the first number is the similarity to QUERY."""
    rows = [[height, (1 - height**2) ** 0.5] for height in heights]
    return np.array(rows, dtype=np.float32).reshape(-1, 2)


QUERY = np.array([1, 0], dtype=np.float32)


def said(*contents: str) -> list[Message]:
    return [Message(role="user", content=content, id=f"m{n}") for n, content in enumerate(contents)]


def test_the_nearest_messages_come_first_and_weak_ones_not_at_all() -> None:
    found = retrieve_chat_context(
        QUERY, said("a", "b", "c"), axis(0.2, 0.9, 0.5), top_k=5, score_threshold=0.4
    )
    assert [chunk.id for chunk in found] == ["m1", "m2"]
    assert found[0].score == pytest.approx(0.9)


def test_what_is_verbatim_takes_no_place() -> None:
    past = said("the same", "other")
    found = retrieve_chat_context(QUERY, past, axis(0.9, 0.5), verbatim=said("the same"), top_k=1)
    assert [chunk.text for chunk in found] == ["other"]


def test_repeated_messages_are_told_once_and_notes_of_the_system_never() -> None:
    past = [*said("나침반", "나침반"), Message(role="system", content="be brief")]
    found = retrieve_chat_context(QUERY, past, axis(0.8, 0.9, 1.0), top_k=5)
    assert [chunk.text for chunk in found] == ["나침반"]


def event(name: str, order: int, **fields: object) -> StoryEvent:
    return StoryEvent.model_validate({"id": name, "order": order, "text": name, **fields})


def tell(events: list[StoryEvent], position: int | None) -> tuple[set[str], set[str]]:
    found = retrieve_story_context(
        QUERY, events, axis(*[0.5] * len(events)), persona=HARU, position=position, top_k=50
    )
    return {c.id for c in found.context}, {c.id for c in found.narrator_only}


def test_who_knows_what() -> None:
    events = [
        event("public", 1),
        event("seen", 1, characters=["하루", "미르"]),
        event("seen by alias", 1, characters=["haru "]),
        event("unseen", 1, characters=["미르"]),
        event("told", 1, characters=["미르"], known_by=["하루"]),
        event("secret", 1, characters=["하루"], visibility="secret"),
        event("secret known", 1, visibility="secret", known_by=["하루"]),
        event("future", 9, constant=True),
    ]
    known, hidden = tell(events, position=5)
    assert known == {"public", "seen", "seen by alias", "told", "secret known"}
    assert hidden == {"unseen", "secret"}


def test_a_constant_event_is_told_however_far_it_is() -> None:
    events = [event("near", 1), event("constant", 1, constant=True)]
    found = retrieve_story_context(
        QUERY, events, axis(0.9, 0.0), persona=HARU, position=None, top_k=1, score_threshold=0.5
    )
    assert {chunk.id for chunk in found.context} == {"near", "constant"}


NAMES = st.sampled_from(["하루", "미르", "소라"])
EVENTS = st.lists(
    st.builds(
        lambda order, present, known, visibility, constant: (
            order, {"characters": present, "known_by": known, "visibility": visibility,
                    "constant": constant},
        ),
        st.integers(0, 9),
        st.lists(NAMES, max_size=2),
        st.lists(NAMES, max_size=2),
        st.sampled_from(["public", "witnessed", "secret"]),
        st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


@given(EVENTS, st.integers(0, 9))
def test_nothing_future_and_nothing_unknown_is_ever_told(
    drawn: list[tuple[int, dict[str, object]]], position: int
) -> None:
    events = [event(f"e{n}", order, **fields) for n, (order, fields) in enumerate(drawn)]
    known, hidden = tell(events, position)
    for item in events:
        may = item.visibility == "public" or "하루" in item.known_by
        may = may or (item.visibility == "witnessed" and "하루" in item.characters)
        assert (item.id in known) == (may and item.order <= position)
        assert (item.id in hidden) == (not may and item.order <= position)
