"""The prompt of a turn, from its plan and what was retrieved: the reply's, and the question's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from prompts.notes import Notes, take_notes
from prompts.plan import plan, too_large
from prompts.tokens import Count, estimate
from prompts.words import Words
from retrieval.story import event_chunk, may_know, names_of
from schemas.formats import PromptTurn, messages
from schemas.rag import (
    ChatRAGResult,
    CutLedger,
    Ledger,
    Lore,
    PromptBuildInput,
    PromptBuildOutput,
    PromptPlan,
    StoryRAGResult,
    TokenLedger,
)
from schemas.state import Route, StoryProgress

DEPTH = 4
"""For the place `depth`: lines of history below the notes."""


def with_retrieved(
    given: PromptBuildInput,
    lore: Lore,
    chat: ChatRAGResult,
    story: StoryRAGResult,
    route: Route,
    progress: StoryProgress | None,
) -> PromptBuildInput:
    """The turn with what was found for it, and with what its reply should bring about.

    An event that is reached is the narrator's to tell; a character who is there to see it knows of
    it. Where and when it happens is known to both; where an earlier event was, the scene may have
    left. What the user asks for out of character is a wish, and nothing that happens.

    Args:
        given: the turn as it was `before_retrieval`.
    """
    event = story.upcoming.event if progress and progress.event and story.upcoming else None
    narrates = route.responded_as == "narrator"
    writes_user = route.responded_as == "user"
    if event and not (narrates or may_know(event, names_of(given.persona))):
        event = None
    witnessed = [event_chunk(event, None, ["reached"])] if event and not narrates else []
    scene = (event.time, event.location) if event else ()
    return given.model_copy(
        update={
            "chat_context": chat.context,
            # what the character knows, the user may not
            "story_context": [*lore.passing, *(() if writes_user else story.context), *witnessed],
            # what is summed up or shown is told to the user, who is not to hear secrets so
            "narrator_only": [] if route.shows else story.narrator_only,
            "speaker": route.responded_as,
            "direction": event.text if event and narrates else "",
            "wish": route.note,
            "shows": route.shows,
            "state": ", ".join(filter(None, scene)),
        }
    )


def build_prompt(
    given: PromptBuildInput, *, count: Count = estimate, planned: PromptPlan | None = None
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
    words, planned = Words.of(given), planned or plan(given, count)
    notes = take_notes(given, words, planned, count)
    draft = _within_budget(_Draft(given, words, planned, notes), count)
    ledger = _ledger(draft)
    return PromptBuildOutput(
        prompt=draft.prompt,
        messages=_as_messages(draft) if given.layout.format == "chat" else [],
        stop=ledger.stop,
        headings=words.headings(),
        speaker_name=words.speaker(given.speaker),
        meta=ledger.model_dump(),
    )


def _as_messages(draft: _Draft) -> list[dict[str, str]]:
    """The prompt for a chat endpoint; what is written of the reply is the last message."""
    written = messages(*draft.parts)
    if draft.words.safe(draft.words.reply_start):
        begun = draft.words.reply_opening(draft.given.speaker)
        written.append({"role": "assistant", "content": begun})
    return written


@dataclass(frozen=True)
class _Draft:
    """A prompt in the making: what it holds, and its tokens where they were counted."""

    given: PromptBuildInput
    words: Words
    planned: PromptPlan
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
        opening = self.words.reply_opening(self.given.speaker)
        return self.words.form.render(system, turns, opening)

    @cached_property
    def parts(self) -> tuple[str, list[PromptTurn]]:
        """The system text and the turns, the notes at their place."""
        layout, notes = self.given.layout, self.notes.text
        turns = [turn for turn in self.planned.turns if turn.text]
        said = [self.planned.message.text]
        system = self.planned.system
        match layout.place if notes else "":
            case "after_history":
                said.append(notes)
            case "before_history":
                system = f"{system}\n\n{notes}"
            case "depth":
                row = max(0, len(turns) - DEPTH)
                while row < len(turns) and turns[row].side != "user":
                    row += 1
                if row < len(turns):
                    turns[row] = PromptTurn("user", f"{notes}\n\n{turns[row].text}")
                else:
                    said.insert(0, notes)
        asked = self.words.instruction(self.given.speaker, shows=self.given.shows)
        return system, [*turns, self.words.last(said, asked)]


_SEAM = 3
"""Tokens that two parts may have more together than apart; a tokenizer may merge otherwise."""


def _within_budget(draft: _Draft, count: Count) -> _Draft:
    """A draft within the budget: near the limit the whole is counted, and what is too much goes,
    the weakest note first, then the oldest turn."""
    seams = _SEAM * (len(draft.planned.turns) + 4)
    if draft.total + seams <= draft.planned.budget:
        return draft
    while True:
        total = count(draft.prompt)
        if total <= draft.planned.budget:
            return replace(draft, counted=total)
        if draft.notes.chosen:
            draft = replace(draft, notes=draft.notes.fewer())
        elif draft.notes.text:
            draft = replace(draft, notes=draft.notes.none())
        elif draft.planned.turns:
            draft = replace(draft, planned=draft.planned.shorter())
        else:
            raise too_large(total - draft.planned.budget, draft.given)


NAMES = 50
"""Participants whose lines end a reply, the newest of a chat: more are no conversation, and each
name is looked for at every token."""


def _stops(draft: _Draft) -> list[str]:
    """What ends a reply: the format's tokens, and a line that another participant begins."""
    given, words = draft.given, draft.words
    lines = given.history[draft.planned.verbatim_from :]
    newest = set(islice(dict.fromkeys(line.name for line in reversed(lines)), NAMES))
    named = (line.name for line in lines if line.name in newest)
    others = [words.user, words.persona.name, words.narrator, *named]
    speaker = words.speaker(given.speaker)
    names = [f"\n{name}:" for name in others if name and name != speaker]
    return list(dict.fromkeys([*words.form.stops, *given.layout.stops, *names]))


def _ledger(draft: _Draft) -> Ledger:
    given, planned, notes = draft.given, draft.planned, draft.notes
    return Ledger(
        format=draft.words.form.name,
        place=given.layout.place,
        language=draft.words.language,
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
        stop=_stops(draft),
    )


class Question(NamedTuple):
    """A prompt that a name completes, and the two names: the character's and the narrator's."""

    prompt: str
    messages: list[dict[str, str]]
    """The same for a chat endpoint; empty where the format is another."""
    character: str
    narrator: str


def ask_who(given: PromptBuildInput, *, count: Count = estimate) -> Question:
    """The question who answers, put where the reply's notes and instruction will stand.

    System text, history and the user's message are those of `build_prompt`, byte for byte, so an
    engine that computes the one finds the other in its cache (`after_history`; elsewhere the notes
    stand before or within the history).

    Args:
        given: the turn; `history` is whole. Speaker and what was retrieved are not read.
        count: tokens of a text.

    Raises:
        BadRequest: card, message and reply do not fit the context.
    """
    words, planned = Words.of(given), plan(given, count)
    last = words.last([planned.message.text], words.question())
    turns = [*(turn for turn in planned.turns if turn.text), last]
    return Question(
        prompt=words.form.render(planned.system, turns),
        messages=messages(planned.system, turns) if given.layout.format == "chat" else [],
        character=words.persona.name,
        narrator=words.narrator,
    )
