"""Node `build_prompt`: card, memories, story and chat become one prompt within the budget."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

from langgraph.runtime import Runtime

from cards.macros import chat_of
from prompts.formats import Turn, messages
from prompts.ledger import CutLedger, Ledger, PrefixLedger, TokenLedger
from prompts.notes import Notes, take_notes
from prompts.plan import Plan, plan, too_large
from prompts.tokens import Count, estimate
from retrieval.knowledge import may_know, names_of
from retrieval.story import event_chunk
from schemas.models import Models
from schemas.rag import Lore, PromptBuildInput, PromptBuildOutput, RAGChunk
from schemas.request import Persona, StoryEvent
from schemas.state import Context, State, request_of


def build_prompt(
    given: PromptBuildInput, *, count: Count = estimate, planned: Plan | None = None
) -> PromptBuildOutput:
    """The prompt of one turn, the strings that end a reply to it, and the ledger.

    Args:
        given: the turn. Contexts are best first; the history is whole, as it was sent.
        count: tokens of a text, by the model that will read the prompt.
        planned: the `plan` of this turn, where it is settled already.

    Returns:
        A prompt that fits the context together with the reply. `meta` is a `Ledger` as data.

    Raises:
        BadRequest: card, message and reply do not fit the context; says by how many tokens.
        SettingsError: the layout names no known format.
    """
    planned = planned or plan(given, count)
    draft = _fit(_Draft(given, planned, take_notes(given, planned, count)), count)
    system, turns = draft.parts
    return PromptBuildOutput(
        prompt=draft.prompt,
        messages=messages(system, turns) if given.layout.format == "chat" else [],
        stop=_stops(given, planned),
        speaker_name=planned.words.speaker(given.speaker),
        meta=_ledger(draft, count).model_dump(),
    )


@dataclass(frozen=True)
class _Draft:
    """A prompt in the making: what it holds, and its tokens where they were counted."""

    given: PromptBuildInput
    planned: Plan
    notes: Notes
    counted: int | None = None
    """Tokens of the whole prompt; None where the sum of its sections is known to fit."""

    @property
    def total(self) -> int:
        """Tokens of the whole, or of all sections."""
        return self.planned.tokens + self.notes.total if self.counted is None else self.counted

    @cached_property
    def prompt(self) -> str:
        """The prompt as one string."""
        system, turns = self.parts
        words = self.planned.words
        prefix = words.voices.tag("character", words.speaker(self.given.speaker))
        return words.form.render(system, turns, prefix)

    @cached_property
    def parts(self) -> tuple[str, list[Turn]]:
        """The system text and the turns, the notes at their place."""
        words, layout, notes = self.planned.words, self.given.layout, self.notes.text
        turns = [turn for turn in self.planned.turns if turn.text]
        last = [self.planned.message.text, words.instruction(self.given.speaker)]
        system = self.planned.system
        match layout.place if notes else "":
            case "after_history":
                last.insert(1, notes)
            case "before_history":
                system = f"{system}\n\n{notes}"
            case "depth":
                row = max(0, len(turns) - layout.depth)
                while row < len(turns) and turns[row].side != "user":
                    row += 1
                if row < len(turns):
                    turns[row] = Turn("user", f"{notes}\n\n{turns[row].text}")
                else:
                    last.insert(0, notes)
        return system, [*turns, Turn("user", "\n\n".join(filter(None, last)))]


_SEAM = 3
"""Tokens that two parts may have more together than apart; a tokenizer may merge otherwise."""


def _fit(draft: _Draft, count: Count) -> _Draft:
    """A draft within the budget: near the limit the whole is counted, and what is too much goes,
    the weakest note first, then the oldest turn."""
    seams = _SEAM * (len(draft.planned.turns) + 4)
    if draft.total + seams <= draft.planned.budget:
        return draft
    while True:
        total = count(draft.prompt)
        if total <= draft.planned.budget:
            return replace(draft, counted=total)
        if draft.notes.kept:
            draft = replace(draft, notes=draft.notes.fewer())
        elif draft.notes.text:
            draft = replace(draft, notes=draft.notes.none())
        elif draft.planned.turns:
            draft = replace(draft, planned=draft.planned.shorter())
        else:
            raise too_large(total - draft.planned.budget, draft.given.layout)


def _stops(given: PromptBuildInput, planned: Plan) -> list[str]:
    """What ends a reply: the format's tokens, and a line that another participant begins."""
    words = planned.words
    lines = given.history[planned.verbatim_from :]
    others = [words.user, words.card.name, words.narrator, *(line.name for line in lines)]
    speaker = words.speaker(given.speaker)
    names = [f"\n{name}:" for name in others if name and name != speaker]
    return list(dict.fromkeys([*words.form.stops, *given.layout.stops, *names]))


