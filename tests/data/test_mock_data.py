"""The mock data: valid, complete, and hard enough to need memory, story and discretion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas.request import ChatRequest, Message, Persona, StoryEvent

MOCK = Path(__file__).parents[2] / "data" / "mock"


@dataclass(frozen=True)
class Demo:
    """One language: what its demo message needs, and what would give the plot away."""

    suffix: str
    needed_memory: str
    needed_event: str
    forbidden: frozenset[str]
    memory_fact: str
    event_fact: str


# English: "can I still be home in time for my grandmother's birthday?" needs m011 (ninety on
# Sunday the nineteenth, a promise) and e13 (no ferry before Saturday's morning tide). Nell has
# no way to know e14 (Finch: the ferry is sold) or e15 (the captain: no shaft before Monday),
# and e17, e21, e22 have not happened: cancelled, sails after all, home in time.
ENGLISH = Demo(
    "", "m011", "e13", frozenset({"e14", "e15", "e17", "e21", "e22"}), "nineteenth", "eighteenth"
)
# Korean: "which of tomorrow's dishes can I not eat?" needs m013 (buckwheat) and e12 (the new
# menu: two dishes are buckwheat). 봉숙 has no way to know e13 (the surprise birthday soup) or
# e14 (buckwheat flour in the potato pancakes); e16, e17, e18 have not happened.
KOREAN = Demo(
    ".ko", "m013", "e12", frozenset({"e13", "e14", "e16", "e17", "e18"}), "메밀", "메밀전병"
)


@pytest.fixture(params=[ENGLISH, KOREAN], ids=["en", "ko"])
def demo(request: pytest.FixtureRequest) -> Demo:
    """Each language in turn."""
    chosen: Demo = request.param
    return chosen


def load(part: str, demo: Demo) -> Any:
    """The JSON of `sample_<part>` in the demo's language."""
    return json.loads((MOCK / f"sample_{part}{demo.suffix}.json").read_text(encoding="utf-8"))


def history_of(demo: Demo) -> list[Message]:
    return [Message.model_validate(row) for row in load("history", demo)]


def story_of(demo: Demo) -> dict[str, StoryEvent]:
    events = [StoryEvent.model_validate(row) for row in load("story", demo)]
    return {event.id: event for event in events}


def may_know(event: StoryEvent, name: str, position: int) -> bool:
    """The rule of the story in one place: it has happened, and she saw it or was told."""
    return event.order <= position and (
        event.visibility == "public"
        or name in event.known_by
        or (event.visibility == "witnessed" and name in event.characters)
    )


def test_the_request_is_valid_and_made_of_the_single_files(demo: Demo) -> None:
    raw = load("request", demo)
    ChatRequest.model_validate(raw)
    for part in ("persona", "history", "story"):
        assert raw[part] == load(part, demo), f"sample_request{demo.suffix}.json: {part} differs"


def test_the_persona_is_complete(demo: Demo) -> None:
    persona = Persona.model_validate(load("persona", demo))
    assert persona.language == (demo.suffix.lstrip(".") or "en")
    assert persona.aliases
    assert persona.example_dialogue.count("<START>") >= 3
    assert f"\n{persona.name}: " in persona.example_dialogue
    assert persona.first_message == history_of(demo)[0].content
    for text in (persona.description, persona.personality, persona.scenario):
        assert len(text) > 100


def test_the_history_is_a_chat_of_several_days(demo: Demo) -> None:
    history, request = history_of(demo), ChatRequest.model_validate(load("request", demo))
    assert len(history) >= 120
    assert [message.id for message in history] == [f"m{n:03d}" for n in range(1, len(history) + 1)]
    times = [message.timestamp for message in history if message.timestamp is not None]
    assert len(times) == len(history)
    assert all(time.tzinfo is not None for time in times)
    assert all(earlier < later for earlier, later in pairwise(times))
    assert len({time.date() for time in times}) >= 4
    names = {
        role: {m.name for m in history if m.role == role} for role in {m.role for m in history}
    }
    assert set(names) == {"user", "character", "narrator"}
    assert names["user"] == {request.user_name}
    assert names["character"] == {request.persona.name}
    assert len({message.content for message in history}) == len(history)


def test_some_messages_are_pure_action_and_some_mix_it_with_speech(demo: Demo) -> None:
    said = [message.content for message in history_of(demo) if message.role == "user"]
    only_action = [s for s in said if s.count("*") == 2 and s.startswith("*") and s.endswith("*")]
    mixed = [s for s in said if "*" in s and s not in only_action]
    assert only_action
    assert len(mixed) >= 10


def test_the_story_has_a_past_a_future_and_secrets(demo: Demo) -> None:
    story, request = story_of(demo), ChatRequest.model_validate(load("request", demo))
    events, position = list(story.values()), request.story_position
    assert position is not None
    assert len(events) >= 20
    assert [event.order for event in events] == [10 * n for n in range(1, len(events) + 1)]
    future = [event for event in events if event.order > position]
    assert len(future) >= 5
    assert all(event.trigger for event in future)
    assert all(event.title and event.location and event.keywords for event in events)
    assert {event.visibility for event in events} == {"public", "witnessed", "secret"}
    assert 1 <= sum(event.constant for event in events) <= 2
    hidden = [
        e for e in events if e not in future and not may_know(e, request.persona.name, position)
    ]
    assert {event.visibility for event in hidden} == {"witnessed", "secret"}


def test_the_demo_needs_an_old_memory_and_an_event(demo: Demo) -> None:
    history, story = history_of(demo), story_of(demo)
    request = ChatRequest.model_validate(load("request", demo))
    assert request.meta["demo"] == {
        "needs": [demo.needed_memory, demo.needed_event],
        "must_not_tell": sorted(demo.forbidden),
    }
    assert demo.needed_memory in {message.id for message in history[:-40]}
    assert may_know(story[demo.needed_event], request.persona.name, request.story_position or 0)


def test_each_needed_fact_stands_in_one_place_only(demo: Demo) -> None:
    history, persona = history_of(demo), json.dumps(load("persona", demo), ensure_ascii=False)
    message = load("request", demo)["message"]
    assert [m.id for m in history if demo.memory_fact in m.content] == [demo.needed_memory]
    assert demo.event_fact in story_of(demo)[demo.needed_event].text
    assert not [m.id for m in history if demo.event_fact in m.content]
    assert demo.memory_fact not in persona + message
    assert demo.event_fact not in persona + message


def test_what_must_not_be_told_is_beyond_the_character(demo: Demo) -> None:
    story, request = story_of(demo), ChatRequest.model_validate(load("request", demo))
    name, position = request.persona.name, request.story_position or 0
    assert not [i for i in demo.forbidden if may_know(story[i], name, position)]
    assert any(story[i].order > position for i in demo.forbidden)
    assert any(story[i].order <= position for i in demo.forbidden)
    wanted = set(story[demo.needed_event].keywords)
    tempting = [i for i in demo.forbidden if wanted & set(story[i].keywords)]
    assert len(tempting) >= 3, "a leak needs bait: events about what the message asks"
