"""The prompt of plain work: messages in the model's own format, as many of the newest as fit."""

from __future__ import annotations

from collections.abc import Sequence

from prompts.control import neutralise
from prompts.tokens import Count, estimate
from prompts.words import format_named
from schemas.completion import CompletionMessage
from schemas.errors import BadRequest
from schemas.formats import Format, PromptTurn, messages
from schemas.rag import PromptBuildOutput, PromptLayout

SYSTEM = "You are a helpful assistant."
"""For the formats that have to have a system text, where the messages bring none."""


def plain_prompt(
    given: Sequence[CompletionMessage], layout: PromptLayout, count: Count = estimate
) -> PromptBuildOutput:
    """The prompt, and the format's own stops; `meta` has the tokens of both.

    The system text and the last message always stay, the oldest of the others go first. A message
    of the system behind the first of another role is part of the user's side.

    Args:
        given: the messages, oldest first.
        layout: the model's.
        count: tokens of a text.

    Raises:
        BadRequest: what has to stay does not fit the context.
        SettingsError: the layout names no known format.
    """
    form = format_named(layout.format)
    first = next((row for row, it in enumerate(given) if it.role != "system"), len(given))
    system = "\n\n".join(_safe(it.content, form) for it in given[:first])
    turns = [_turn(message, form) for message in given[first:]]
    if not turns:  # what is to be done stands in the system text
        system, turns = "", [PromptTurn("user", system)]
    system = system or SYSTEM
    budget = layout.context_length - layout.max_new_tokens - int(form.bos)
    left = budget - count(form.head(system, turns[-1:])) - count(form.assistant[0])
    kept: list[PromptTurn] = []
    for turn in reversed(turns):
        left -= count(form.turn(turn))
        if left < 0 and kept:
            break
        kept.insert(0, turn)
        if left < 0:
            raise too_long(-left, layout, "messages")
    begun = kept.pop().text if kept[-1].side == "assistant" else ""
    if not kept:  # there is nothing to go on from but the reply
        kept = [PromptTurn("user", system)]
    return PromptBuildOutput(
        prompt=form.render(system, kept, begun),
        messages=_as_messages(system, kept, begun) if layout.format == "chat" else [],
        stop=list(dict.fromkeys((*form.stops, *layout.stops))),
        meta={"tokens": {"total": budget - left, "budget": budget}},
    )


def raw_prompt(text: str, layout: PromptLayout, count: Count = estimate) -> PromptBuildOutput:
    """A prompt that the caller wrote in the model's format, as it is.

    Raises:
        BadRequest: it does not fit the context.
    """
    tokens, budget = count(text), layout.context_length - layout.max_new_tokens
    if tokens > budget:
        raise too_long(tokens - budget, layout, "prompt")
    return PromptBuildOutput(prompt=text, meta={"tokens": {"total": tokens, "budget": budget}})


def too_long(tokens: int, layout: PromptLayout, field: str) -> BadRequest:
    """The refusal of a text that leaves no room, by how many tokens."""
    return BadRequest(
        f"{tokens} tokens too long for this model (a context of {layout.context_length}, "
        f"{layout.max_new_tokens} of them for the reply); shorten it, or ask for a shorter reply",
        field=field,
    )


def _turn(message: CompletionMessage, form: Format) -> PromptTurn:
    text = _safe(message.content, form)
    return PromptTurn("assistant" if message.role == "assistant" else "user", text)


def _safe(text: str, form: Format) -> str:
    return neutralise(text, form).strip()


def _as_messages(system: str, turns: Sequence[PromptTurn], begun: str) -> list[dict[str, str]]:
    written = messages(system, turns)
    return [*written, {"role": "assistant", "content": begun}] if begun else written