def _ledger(draft: _Draft, count: Count) -> Ledger:
    given, planned, notes = draft.given, draft.planned, draft.notes
    return Ledger(
        format=planned.words.form.name,
        place=given.layout.place,
        language=planned.words.language,
        speaker=given.speaker,
        sha256=hashlib.sha256(draft.prompt.encode()).hexdigest(),
        tokens=TokenLedger(
            system=planned.system_tokens,
            examples=planned.examples_tokens,
            history=sum(planned.history_tokens),
            message=planned.message_tokens,
            memories=notes.tokens("memory"),
            story=notes.tokens("story", "secret"),
            frame=notes.frame,
            instruction=planned.instruction_tokens,
            total=draft.total,
            reserve=given.layout.max_new_tokens,
            budget=planned.budget,
        ),
        items=notes.items,
        cut=CutLedger(
            verbatim_from=planned.verbatim_from,
            dropped_messages=planned.verbatim_from,
            dropped_examples=planned.dropped_examples,
        ),
        stop=_stops(given, planned),
        prefix=_prefix(given, planned, draft.total, count),
    )


def _prefix(
    given: PromptBuildInput, planned: Plan, total: int, count: Count
) -> PrefixLedger | None:
    """How much of this prompt the engine has seen in the last one; None if that is unknown.

    The last prompt ended with the last user line of the history; up to there both are equal if
    they cut at the same place. What was retrieved then is unknown, and so not counted.
    """
    rows = range(len(given.history) - 1, planned.verbatim_from - 1, -1)
    row = next((row for row in rows if given.history[row].role == "user"), None)
    if row is None:
        return None
    last = planned.before(given.history[row], given.history[:row], count)
    if last is None:
        return None
    tokens = planned.system_tokens
    if last.system != planned.system:  # chance in the card, or its examples went
        pairs = enumerate(zip(last.system, planned.system, strict=False))
        same = next((at for at, (old, new) in pairs if old != new), len(planned.system))
        tokens = tokens * estimate(planned.system[:same]) // estimate(planned.system)
    if last.system == planned.system and last.verbatim_from == planned.verbatim_from:
        shared = row + 1 - planned.verbatim_from
        if given.layout.place == "depth":
            shared -= 1 + given.layout.depth
        tokens += planned.examples_tokens + sum(planned.history_tokens[: max(0, shared)])
    if given.layout.place == "before_history":
        tokens = min(tokens, planned.system_tokens + planned.examples_tokens)
    return PrefixLedger(tokens=tokens, share=round(tokens / max(total, 1), 4))


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads `request`, `lore`, `plan`, `chat`, `story` and `route`; writes `prompt`."""
    request, context = request_of(state), runtime.context or Context()
    model, speaker = models.choose(request.model.name), state["route"].responded_as
    lore = state.get("lore") or Lore()
    given = PromptBuildInput(
        persona=request.persona,
        chat_context=state["chat"].context,
        story_context=[*lore.passing, *state["story"].context, *_witnessed(state, request.persona)],
        lore=lore.standing,
        lore_room=lore.room,
        narrator_only=state["story"].narrator_only if speaker == "narrator" else [],
        history=request.history,
        user_message=request.message,
        user_name=request.user_name,
        chat=chat_of(request),
        speaker=speaker,
        direction=_direction(state),
        state=_time_and_place(state, request.persona),
        layout=model.layout_for(request.gen.max_new_tokens, context.max_new_tokens),
    )
    planned = cast("Plan | None", state.get("plan"))
    prompt = await model.counted(lambda count: build_prompt(given, count=count, planned=planned))
    return {"prompt": prompt}


def _reached(state: State) -> StoryEvent | None:
    """The event that this turn brings about, if there is one."""
    progress, upcoming = state.get("progress"), state["story"].upcoming
    return upcoming.event if progress and progress.event and upcoming else None


def _direction(state: State) -> str:
    """What this reply should bring about: the event that is reached, for the narrator to tell;
    and what the user asked for out of character."""
    event, route = _reached(state), state["route"]
    beat = event.text if event and route.responded_as == "narrator" else ""
    return "\n".join(part for part in (beat, route.note) if part)


def _time_and_place(state: State, persona: Persona) -> str:
    """When and where the event is that is reached, if the speaker is there: it happens now. Where
    an earlier event was, the scene may have left."""
    event = _reached(state)
    if event is None or not (state["route"].responded_as == "narrator" or _sees(event, persona)):
        return ""
    return ", ".join(part for part in (event.time, event.location) if part)


def _sees(event: StoryEvent, persona: Persona) -> bool:
    return may_know(event, names_of(persona))


def _witnessed(state: State, persona: Persona) -> list[RAGChunk]:
    """The event that is reached, where the character answers and is there to see it."""
    event = _reached(state)
    if event is None or state["route"].responded_as == "narrator":
        return []
    return [event_chunk(event, None, ["reached"])] if _sees(event, persona) else []
