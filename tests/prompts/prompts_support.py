"""What the tests of prompts build: a turn, a chat, retrieved chunks."""

from __future__ import annotations

import random

from schemas.rag import DialogueTurn, PromptBuildInput, PromptLayout, RAGChunk
from schemas.request import Persona

WORDS = {
    "en": "harbor light keeper storm she looked over a lantern swung low toward water again",
    "ko": "등대 불을 켜고 조용히 바다를 바라보았다 폭풍이 온다고 했어 정말 그럴까 오늘 밤은",
}


def chat(lines: int, seed: int = 0, language: str = "en", size: int = 60) -> list[DialogueTurn]:
    """A chat of so many lines, the user first, of up to `size` words each."""
    draw, words = random.Random(seed), WORDS[language].split()
    return [
        DialogueTurn(
            role="user" if row % 2 == 0 else "character",
            name="Min" if row % 2 == 0 else "Sera",
            content=" ".join(draw.choices(words, k=draw.randint(5, size))) + f" {row}",
            id=f"m{row}",
        )
        for row in range(lines)
    ]


def turn(**changes: object) -> PromptBuildInput:
    """A turn with Sera and Min; keywords replace its parts, and those of its layout."""
    layout = {key: changes.pop(key) for key in [*changes] if key in PromptLayout.model_fields}
    parts: dict[str, object] = {
        "persona": Persona(name="Sera", description="A keeper of lights.", language="en"),
        "user_message": "Where is the key?",
        "user_name": "Min",
        "layout": PromptLayout.model_validate(layout),
    }
    return PromptBuildInput.model_validate(parts | changes)


def memory(name: str, text: str, row: int = 0, by: str = "Min") -> RAGChunk:
    """A recalled message."""
    return RAGChunk(id=name, source="chat", text=text, meta={"row": row, "name": by})


def event(name: str, text: str, order: int = 0) -> RAGChunk:
    """A story event."""
    return RAGChunk(id=name, source="story", text=text, meta={"order": order})
