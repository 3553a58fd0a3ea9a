"""The macros of cards and lore, filled in within bounds.

    {{char}} {{user}} <BOT> <CHAR> <USER>        names, with Korean particles behind them agreeing
    {{original}}                                 the text that a card's own text replaces
    {{random:a,b}} {{random::a::b}} {{pick:a,b}} one of several: each turn anew, or once a chat
    {{roll:20}} {{roll:2d6+1}}                   dice
    {{// note}} {{comment:note}} {{hidden_key:x}} nothing (a lore scan sees the hidden key)
    {{reverse:x}} {{newline}} {{noop}} {{trim}}
    {{description}} ...                          other fields of the card, where the caller has them

Case does not matter. What a macro inserts is not read again, except the card's own fields, so a
name such as `{{char}}` does no harm; a field that leads back to itself is left out. An unknown
macro stays as text. Cards and lore are expanded, of a user's standing note the names alone; never
messages or what was retrieved.

What is read and inserted is counted, over the card of a turn and over its lore
(`schemas/budget.py`); macros behind the end of the budget stay as text. A text is expanded once in
a turn, if its scope is the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from language.korean import agree
from schemas.budget import Budget, current
from schemas.request import NEW_SESSION, ChatRequest, Persona

MAX_DEPTH = 20
"""Macros inside macros; deeper ones stay as text."""

MAX_INSERTED = 200_000
"""Characters that macros insert into a text, twice the longest field; others stay as text."""

EVALUATED = 100
"""Characters that a macro counts as beside what it reads and inserts: it takes 3 to 10 µs."""

MAX_DICE = 100
"""Of a roll; each counts as a macro."""

FIELDS = ("description", "personality", "scenario")
"""Fields of a card that its texts and its lore may name as macros."""

_TOKEN = re.compile(r"(\{\{(?!\{)|\}\}|<(?:bot|char|user)>)", re.IGNORECASE)
_TRIM = re.compile(r"(?<![\r\n])[\r\n]*+\{\{\s*+trim\s*+\}\}[\r\n]*+", re.IGNORECASE)
_CALL = re.compile(r"\s*(//|[a-z_]+)\s*(?:::?|\s|$)?", re.IGNORECASE)
_ROLL = re.compile(
    r"\s*(?:(?P<count>\d{0,3})d)?(?P<sides>\d{1,6})(?P<plus>[+-]\d{1,6})?\s*", re.IGNORECASE
)
_COMMA = re.compile(r"(?<!\\),")
_NAMES = ("char", "bot", "user")


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

    @classmethod
    def of(cls, persona: Persona, user: str, text: str, *, chat: str = "", turn: int = 0) -> Scope:
        """The scope of a text of this card, which may name the card's other fields."""
        fields = {name: getattr(persona, name) for name in FIELDS}
        return cls(char=persona.name, user=user, chat=chat, turn=turn, place=text, fields=fields)

    def inside(self, name: str) -> Scope:
        """The scope of one of the fields, in which its own name says nothing."""
        return replace(self, place=self.fields[name], fields={**self.fields, name: ""})

    def key(self) -> Hashable:
        """Equal for scopes in which a text says the same."""
        names = (self.char, self.user, self.original, self.chat, self.place)
        return names, self.turn, self.scanning, self.names_only, tuple(self.fields.items())


def draw(sides: int, *seed: object) -> int:
    """A number from 0 to `sides` - 1 that depends on nothing but the seed."""
    return _number(hashlib.blake2b(_joined(*seed), digest_size=8), sides)


def _joined(*seed: object) -> bytes:
    return "\0".join(map(str, seed)).encode("utf-8", "surrogatepass")


def _number(drawn: hashlib.blake2b, sides: int) -> int:
    return int.from_bytes(drawn.digest(), "big") % sides


def chat_of(request: ChatRequest) -> str:
    """What chance in a chat is drawn from: its id; how it began, where the client gave none.

    The id that the server gives to such a chat is another one every turn, if the client drops it.
    """
    if request.session_id and not request.session_id.startswith(NEW_SESSION):
        return request.session_id
    said = (line.content for line in request.history if line.role == "user")
    return f"{request.persona.name}\n{next(said, request.message)}"


def expand(text: str, scope: Scope, unknown: set[str] | None = None) -> str:
    """The text with its macros filled in.

    Args:
        unknown: collects the names of macros that are not known.
    """
    return _expanded(text, scope, current(), unknown if unknown is not None else set())


def _expanded(text: str, scope: Scope, budget: Budget, unknown: set[str]) -> str:
    if "{{" not in text and "<" not in text:
        return text
    key = text, scope.key()
    known = budget.expanded.get(key)
    if known is None:
        budget.check()
        known = budget.expanded[key] = _Expansion(scope, budget, unknown).run(text)
    return known


