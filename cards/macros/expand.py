"""Fills macros in: walks the tree of a text, within the budget of the turn."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from cards.macros import cbs, clock
from cards.macros.chance import Draws
from cards.macros.known import PICTURES, SENSELESS
from cards.macros.scope import ALIASES, Scope, Variables
from cards.macros.syntax import MAX_DEPTH, Block, Call, Part, Said, parse, without_code
from language.korean import agree
from schemas.budget import Budget, current, spending

MAX_INSERTED = 200_000
"""Characters that macros insert into a text, twice the longest field; others stay as text."""

EVALUATED = 100
"""Characters that a macro counts as beside what it reads and inserts: it takes 3 to 10 µs."""

MAX_ALL = 3 * MAX_DEPTH
"""Macros and blocks inside one another, over all fields that name each other."""

MAX_DICE = 100
"""Of a roll; each counts as a macro."""

MAX_ROUNDS = 100
"""Of `{{#each}}`."""

MAX_REPEATED = 100
"""Of `{{newline::n}}` and `{{space::n}}`."""

MAX_VALUE = 10_000
"""Characters of a variable; the rest is left out."""

MAX_VARIABLES = 1_000
"""Of a chat; more are not set."""

_ROLL = re.compile(
    r"\s*(?:(?P<count>\d{0,3})d)?(?P<sides>\d{1,6})(?P<plus>[+-]\d{1,6})?\s*", re.IGNORECASE
)
_COMMA = re.compile(r"(?<!\\),")
_COLONS = re.compile("::")
_EACH = re.compile(r"(?<!\s)\s++as\s++|::\s*+(?:as\s++)?", re.IGNORECASE)
_WORD = re.compile(r"\s*+(\w++)")
_NAMES = frozenset(("char", "bot", "user"))

WRITERS = frozenset(
    f"{verb}{scope}var"
    for verb in ("set", "add", "inc", "dec", "setdefault", "delete", "flush")
    for scope in ("", "global")
)
"""Macros that change variables."""

_GROUP = frozenset(("group", "groupnotmuted", "charifnotgroup"))
_NOTHING = frozenset(("noop", "none", "blank", "comment"))
_LINES = {
    "lastmessage": "",
    **dict.fromkeys(("lastusermessage", "previoususerchat"), "user"),
    **dict.fromkeys(("lastcharmessage", "previouscharchat"), "character"),
}
_KEPT_WHOLE = frozenset(("pure", "puredisplay", "code", "escape", "escapekeep", "purekeep"))
"""Blocks whose body stands as it is."""


class Macros(NamedTuple):
    """Names of macros that are not filled in."""

    unknown: frozenset[str]
    """They stay as text."""
    removed: frozenset[str]
    """They are left out: known and of no sense here, or code that cannot be evaluated."""


def expand(text: str, scope: Scope, unknown: set[str] | None = None) -> str:
    """The text with its macros filled in.

    Args:
        unknown: collects the names of macros that are not known.
    """
    return _expanded(text, scope, current(), unknown if unknown is not None else set())


def oddities(text: str, scope: Scope, budget: Budget | None = None) -> Macros:
    """The names of a text's macros that are not filled in, also where a condition hides them. Time
    counts as known.

    Args:
        budget: of several texts; then also what was removed from those before.
    """
    unknown, budget = set[str](), budget or Budget()
    with spending(budget):
        Expansion(scope, budget, unknown, thorough=True).text(text)
    return Macros(frozenset(unknown), frozenset(budget.removed))


def _expanded(text: str, scope: Scope, budget: Budget, unknown: set[str], above: int = 0) -> str:
    if "{{" not in text and "<" not in text:
        return text
    key = text, scope.key()
    known = budget.expanded.get(key)
    if known is None:
        budget.check()
        known = budget.expanded[key] = Expansion(scope, budget, unknown, above=above).text(text)
    return known


class Expansion:
    """One run over a text; inner macros come before outer ones.

    Args:
        thorough: also looks into branches that are not taken, for the names in them.
        above: macros and blocks in which the text stands.
        held: the variables before it, where they are not the scope's.
    """

    def __init__(
        self,
        scope: Scope,
        budget: Budget,
        unknown: set[str],
        *,
        thorough: bool = False,
        above: int = 0,
        held: Variables | None = None,
    ) -> None:
        self.scope, self._budget, self._unknown = scope, budget, unknown
        self._thorough, self._above = thorough, above
        self._held = scope.variables if held is None else held
        self._undecided = 0  # macros that were not known
        self._seeded: Draws | None = None
        self._inserted = 0
        self._fields: dict[str, str] = {}
        self.slots: dict[str, str] = {}
        self._passing: dict[str, str] = {}  # temporary variables
        self.written: dict[str, str] = {}
        """Variables that the text set, by name; those of all chats begin with a NUL."""

    def text(self, text: str) -> str:
        """The text with its macros filled in."""
        if self._takes(len(text)):
            parts = parse(text, blocks=not self.scope.names_only)
            text = self._joined(parts, 0).value
        return text if self.scope.names_only else without_code(text)

    def effects(self, parts: Sequence[Part]) -> dict[str, str]:
        """Only the variables that parts of a text set."""
        self._run(parts, 0)
        return self.written

    # Walking the tree

    def _joined(self, parts: Sequence[Part], depth: int) -> Said:
        """What parts say, and the name at the end of it."""
        texts, name = self._run(parts, depth)
        return Said(texts[0], name)

    def _arguments(
        self, parts: Sequence[Part], depth: int, separator: re.Pattern[str] | None = _COLONS
    ) -> list[str]:
        return self._run(parts, depth, separator)[0]

    def _run(
        self, parts: Sequence[Part], depth: int, separator: re.Pattern[str] | None = None
    ) -> tuple[list[str], str]:
        """What parts say, cut at separators that the author wrote: not at inserted ones."""
        pieces: list[list[str]] = [[]]
        name = ""
        for part in parts:
            if isinstance(part, str):
                for row, text in enumerate(separator.split(part) if separator else (part,)):
                    if row:
                        pieces.append([])
                        name = ""
                    if text:
                        before = pieces[-1]
                        before.append(agree(name, _end(before), text) if name else text)
                        name = ""
                continue
            value, ending = self._said(part, depth)
            if value:  # what says nothing stands between no name and its particle
                pieces[-1].append(value)
                name = ending
        return ["".join(piece) for piece in pieces], name

    def _said(self, part: Call | Block | Said, depth: int) -> Said:
        if isinstance(part, Said):
            return part
        return self._call(part, depth) if isinstance(part, Call) else self._block(part, depth)

    def _takes(self, characters: int) -> bool:
        """Takes characters from the budget; whether it had some left."""
        had = self._budget.characters > 0
        self._budget.characters -= characters
        return had

    def _inserts(self, value: str) -> bool:
        """Whether the text and the budget have room for a value."""
        had = self._takes(len(value))  # it is made, whether it is inserted or not
        fits = had and self._inserted + len(value) <= MAX_INSERTED
        self._inserted += len(value) * fits
        return fits

    def _removes(self, name: str) -> str:
        self._budget.removed.add(name[:50])
        return ""

    # Calls

    def _call(self, call: Call, depth: int) -> Said:
        """What a macro stands for; what is inside of it comes first, and once."""
        takes = self._takes(EVALUATED + len(call.rest))
        if len(call.parts) > 1:
            inner: list[Part] = [
                part if isinstance(part, str) else self._said(part, depth + 1)
                for part in call.parts
            ]
            call = replace(call, parts=inner)
        if not takes:
            return Said(self._as_text(call), "")
        if not self.scope.names_only:
            if call.sign in ("#", "/", ":"):
                return Said(self._removes(call.sign + call.plain), "")
            if call.sign == "//":
                return Said("", "")
        value: str | None
        if call.plain in _NAMES and not call.sign and call.is_bare:
            value = self.scope.user if call.plain == "user" else self.scope.char
        elif self.scope.names_only:
            value = None
        else:
            value = self._value(call, depth)
        if value is None:
            self._unknown.add(_called(call)[:50])
            self._undecided += 1
        elif self._inserts(value):
            return Said(value, value if call.plain in _SPEAK else "")
        return Said(self._as_text(call), "")

    def _as_text(self, call: Call) -> str:
        """A macro that stays as it is, but for those inside of it."""
        return call.raw or f"{{{{{self._joined(call.parts, 0).value}}}}}"

    def _value(self, call: Call, depth: int) -> str | None:
        """What a macro inserts that is no name; None if there is no such macro."""
        name = call.plain
        if call.sign == "?" or (name == "calc" and call.separator):
            value = cbs.calculate(self._joined(call.arguments, depth + 1).value, self._get)
            return self._removes("?") if value is None else value
        if name in _CHANCE and (call.separator or name == "random"):
            return self._by_chance(call, depth)
        if call.is_bare:
            return self._plain(call, depth)
        if not call.separator:  # text that begins like a macro
            return None
        return self._with_arguments(call, self._arguments(call.arguments, depth + 1))

    def _plain(self, call: Call, depth: int) -> str | None:
        """A macro without arguments."""
        name, told = call.plain, self.scope.told
        field = name if name in self.scope.fields else ALIASES.get(name, "")
        if field in self.scope.fields:
            return self._field(field, depth)
        if field or name in _NOTHING or name in PICTURES:
            return ""
        if name in _LINES:
            return told.newest(_LINES[name])
        if clock.is_clock(name, call.name):
            return self._time(call, [])
        if name in SENSELESS or name in _NEEDS_ARGUMENTS:
            return self._removes(name)
        said = _BARE.get(name)
        return said(self) if said else None

    def _with_arguments(self, call: Call, arguments: list[str]) -> str | None:
        """A macro with arguments; None if there is no such macro."""
        name, value = call.plain, None
        if name in _VARIABLES:
            key, *values = (text.strip() for text in arguments)
            value = _VARIABLES[name](self, key, values)
        elif name in _WITH:
            value = _WITH[name](self, "::".join(arguments))
        elif name in _NOTHING or name in PICTURES:
            value = ""
        elif clock.is_clock(name, call.name):
            value = self._time(call, arguments)
        elif name == "if" and len(arguments) > 1:
            value = "::".join(arguments[1:]) if cbs.is_truthy(arguments[0]) else ""
        elif call.separator == "::" and cbs.is_function(name):
            value = cbs.call(name, arguments)
        elif name not in SENSELESS and name not in _NEEDS_ARGUMENTS:
            return None
        return self._removes(name) if value is None else value

    def _time(self, call: Call, arguments: list[str]) -> str:
        """What time it is; nothing where nobody says it."""
        told = self.scope.told
        if call.plain == "idleduration" and told.message and not told.began():
            return clock.just_now(korean=told.korean)
        name = call.plain if call.plain in clock.CLOCK else "time"
        if told.now is None:
            return "" if self._thorough else self._removes(name)
        if call.plain == "idleduration":
            before = told.before()
            value = clock.idle(before, told.now, korean=told.korean) if before else None
        else:
            value = clock.tell(call.plain, call.name, arguments, told.now, korean=told.korean)
        return self._removes(name) if value is None else value

    def _field(self, name: str, depth: int) -> str:
        """Another field, its macros filled in; nothing where it leads back to itself, or stands
        too deep."""
        depth += self._above + 1
        if depth > MAX_ALL:
            return self._removes(name)
        if name not in self._fields:
            scope = self.scope.inside(name)
            self._fields[name] = _expanded(scope.place, scope, self._budget, self._unknown, depth)
        return self._fields[name]

    # Variables

    def _get(self, name: str) -> str:
        value = self.written.get(name)
        return self._held.get(name, "") if value is None else value

    def _set(self, name: str, value: str) -> str:
        known = name in self._held or name in self.written
        if known or len(self._held) + len(self.written) < MAX_VARIABLES:
            self.written[name] = value[:MAX_VALUE]
        return ""

    def _add(self, name: str, more: str) -> str:
        """Adds a number to a number, else a text to a text."""
        held = self._get(name)
        first, second = cbs.number(held or "0"), cbs.number(more)
        if first is None or second is None:
            return self._set(name, held + more)
        return self._set(name, cbs.written(first + second))

    def _count_on(self, name: str, by: str) -> str:
        self._add(name, by)
        return self._get(name)

    # Chance

    def _by_chance(self, call: Call, depth: int) -> str | None:
        name, whole = call.plain, call.arguments
        if name in ("random", "pick"):
            return self._choice(call, depth)
        formula = self._joined(whole, depth + 1).value
        if name == "randint":
            ends = [cbs.number(text) for text in formula.split("::")]
            if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
                return self._removes(name)
            low, high = int(ends[0]), int(ends[1])
            return str(low + self._draw(high - low + 1, call, "roll", self.scope.turn))
        dice = _ROLL.fullmatch(formula)
        if dice is None or int(dice["sides"]) < 1 or int(dice["count"] or 1) > MAX_DICE:
            return None
        sides, count = int(dice["sides"]), int(dice["count"] or 1)
        self._takes(EVALUATED * count)
        turn = 0 if name == "rollp" else self.scope.turn
        rolled = [1 + self._draw(sides, call, "roll", turn, die) for die in range(count)]
        return str(sum(rolled) + int(dice["plus"] or 0))

    def _choice(self, call: Call, depth: int) -> str | None:
        """One of the arguments, which `::` separates, else commas that have no `\\` before; without
        any a number from 0 to 1."""
        name, turn = call.plain, self.scope.turn
        if not call.separator.strip():
            if name == "pick" or not call.is_bare:
                return None
            return cbs.written(self._draw(10**6, call, name, turn) / 10**6)
        colons = call.separator == "::"
        options = self._arguments(call.arguments, depth + 1, _COLONS if colons else _COMMA)
        if options == [""]:
            return None
        if not colons:
            options = [option.replace("\\,", ",").strip() for option in options]
        seed = turn if name == "random" else "\0".join(options)
        return options[self._draw(len(options), call, name, seed)]

    def _draw(self, sides: int, call: Call, *seed: object) -> int:
        """`draw` from chat, place and the macro's place in the text, then from the seed: what is
        drawn does not depend on the branches that are taken."""
        if self._seeded is None:
            self._seeded = Draws(self.scope.chat, self.scope.place)
            self._takes(self._seeded.length)
        return self._seeded.number(sides, call.number, *seed)

    # Blocks

    def _block(self, block: Block, depth: int) -> Said:
        """What a block says, and the name at its end; nothing behind the end of the budget."""
        opening, name = block.opening, block.opening.plain
        if depth >= MAX_DEPTH or not self._takes(2 * EVALUATED + len(opening.rest)):
            return Said(self._removes(opening.sign + name), "")
        body = block.branches[0][1]
        if opening.sign == "//":
            return Said("", "")
        if name in ("if", "ifpure", "when", "unless"):
            return self._conditional(block, depth)
        if name == "each":
            return Said(self._each(opening, body, depth), "")
        if name in _KEPT_WHOLE:
            return self._joined(body, depth + 1)
        if not opening.sign or name in WRITERS:  # the body is the last argument
            arguments = [opening.rest, *opening.parts[1:]]
            within: list[Part] = [*arguments, *(["::"] if not opening.is_bare else []), *body]
            whole = Call(within, opening.number, name=name, plain=name, separator="::")
            whole.parts, whole.rest = ["", *within], ""
            return self._call(whole, depth + 1)
        if self._thorough:
            self._joined(body, depth + 1)
        return Said(self._removes(f"#{name}"), "")

    def _conditional(self, block: Block, depth: int) -> Said:
        """The first branch whose condition holds. Line breaks at both ends of it belong to the
        tags."""
        pure = block.opening.plain == "ifpure"
        chosen: list[Part] = []
        settled = False
        for tag, body in block.branches:
            if settled and not self._thorough:
                break
            if tag is block.opening:
                holds, keeps = self._holds(tag, depth)
                pure = pure or keeps
                if tag.plain == "unless":
                    holds = not holds
            else:
                holds = tag.is_bare or self._holds(tag, depth)[0]
            if holds and not settled:
                chosen, settled = body, True
            elif self._thorough:
                self._joined(body, depth + 1)
        return self._joined(chosen if pure else _trimmed(chosen), depth + 1)

    def _holds(self, tag: Call, depth: int) -> tuple[bool, bool]:
        """Whether a tag's condition holds, and whether it asks to keep line breaks. What cannot be
        decided does not hold."""
        before = self._undecided
        arguments = [text.strip() for text in self._arguments(tag.arguments, depth + 1)]
        words = arguments[0].split()
        if words[:1] == ["if"] and tag.plain == "else":
            arguments[0] = arguments[0][2:].strip()
            words = words[1:]
        if len(arguments) == 1 and len(words) == 3 and words[1] in cbs.OPERATORS:
            arguments = words
        keeps = "keep" in map(str.lower, arguments[:-1])
        if self._undecided > before:
            self._removes(tag.sign + tag.plain)
            return False, keeps
        if len(arguments) > 1:
            holds = cbs.holds(arguments, self._get, self._toggle)
            if holds is None:
                self._removes(tag.sign + tag.plain)
            return bool(holds), keeps
        asked = arguments[0]
        denies = asked.startswith("!")
        asked = asked[1:].strip() if denies else asked
        named = ALIASES.get(asked.lower(), asked.lower())
        literal = not any(isinstance(part, Call) for part in tag.parts)
        if literal and named in self.scope.fields:
            holds = bool(self._field(named, depth).strip())
        elif literal and named in ("persona", "user", "char"):
            holds = bool({"persona": self.scope.told.persona}.get(named, named))
        else:
            holds = cbs.is_truthy(asked) if not tag.sign else cbs.is_true(asked)
        return holds is not denies, keeps

    def _toggle(self, name: str) -> str:
        return self._get(f"\0toggle_{name}")

    def _each(self, opening: Call, body: list[Part], depth: int) -> str:
        """The body for each item of an array."""
        told = self._joined(opening.arguments, depth + 1).value.strip()
        cut = list(_EACH.finditer(told))
        if cut:
            items, slot = told[: cut[-1].start()], told[cut[-1].end() :].strip()
        else:
            items, _, slot = told.rpartition(" ")
        listed = cbs.array(items)
        if listed is None or not slot or len(listed) > MAX_ROUNDS:
            if self._thorough:
                self._joined(body, depth + 1)
            return self._removes("#each")
        body, held, texts = _trimmed(body), self.slots, []
        for item in listed:
            if not self._takes(2 * EVALUATED):
                break
            self.slots = {**held, slot: item, "": item}
            text = self._joined(body, depth + 1).value
            if not self._inserts(text):
                break
            texts.append(text)
        self.slots = held
        return "\n".join(texts) if any("\n" in text for text in texts) else "".join(texts)


def _called(call: Call) -> str:
    """The name of a macro that is not known, of whatever script."""
    first = call.parts[0] if call.parts and isinstance(call.parts[0], str) else ""
    word = _WORD.match(first)
    return call.name or (word[1] if word else "?")


def _writes(change: Callable[[Expansion, str, str], str]) -> _Change:
    def run(of: Expansion, name: str, values: list[str]) -> str | None:
        return change(of, name, "::".join(values)) if values else None

    return run


def _default(of: Expansion, name: str, value: str) -> str:
    return "" if of._get(name) else of._set(name, value)


_Change = Callable[[Expansion, str, list[str]], str | None]
_CHANGES: dict[str, _Change] = {
    "set": _writes(Expansion._set),
    "add": _writes(Expansion._add),
    "setdefault": _writes(_default),
    "get": lambda of, name, _: of._get(name),
    "inc": lambda of, name, _: of._count_on(name, "1"),
    "dec": lambda of, name, _: of._count_on(name, "-1"),
    "has": lambda of, name, _: "true" if of._get(name) else "false",
    "delete": lambda of, name, _: of._set(name, ""),
    "flush": lambda of, name, _: of._set(name, ""),
}


def _of_all_chats(change: _Change, of: Expansion, name: str, values: list[str]) -> str | None:
    return change(of, f"\0{name}", values)


def _temporary(of: Expansion, name: str, values: list[str]) -> str:
    of._passing[name] = "::".join(values)[:MAX_VALUE]
    return ""


_VARIABLES: dict[str, _Change] = {
    **{f"{verb}var": change for verb, change in _CHANGES.items()},
    **{f"{verb}globalvar": partial(_of_all_chats, change) for verb, change in _CHANGES.items()},
    **dict.fromkeys(("tempvar", "gettempvar"), lambda of, name, _: of._passing.get(name, "")),
    "settempvar": _temporary,
}
_CHANCE = frozenset(("random", "pick", "roll", "rollp", "dice", "randint"))
_SPEAK = frozenset(
    ("char", "bot", "user", "random", "pick", "slot", "getvar", "getglobalvar", "tempvar")
) | frozenset(("gettempvar", *_GROUP))
"""Macros whose value is spoken of: a particle behind it must agree."""

DRAWS_OR_TELLS = _CHANCE | clock.CLOCK | frozenset((*_LINES, "input", "lastmessageid"))
"""Macros that say something else in another turn."""


_BARE: dict[str, Callable[[Expansion], str]] = {
    "original": lambda of: of.scope.original,
    **dict.fromkeys(("newline", "br", "cbr", "cnl", "cnewline"), lambda _: "\n"),
    "space": lambda _: " ",
    **dict.fromkeys(("persona", "userpersona"), lambda of: of.scope.told.persona),
    "input": lambda of: of.scope.told.newest("user") if of.scope.told.message else "",
    **dict.fromkeys(
        ("lastmessageid", "lastmessageindex"),
        lambda of: str(of.scope.told.count) if of.scope.told.message else "",
    ),
    **dict.fromkeys(_GROUP, lambda of: of.scope.char),
    "slot": lambda of: of.slots.get("", ""),
    **dict.fromkeys(("hiddenkey", "trim", "reverse"), lambda _: ""),
}
"""Macros without arguments."""
_NEEDS_ARGUMENTS = frozenset(("if", "else", "elseif", "outlet", *_VARIABLES))


def _hidden(of: Expansion, text: str) -> str:
    return f" {text.strip()} " if of.scope.scanning else ""


_WITH: dict[str, Callable[[Expansion, str], str | None]] = {
    "hiddenkey": _hidden,
    "reverse": lambda _, text: text[::-1],
    "trim": lambda _, text: text.strip(),
    "newline": lambda _, text: "\n" * _count(text),
    "space": lambda _, text: " " * _count(text),
    "outlet": lambda of, text: of.scope.outlets.get(text.strip().casefold()),
    "slot": lambda of, text: of.slots.get(text.strip(), ""),
}
"""Macros with one argument; None where there is nothing of that name."""


def _count(text: str) -> int:
    value = cbs.number(text)
    return min(MAX_REPEATED, max(0, int(value))) if value is not None else 1


def _trimmed(parts: list[Part]) -> list[Part]:
    """A body without the rest of the line behind its first tag and the indent of its last, where
    the tags have lines of their own."""
    trimmed = list(parts)
    if trimmed and isinstance(first := trimmed[0], str):
        line, newline, rest = first.partition("\n")
        if newline and not line.strip():
            trimmed[0] = rest
    if trimmed and isinstance(last := trimmed[-1], str):
        rest, newline, line = last.rpartition("\n")
        if newline and not line.strip():
            trimmed[-1] = rest
    return trimmed


def _end(parts: list[str]) -> str:
    """The end of what stands before the name that was just appended."""
    return "".join(parts[-4:-1])[-60:]
