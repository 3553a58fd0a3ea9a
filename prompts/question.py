"""The question who answers, put where the reply's notes and instruction will stand."""

from __future__ import annotations

from typing import NamedTuple

from prompts.formats import Turn, messages
from prompts.plan import plan
from prompts.tokens import Count, estimate
from schemas.rag import PromptBuildInput


class Question(NamedTuple):
    """A prompt that a name completes, and the two names: the character's and the narrator's."""

    prompt: str
    messages: list[dict[str, str]]
    """The same for a chat endpoint; empty where the format is another."""
    character: str
    narrator: str


def ask_who(given: PromptBuildInput, *, count: Count = estimate) -> Question:
    """The reply's prompt as far as it does not depend on the speaker, then the question.

    System text, history and the user's message are those of `build_prompt`, byte for byte, so an
    engine that computes the one finds the other in its cache (`after_history`; elsewhere the notes
    stand before or within the history).

    Args:
        given: the turn; `history` is whole. Speaker and what was retrieved are not read.
        count: tokens of a text.

    Raises:
        BadRequest: card, message and reply do not fit the context.
    """
    planned = plan(given, count)
    words = planned.words
    last = "\n\n".join(filter(None, [planned.message.text, words.question()]))
    turns = [*(turn for turn in planned.turns if turn.text), Turn("user", last)]
    return Question(
        prompt=words.form.render(planned.system, turns),
        messages=messages(planned.system, turns) if given.layout.format == "chat" else [],
        character=words.card.name,
        narrator=words.narrator,
    )