class _Expansion:
    """One run of `expand`; inner macros come before outer ones."""

    def __init__(self, scope: Scope, budget: Budget, unknown: set[str]) -> None:
        self._scope, self._budget, self._unknown = scope, budget, unknown
        self._draws = 0
        self._seeded: hashlib.blake2b | None = None
        self._inserted = 0
        self._fields: dict[str, str] = {}

    def run(self, text: str) -> str:
        if not self._takes(len(text)):
            return text
        if not self._scope.names_only:
            text = _TRIM.sub("", text)
        stack: list[list[str]] = [[]]
        name = ""  # that was inserted right before
        for at, token in enumerate(_TOKEN.split(text)):
            parts = stack[-1]
            if at % 2 == 0:
                parts.append(agree(name, _end(parts), token) if name and token else token)
                name = "" if token else name
                continue
            name = ""
            if token == "{{":
                if len(stack) <= MAX_DEPTH:
                    stack.append([])
                else:
                    parts.append(token)
            elif token != "}}":
                name = self._name(token[1:-1].lower())
                fits = self._takes(EVALUATED) and self._inserts(name)
                parts.append(name if fits else token)
                name = name if fits else ""
            elif len(stack) > 1:
                value, speaks = self._value("".join(stack.pop()))
                stack[-1].append(value)
                name = value if speaks else ""
            else:
                parts.append(token)
        while len(stack) > 1:  # never closed
            rest = stack.pop()
            stack[-1] += ["{{", *rest]
        return "".join(stack[0])

    def _takes(self, characters: int) -> bool:
        """Takes characters from the budget; whether it had some left."""
        had = self._budget.characters > 0
        self._budget.characters -= characters
        return had

    def _inserts(self, value: str) -> bool:
        """Whether the text and the budget have room for a value."""
        fits = self._inserted + len(value) <= MAX_INSERTED and self._takes(len(value))
        self._inserted += len(value) * fits
        return fits

    def _name(self, key: str) -> str:
        return self._scope.user if key == "user" else self._scope.char

    def _value(self, body: str) -> tuple[str, bool]:
        """What `{{body}}` stands for, and whether a particle behind it must agree."""
        call = _CALL.match(body) if self._takes(EVALUATED + len(body)) else None
        if call is None:
            return f"{{{{{body}}}}}", False
        name, rest = call[1].lower(), body[call.end() :]
        value: str | None
        speaks = name in ("random", "pick")
        if name in _NAMES and not rest.strip():
            value, speaks = self._name(name), True
        elif self._scope.names_only:
            value, speaks = None, False
        elif speaks:
            value = self._choice(name, body[call.end(1) :].lstrip())
        else:
            value = self._plain(name, rest)
        if value is None:
            self._unknown.add(name)
        elif self._inserts(value):
            return value, speaks
        return f"{{{{{body}}}}}", False

    def _plain(self, name: str, rest: str) -> str | None:
        """A macro that is no name and no choice; None if there is no such macro."""
        match name:
            case "//" | "comment" | "noop":
                return ""
            case "hidden_key":
                return f" {rest.strip()} " if self._scope.scanning else ""
            case "original" if not rest.strip():
                return self._scope.original
            case "newline" if not rest.strip():
                return "\n"
            case "reverse":
                return rest[::-1]
            case "roll":
                return self._roll(rest)
        return self._field(name) if not rest.strip() else None

    def _field(self, name: str) -> str | None:
        """Another field, its macros filled in; nothing where it leads back to itself."""
        if name in self._scope.fields and name not in self._fields:
            scope = self._scope.inside(name)
            self._fields[name] = _expanded(scope.place, scope, self._budget, self._unknown)
        return self._fields.get(name)

    def _choice(self, name: str, arguments: str) -> str | None:
        """One of the arguments, which `::` separates, else commas that have no `\\` before."""
        separated = arguments.lstrip(":")
        if separated == arguments or not separated:
            return None
        options = (
            separated.split("::")
            if arguments.startswith("::")
            else [part.replace("\\,", ",").strip() for part in _COMMA.split(separated)]
        )
        turn = self._scope.turn if name == "random" else arguments
        return options[self._draw(len(options), name, turn)]

    def _roll(self, formula: str) -> str | None:
        dice = _ROLL.fullmatch(formula)
        if dice is None or int(dice["sides"]) < 1 or int(dice["count"] or 1) > MAX_DICE:
            return None
        sides, count = int(dice["sides"]), int(dice["count"] or 1)
        self._takes(EVALUATED * count)
        rolled = [1 + self._draw(sides, "roll", self._scope.turn) for _ in range(count)]
        return str(sum(rolled) + int(dice["plus"] or 0))

    def _draw(self, sides: int, *seed: object) -> int:
        """`draw` from chat, place and the number of the draw, then from the seed."""
        if self._seeded is None:
            seed_of_all = _joined(self._scope.chat, self._scope.place)
            self._takes(len(seed_of_all))
            self._seeded = hashlib.blake2b(seed_of_all, digest_size=8)
        self._draws += 1
        drawn = self._seeded.copy()
        drawn.update(_joined("", self._draws, *seed))
        return _number(drawn, sides)


def _end(parts: list[str]) -> str:
    """The end of what stands before the name that was just appended."""
    return "".join(parts[-4:-1])[-60:]
