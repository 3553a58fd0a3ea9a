"""The question who answers: an engine that has the one prompt finds the other in its cache."""

from __future__ import annotations

from itertools import takewhile

import pytest
from tokenizers import Tokenizer

from prompts.build import ask_who, build_prompt
from schemas.formats import FORMATS
from schemas.rag import DialogueTurn, PromptBuildInput
from schemas.request import Persona, Speaker
from tests.prompts.prompts_support import chat, event, memory, turn

SEAM = 2
"""Tokens at the place where both part: a tokenizer may join what stands there."""


def both(language: str, **changes: object) -> PromptBuildInput:
    """A chat of which the beginning is cut off, with notes."""
    name = "세라" if language == "ko" else "Sera"
    last = DialogueTurn(role="narrator", name="Narrator", content="The lamp goes out.")
    parts: dict[str, object] = {
        "persona": Persona(name=name, description="등대.", language=language),
        "history": [*chat(80, language=language), last],
        "user_message": "열쇠는 어디 있지?" if language == "ko" else "Where is the key?",
        "chat_context": [memory("m", "MEMORY")],
        "story_context": [event("e", "EVENT")],
        "context_length": 3000,
    }
    return turn(**(parts | changes))


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("name", FORMATS)
def test_all_but_the_question_is_shared_with_the_reply(
    name: str, language: str, subwords: Tokenizer
) -> None:
    def ids(text: str) -> list[int]:
        found: list[int] = subwords.encode(text).ids
        return found

    given = both(language, format=name)
    asked = ask_who(given, count=lambda text: len(ids(text)))
    speakers: tuple[Speaker, ...] = ("character", "narrator")
    for speaker in speakers:
        reply = build_prompt(
            given.model_copy(update={"speaker": speaker}), count=lambda text: len(ids(text))
        )
        assert reply.meta["cut"]["dropped_messages"] > 0
        head, told, _ = asked.prompt.rpartition(given.user_message)
        assert reply.prompt.startswith(head + told + "\n\n[")
        one, other = ids(asked.prompt), ids(reply.prompt)
        pairs = zip(one, other, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        assert common >= len(ids(head + told)) - SEAM
        assert len(one) - common < 0.15 * len(one), "what an engine has yet to compute"


def test_the_two_names_and_no_opening() -> None:
    asked = ask_who(both("ko"))
    assert (asked.character, asked.narrator) == ("세라", "내레이터")
    assert asked.prompt.endswith("<|im_start|>assistant\n")
    assert asked.messages == []


def test_a_chat_endpoint_gets_messages() -> None:
    asked = ask_who(both("en", format="chat"))
    assert [asked.messages[0]["role"], asked.messages[-1]["role"]] == ["system", "user"]
    assert asked.messages[-1]["content"].endswith("Sera or Narrator.]")
