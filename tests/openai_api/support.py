"""Messages as clients send them, and what is made of a body."""

from __future__ import annotations

from typing import Any

from graph.pipeline import read_request
from openai_api.read import read_chat
from openai_api.translate import Work, chat_work
from schemas.request import ChatRequest, Persona, StoryEvent

JSON = dict[str, Any]

LORE = [StoryEvent(id="lore/0", order=0, text="The well of {{char}}'s island ran dry in March.")]
NELL = Persona(
    name="Nell Harrow",
    description="{{char}} keeps the lost property office.\n\nShe drinks coffee with {{user}}.",
    personality="Dry, exact, unhurried.",
    scenario="A wet island, a Thursday evening in October.",
    first_message="*The bell gives one flat clank.* Mind the cat, {{user}}.",
    example_dialogue="<START>\n{{user}}: Is it open?\n{{char}}: Until six.",
    post_history_instructions="Stay with what {{char}} has seen.",
    aliases=["Eleanor Harrow"],
)
BONG = Persona(name="구봉숙", description="별재천문대의 대장.", first_message="막차는 갔다.")
FOLDER = {"nell harrow": (NELL, LORE), "구봉숙": (BONG, list[StoryEvent]())}
MODELS = ["test/Model"]


def system(content: Any, **more: Any) -> JSON:
    return {"role": "system", "content": content, **more}


def user(content: Any, **more: Any) -> JSON:
    return {"role": "user", "content": content, **more}


def assistant(content: Any, **more: Any) -> JSON:
    return {"role": "assistant", "content": content, **more}


def work(*messages: JSON, model: str = "iyagi", narrated: Any = None, **beside: Any) -> Work:
    """What a body asks for."""
    body = read_chat({"model": model, "messages": list(messages), **beside})
    return chat_work(body, MODELS, lambda name: FOLDER.get(name.casefold()), narrated)


def request(*messages: JSON, **beside: Any) -> ChatRequest:
    """The turn that a body asks for, as the pipeline reads it."""
    asked = work(*messages, **beside)
    assert not asked.plain
    return read_request(asked.payload)


def lines(asked: ChatRequest) -> list[tuple[str, str]]:
    """The history: role, or the name of another speaker, and text."""
    return [(line.name or line.role, line.content) for line in asked.history]
