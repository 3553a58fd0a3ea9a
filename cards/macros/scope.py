"""What macros stand for: the card, the names, and what the turn tells."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from schemas.request import CONTINUE, Persona

FIELDS = ("description", "personality", "scenario")
"""Fields of a card that its texts and its lore may name as macros."""

OTHER_FIELDS = {
    "example_dialogue": "mesexamples mesexamplesraw exampledialogue examplemessage",
    "system_prompt": "charprompt mainprompt systemprompt",
    "post_history_instructions": "charinstruction charjailbreak ujb globalnote systemnote",
    "first_message": "greeting charfirstmessage firstmessage firstmes",
}
"""More fields that the card's own texts may name, and what they are called."""

ALIASES = {
    **{name: name for name in FIELDS},
    **dict.fromkeys(("chardesc", "chardescription"), "description"),
    **dict.fromkeys(("charpersona", "charpersonality"), "personality"),
    "charscenario": "scenario",
    **{name: of for of, names in OTHER_FIELDS.items() for name in names.split()},
    "chardepthprompt": "depth_prompt",
}
"""Macros by their plain names, and the field that each inserts."""

MAX_DEFAULTS = 1_000
"""Variables that a card of RisuAI brings along."""

FURTHEST = 100
"""Lines that are looked back for the newest line of the character or the user."""

Variables = Mapping[str, str]
NONE: Variables = MappingProxyType({})


class Line(Protocol):
    """A line of the chat; one that a request brought may have a `timestamp`."""

    @property
    def role(self) -> str:
        """Who speaks."""

    @property
    def content(self) -> str:
        """What is said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What a turn tells beside the card; equal to none but itself.

    Args:
        lines: the chat before the message, oldest first, of which the first `count` are told of.
        message: the user's new one.
        persona: what the user says of themselves.
        now: the time of the new message; None where nothing says it.
        korean: times and dates are told in Korean.
        variables: of each place whose texts set variables, what they are before it; elsewhere they
            are as in `settled`.
    """

    lines: Sequence[Line] = ()
    count: int = 0
    message: str = ""
    persona: str = ""
    now: datetime | None = None
    korean: bool = False
    variables: Mapping[str, Variables] = field(default_factory=dict)
    settled: Variables = field(default_factory=lambda: NONE)

    def opening(self) -> Told:
        """What the chat told when it began: of the clock what its first line says."""
        first = getattr(self.lines[0], "timestamp", None) if self.lines else self.now
        return replace(self, count=0, message="", now=first)

    def newest(self, role: str = "") -> str:
        """The newest line of a role, or of all, the message included, as one line of text."""
        spoken = self.message if self.message.strip() != CONTINUE else ""
        if spoken and role in ("", "user"):
            return _one_line(spoken)
        for row in range(self.count - 1, max(-1, self.count - 1 - FURTHEST), -1):
            line = self.lines[row]
            said = line.role != "system" and line.content.strip() != CONTINUE
            if said and role in ("", line.role):
                return _one_line(line.content)
        return ""

    def before(self) -> datetime | None:
        """When the user spoke before the message; None where nothing says it."""
        for row in range(self.count - 1, max(-1, self.count - 1 - FURTHEST), -1):
            if self.lines[row].role == "user":
                time: datetime | None = getattr(self.lines[row], "timestamp", None)
                return time
        return None

    def began(self) -> bool:
        """Whether the user spoke before, as far as is looked back."""
        newest = self.lines[max(0, self.count - FURTHEST) : self.count]
        return any(line.role == "user" for line in newest)


NOTHING_TOLD = Told()


def _one_line(text: str) -> str:
    """A text of a chat as it may stand inside another: it begins no line and no list there."""
    return " ".join(text.split())


@dataclass(frozen=True)
class Scope:
    """What macros stand for.

    Args:
        char: the character's name, or the nickname where the card has one.
        user: the user's name.
        original: what `{{original}}` inserts.
        chat: the chat's id, and `turn` its number of messages: they seed chance.
        place: the text or entry, so that equal macros in two places draw apart. A field inside
            another draws as it does alone, if its text is its place.
        fields: further macros, by name in lower case; their own macros are filled in too.
        scanning: the text is scanned for lore keys, so hidden keys are seen.
        names_only: every macro that is no name stays as text: of a user, who is not to draw by
            chance or to show the card.
        told: what the turn tells.
        outlets: texts of lore, by the name of their outlet.
    """

    char: str
    user: str
    original: str = ""
    chat: str = ""
    turn: int = 0
    place: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    scanning: bool = False
    names_only: bool = False
    told: Told = NOTHING_TOLD
    outlets: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, persona: Persona, user: str, text: str, *, chat: str = "", turn: int = 0) -> Scope:
        """The scope of a text of this card, which may name the card's other fields."""
        begins = defaults_of(persona)
        return cls(
            char=persona.name,
            user=user,
            chat=chat,
            turn=turn,
            place=text,
            fields=fields_of(persona),
            told=Told(settled=begins) if begins else NOTHING_TOLD,
        )

    def inside(self, name: str) -> Scope:
        """The scope of one of the fields, in which its own name says nothing."""
        return replace(self, place=self.fields[name], fields={**self.fields, name: ""})

    @property
    def variables(self) -> Variables:
        """What the chat's variables are before this text."""
        return self.told.variables.get(self.place, self.told.settled)

    def key(self) -> Hashable:
        """Equal for scopes in which a text says the same."""
        names = (self.char, self.user, self.original, self.chat, self.place, self.told)
        maps = tuple(self.fields.items()), tuple(self.outlets.items())
        return names, self.turn, self.scanning, self.names_only, maps


def fields_of(persona: Persona) -> dict[str, str]:
    """The fields of a card that its own texts may name."""
    fields = {name: getattr(persona, name) for name in (*FIELDS, *OTHER_FIELDS)}
    depth = persona.extensions.get("depth_prompt")
    prompt = depth.get("prompt") if isinstance(depth, dict) else None
    return fields | ({"depth_prompt": prompt} if isinstance(prompt, str) else {})


def defaults_of(persona: Persona) -> dict[str, str]:
    """The variables that a card of RisuAI begins with, a line each: `name=value`."""
    risu = persona.extensions.get("risuai")
    told = risu.get("defaultVariables") if isinstance(risu, dict) else None
    lines = told.splitlines()[:MAX_DEFAULTS] if isinstance(told, str) else []
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def outlets_of(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What stands at each outlet, from the names and texts of entries in the prompt's order."""
    texts: dict[str, list[str]] = {}
    for name, text in entries:
        texts.setdefault(name.strip().casefold(), []).append(text)
    return {name: "\n".join(of) for name, of in texts.items()}


def outlets_in(persona: Persona) -> frozenset[str]:
    """The outlets that a card's texts name."""
    texts = fields_of(persona).values()
    names = (name for text in texts if "{{" in text for name in _OUTLET.findall(text))
    return frozenset(name.strip().casefold() for name in names)


_OUTLET = re.compile(r"\{\{\s*outlet\s*::?([^{}]{0,200})\}\}", re.IGNORECASE)
