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
macro stays as text. Only cards and lore are expanded, never messages or what was retrieved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from language.korean import agree
from schemas.request import NEW_SESSION, ChatRequest, Persona

MAX_DEPTH = 20
"""Macros inside macros; deeper ones stay as text."""

MAX_LENGTH = 200_000
"""Characters read and inserted from which further macros stay as text: twice the longest field."""

MAX_DICE = 100

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
    """

    char: str
    user: str
    original: str = ""
    chat: str = ""
    turn: int = 0
    place: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    scanning: bool = False

    @classmethod
    def of(cls, persona: Persona, user: str, text: str, *, chat: str = "", turn: int = 0) -> Scope:
        """The scope of a text of this card, which may name the card's other fields."""
        fields = {name: getattr(persona, name) for name in FIELDS}
        return cls(char=persona.name, user=user, chat=chat, turn=turn, place=text, fields=fields)


def draw(sides: int, *seed: object) -> int:
    """A number from 0 to `sides` - 1 that depends on nothing but the seed."""
    key = "\0".join(map(str, seed)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % sides


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
    if "{{" not in text and "<" not in text:
        return text
    return _Expansion(scope, unknown if unknown is not None else set()).run(text)


class _Expansion:
    """One run of `expand`; inner macros come before outer ones."""

    def __init__(self, scope: Scope, unknown: set[str]) -> None:
        self._scope, self._unknown = scope, unknown
        self._length = 0  # of all that was read of fields or inserted
        self._draws = 0

    def run(self, text: str) -> str:
        stack: list[list[str]] = [[]]
        name = ""  # that was inserted right before
        for at, token in enumerate(_TOKEN.split(_TRIM.sub("", text))):
            parts = stack[-1]
            if at % 2 == 0:
                parts.append(agree(name, _end(parts), token) if name else token)
                name = "" if token else name
                continue
            name = ""
            if token == "{{":
                if len(stack) <= MAX_DEPTH:
                    stack.append([])
                else:
                    parts.append(token)
            elif token != "}}":
                name = self._named(token[1:-1].lower())
                parts.append(name)
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

    def _named(self, key: str) -> str:
        value = self._scope.user if key == "user" else self._scope.char
        self._length += len(value)
        return value

    def _value(self, body: str) -> tuple[str, bool]:
        """What `{{body}}` stands for, and whether a particle behind it must agree."""
        call = _CALL.match(body)
        if call is None or self._length > MAX_LENGTH:
            return f"{{{{{body}}}}}", False
        name, rest = call[1].lower(), body[call.end() :]
        if name in _NAMES and not rest.strip():
            return self._named(name), True
        if name in ("random", "pick"):
            value = self._choice(name, body[call.end(1) :].lstrip())
        else:
            value = self._plain(name, rest)
        if value is None:
            self._unknown.add(name)
            return f"{{{{{body}}}}}", False
        self._length += len(value)
        return value, name in ("random", "pick")

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
        fields = self._scope.fields
        if name not in fields:
            return None
        text = fields[name]
        scope = replace(self._scope, place=text, fields={**fields, name: ""})
        inner = _Expansion(scope, self._unknown)
        inner._length = self._length + len(text)  # so that fields that say nothing end, too
        value = inner.run(text)
        self._length = inner._length - len(value)  # which is counted where it is inserted
        return value

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
        sides = int(dice["sides"])
        rolled = [
            1 + self._draw(sides, "roll", self._scope.turn) for _ in range(int(dice["count"] or 1))
        ]
        return str(sum(rolled) + int(dice["plus"] or 0))

    def _draw(self, sides: int, *seed: object) -> int:
        self._draws += 1
        return draw(sides, self._scope.chat, self._scope.place, self._draws, *seed)


def _end(parts: list[str]) -> str:
    """The end of what stands before the name that was just appended."""
    return "".join(parts[-4:-1])[-60:]
