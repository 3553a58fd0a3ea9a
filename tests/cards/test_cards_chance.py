"""Chance in a card: a repeat gives the same prompt, and chats differ."""

from __future__ import annotations

from typing import Any

import pytest

from cards.lore.events import to_events
from cards.lore.lorebook import Lorebook, LoreEntry
from cards.macros import chat_of
from schemas.request import ChatRequest
from tests.support import MakePipeline, RecordingLLM, ask

NUMBERS = ",".join(map(str, range(10_000)))
PERSONA = {
    "name": "하늘",
    "description": f"Mood {{{{random:{NUMBERS}}}}}. Born {{{{pick:{NUMBERS}}}}}.",
    "scenario": "Room {{roll:d999999}}.",
    "system_prompt": "[{{description}}] [{{description}}]",
    "first_message": f"Ticket {{{{random:{NUMBERS}}}}}.",
}


async def prompt_of(make_pipeline: MakePipeline, llm: RecordingLLM, **fields: Any) -> str:
    await make_pipeline(llm).chat(ask(**{"persona": PERSONA, **fields}))
    return llm.prompts[-1]


def after(word: str, prompt: str) -> list[str]:
    """The words behind each of this word."""
    return [part.split()[0].rstrip(".") for part in prompt.split(f"{word} ")[1:]]


SAID = [{"role": "user", "content": "안녕"}, {"role": "character", "content": "응."}]


@pytest.mark.parametrize("session", [{}, {"session_id": "s1"}])
async def test_a_repeat_gives_the_same_prompt(
    session: dict[str, str], make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    entries = tuple(
        LoreEntry(
            id=str(n), content=f"글 {n} {{{{random:{NUMBERS}}}}}", constant=True, probability=50
        )
        for n in range(20)
    )
    story = [event.model_dump(mode="json") for event in to_events(Lorebook(entries=entries))]
    for history in ([], SAID):
        prompts = {
            await prompt_of(make_pipeline, scripted, history=history, story=story, **session)
            for _ in range(3)
        }
        assert len(prompts) == 1


async def test_chats_differ_and_turns_differ_and_a_pick_stays(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    first = await prompt_of(make_pipeline, scripted, session_id="a")
    other = await prompt_of(make_pipeline, scripted, session_id="b")
    later = await prompt_of(make_pipeline, scripted, session_id="a", history=SAID)
    for word in ("Mood", "Room", "Born", "Ticket"):
        assert after(word, first) != after(word, other), word
    for word in ("Mood", "Room"):
        assert after(word, first) != after(word, later), word
    assert after("Born", first) == after("Born", later)


async def test_a_field_says_the_same_wherever_it_stands(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    prompt = await prompt_of(make_pipeline, scripted, session_id="a")
    assert len(after("Mood", prompt)) == 3 and len(set(after("Mood", prompt))) == 1


async def test_a_greeting_stays_as_it_was_said(
    make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    opening = [{"role": "character", "content": PERSONA["first_message"]}]
    tickets = [
        after("Ticket", await prompt_of(make_pipeline, scripted, session_id="a", history=history))
        for history in ([], opening, [*opening, *SAID])
    ]
    assert len(tickets[0]) == 1 and tickets[0] == tickets[1] == tickets[2]


def test_a_chat_without_an_id_is_known_by_how_it_began() -> None:
    def chat(**fields: Any) -> str:
        return chat_of(ChatRequest.model_validate(ask(**fields)))

    assert chat(message="안녕") == chat(message="또", history=SAID) != chat(message="또")
    assert chat(message="안녕") != chat(message="안녕", persona={"name": "세라"})
    assert chat(session_id="new-0123", message="안녕") == chat(message="안녕")
    assert chat(session_id="s", message="안녕") == "s"
