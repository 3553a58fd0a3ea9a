"""The variables of a chat: what its card has made of them, turn by turn.

    {{setvar::n::v}} {{addvar::n::v}} {{setdefaultvar::n::v}}    nothing
    {{incvar::n}} {{decvar::n}} {{getvar::n}}                    the value, after it is counted on

Nothing is stored between turns. Each message of the user stands for a turn; the texts of the card
that change variables are gone through once for each, in the order of the prompt: system prompt,
description, personality, scenario, lore that is constant, the text behind the history. So
`{{incvar::n}}` in one of them counts turns, and a regenerate, a swipe or a retry counts none twice.
The greeting that the chat began with is gone through once, before all turns.

What other texts set, example dialogue and lore that comes and goes, holds in that text alone: on
which past turns a key was found is not gone through again. A text that another one names is gone
through at its own place. The variables of all chats (`setglobalvar`) are those of this chat: one
chat knows nothing of another. Temporary ones hold in one text. No message of the user or the model
sets or reads any.

The turns have a budget (`REPLAYED`). Where it ends, what is counted stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cards.characters.card import alternate_greetings
from cards.macros.cbs import number, written
from cards.macros.clock import is_clock
from cards.macros.expand import DRAWS_OR_TELLS, MAX_VALUE, WRITERS, Expansion, expand
from cards.macros.scope import Line, Scope, Told, Variables, defaults_of, fields_of
from cards.macros.syntax import Block, Call, Part, parse
from schemas.budget import current, spending
from schemas.request import CONTINUE, LORE, Persona, StoryEvent

REPLAYED = 2_000_000
"""Characters that macros of past turns may read and insert: 20,000 macros, which take 0.2 s. What
counts on by a fixed number each turn is reckoned at once, in a chat of any length."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text that macros may stand in.

    Args:
        place: its name, as in its scope.
    """

    place: str
    content: str


def told_of(
    persona: Persona,
    lines: Sequence[Line],
    message: str,
    *,
    user: str,
    chat: str,
    note: str = "",
    sent: datetime | None = None,
    korean: bool = False,
    goes_on: bool = False,
    story: Sequence[StoryEvent] = (),
) -> Told:
    """What a turn tells macros; it is made once in a turn.

    Args:
        lines: the chat before the message, oldest first.
        user: the user's name.
        chat: what chance is drawn from.
        note: what the user says of themselves, or wishes.
        sent: when the message was sent; unset: the time of the newest line that has one.
        korean: times and dates are told in Korean.
        goes_on: the message asks to go on with a reply, and begins no turn.
        story: the events, of which some are lore.
    """
    kept = current().told
    key = (id(persona), id(lines), id(story), message, user, chat, note, sent, korean, goes_on)
    if key not in kept:  # what is kept along keeps the ids
        told = Told(
            lines=lines,
            count=len(lines),
            message=message,
            persona=note,
            now=sent or _newest(lines),
            korean=korean,
        )
        texts = _texts(persona, story)
        if _any_writes(text.content for text in texts) or _greets_with_variables(persona):
            begun = not (goes_on and message.strip() == CONTINUE)
            told = _Replay(persona, texts, user, chat, told).run(begun=begun)
        kept[key] = (told, persona, lines, story)
    found: Told = kept[key][0]
    return found


def _newest(lines: Sequence[Line]) -> datetime | None:
    times = (getattr(line, "timestamp", None) for line in reversed(lines))
    return next((time for time in times if time is not None), None)


def _texts(persona: Persona, story: Sequence[StoryEvent]) -> list[Text]:
    """The texts that stand in every prompt, in their order."""
    card = (persona.system_prompt, persona.description, persona.personality, persona.scenario)
    entries = [
        (entry, event.text)
        for event in story
        if event.constant and isinstance(entry := event.extensions.get(LORE), dict)
        if _writes(event.text) and not any(map(entry.get, _NARROW))
        if entry.get("enabled", True) and entry.get("probability", 100) == 100
    ]
    entries.sort(key=lambda pair: _order(pair[0]))
    lore = [Text(f"lore {entry.get('id')}", text) for entry, text in entries]
    behind = persona.post_history_instructions
    return [*(Text(text, text) for text in card if text), *lore, Text(behind, behind)]


_NARROW = (
    *("delay", "only_every", "greeting", "triggers", "characters", "tags", "groups"),
    *("recursion_level", "cooldown"),
)
"""Settings by which a constant entry of lore does not stand in every prompt."""


def _order(entry: Mapping[str, Any]) -> int:
    order = entry.get("order", 100)
    return order if isinstance(order, int) else 100


def _any_writes(texts: Iterable[str]) -> bool:
    return any(map(_writes, texts))


def _writes(text: str) -> bool:
    """Whether a text may change variables."""
    return "{{" in text and "var" in text.lower()


def _greetings(persona: Persona) -> list[str]:
    return [persona.first_message, *alternate_greetings(persona)]


def _greets_with_variables(persona: Persona) -> bool:
    return _any_writes(_greetings(persona)) or bool(defaults_of(persona))


class _Replay:
    """The turns of a chat, gone through again."""

    def __init__(
        self, persona: Persona, texts: Sequence[Text], user: str, chat: str, told: Told
    ) -> None:
        self._persona, self._user, self._chat, self._told = persona, user, chat, told
        self._texts = texts
        self._fields = fields_of(persona)
        self._first: Variables = defaults_of(persona)
        trees = {
            text.place: _writing(parse(text.content)) for text in texts if _writes(text.content)
        }
        self._trees = {place: tree for place, tree in trees.items() if tree}
        self._budget = current().anew()
        self._budget.characters = REPLAYED

    def run(self, *, begun: bool) -> Told:
        """What is told, with the variables.

        Args:
            begun: whether the message begins a turn.
        """
        told, held = self._told, self._begin()
        users = [row for row, line in enumerate(told.lines) if line.role == "user"]
        past = users if begun else users[:-1]
        varies = any(map(_varies, self._trees.values()))
        held = self._varied(past, held) if varies else self._repeated(len(past), held)
        places: dict[str, Variables] = {}
        settled = held
        for text in self._texts:
            places.setdefault(text.place, held)
            if text is self._texts[-1]:
                settled = held
            held = self._after(self._scope(text.place, told, told.count + 1), held)
        greetings = dict.fromkeys(filter(None, _greetings(self._persona)), self._first)
        return replace(told, variables={**greetings, **places}, settled=settled)

    def _varied(self, past: Sequence[int], held: Variables) -> Variables:
        """The variables behind turns that may differ, which began with these lines."""
        for row in past:
            if self._budget.characters <= 0:
                break
            self._budget.check()
            line = self._told.lines[row]
            time = getattr(line, "timestamp", None)
            then = replace(self._told, count=row, message=line.content, now=time)
            for place in self._trees:
                held = self._after(self._scope(place, then, row + 1), held)
        return held

    def _repeated(self, turns: int, held: Variables) -> Variables:
        """The variables behind so many turns that do the same each time."""
        scopes = [self._scope(place, self._told, 0) for place in self._trees]
        counts = all(map(_only_counts, self._trees.values()))
        for done in range(turns):
            if self._budget.characters <= 0:
                break
            self._budget.check()
            before = held
            for scope in scopes:
                held = self._after(scope, held)
            if held == before:
                break
            if counts and done:  # the first turn may set, what each other one adds is the same
                return _counted_on(before, held, turns - done - 1)
        return held

    def _scope(self, place: str, told: Told, turn: int) -> Scope:
        return Scope(
            char=self._persona.name,
            user=self._user,
            chat=self._chat,
            turn=turn,
            place=place,
            fields=self._fields,
            told=told,
        )

    def _after(self, scope: Scope, held: Variables) -> Variables:
        """The variables behind the text of a scope."""
        tree = self._trees.get(scope.place)
        if not tree:
            return held
        changed = Expansion(scope, self._budget, set(), held=held).effects(tree)
        return {**held, **changed} if changed else held

    def _begin(self) -> Variables:
        """The variables before the first turn."""
        greeting = self._greeting()
        if not _writes(greeting):
            return self._first
        trees = self._trees
        self._trees = {greeting: _writing(parse(greeting))}
        held = self._after(self._scope(greeting, self._told.opening(), 0), self._first)
        self._trees = trees
        return held

    def _greeting(self) -> str:
        """The greeting that the chat began with; the first message where that is not seen."""
        greetings = _greetings(self._persona)
        first = next((line for line in self._told.lines if line.role != "system"), None)
        if first is not None and first.role == "character":
            said = first.content.strip()
            for text in greetings:
                scope = replace(
                    Scope.of(self._persona, self._user, text, chat=self._chat),
                    told=self._told.opening(),
                )
                with spending(self._budget):
                    if text.strip() == said or expand(text, scope).strip() == said:
                        return text
        return greetings[0]


def _writing(parts: Sequence[Part]) -> list[Part]:
    """Of the parts of a text those that may change variables."""
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, Block):
            if part.opening.plain in WRITERS or _writing([part.opening]):
                kept.append(part)
                continue
            branches = [(tag, _writing(body)) for tag, body in part.branches]
            if any(body for _, body in branches):
                kept.append(Block(part.opening, branches))
        elif isinstance(part, Call) and (part.plain in WRITERS or _writing(part.parts)):
            kept.append(part)
    return kept


def _varies(parts: Sequence[Part]) -> bool:
    """Whether parts of a text may say something else in another turn."""
    for part in parts:
        if isinstance(part, Block):
            if any(_varies([tag, *body]) for tag, body in part.branches):
                return True
        elif isinstance(part, Call) and (_tells(part) or _varies(part.parts)):
            return True
    return False


def _tells(call: Call) -> bool:
    return call.plain in DRAWS_OR_TELLS or is_clock(call.plain, call.name)


def _only_counts(parts: Sequence[Part]) -> bool:
    """Whether parts of a text do nothing but set variables to what stands there, or add that."""
    return all(isinstance(part, Call) and len(part.parts) == 1 for part in parts)


def _counted_on(before: Variables, held: Variables, turns: int) -> Variables:
    """The variables so many turns on, where each turn adds what lies between two states."""
    ahead = dict(held)
    for name, value in held.items():
        if value == before.get(name):
            continue
        first, second = number(before.get(name) or "0"), number(value)
        if first is None or second is None:  # a text that grows
            more = value[len(before.get(name, "")) :]
            times = min(turns, MAX_VALUE // max(1, len(more)) + 1)
            ahead[name] = (value + more * times)[:MAX_VALUE]
        else:
            ahead[name] = written(second + turns * (second - first))
    return ahead
