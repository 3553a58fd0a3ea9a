"""How macros are written: a text as a tree of calls and blocks.

    {{name}} {{name argument}} {{name:argument}} {{name::argument::argument}}
    {{#name argument}} body {{:else}} body {{/name}}   or {{/}}
    {{if argument}} body {{else}} body {{/if}}         the same without signs

`<img="name">` is a picture of RisuAI, which says nothing.

A tag without its partner stays in the tree as a call, and its body stands around it. Reading takes
linear time.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_DEPTH = 20
"""Macros inside macros; deeper ones stay as text. Deeper blocks are removed."""

_TOKEN = re.compile(r"(\{\{(?!\{)|\}\}|<(?:bot|char|user)>)", re.IGNORECASE)
_TRIM = re.compile(r"(?<![\r\n])[\r\n]*+\{\{\s*+trim\s*+\}\}[\r\n]*+", re.IGNORECASE)
_PICTURE = re.compile(r'<img="[^"<>\n]*+">', re.IGNORECASE)
_HEAD = re.compile(
    r"\s*(?P<sign>//|[#/:](?!:)|\?)?\s*(?P<name>[a-z_][a-z0-9_]*(?:-[a-z0-9_]+)*(?:\+\d+)?)?",
    re.IGNORECASE,
)
_BEHIND = re.compile(r"\s*(::|:|(?<=\s)|$)")
_SCOPED = frozenset(("if", "setvar", "setglobalvar", "addvar", "addglobalvar", "reverse", "//"))
"""Calls without a sign that may also stand around their last argument."""
_ELSE = frozenset(("else", "elseif", "elif"))
MOST_OPEN = 2 * MAX_DEPTH
"""Blocks that are open at once; further tags are left without a partner."""

_SHAPES = re.compile(r"(\{\{[\s{#/:?]*+)((?<=[#/:?])(?:[^{}\n]*+\}\}|\w*+))?")
_SIGNS = re.compile(r"[#/:?]")


@dataclass(slots=True)
class Call:
    """A macro.

    Args:
        parts: what stands between its braces.
        number: its place among the text's macros.
        raw: how it is written where that is no pair of braces.
    """

    parts: list[Part]
    number: int
    raw: str = ""
    sign: str = ""
    """`#` opens a block, `/` closes one, `:` divides one; `//` is a comment, `?` calculates."""
    name: str = ""
    """In lower case, as it is written."""
    plain: str = ""
    """Without `_` and `-`, by which names do not differ."""
    separator: str = ""
    """`::`, `:`, a space, or none: then there are no arguments, or it is no macro."""
    rest: str = ""
    """Of the first part, what stands behind the separator."""

    @property
    def arguments(self) -> list[Part]:
        """What stands behind name and separator."""
        return [self.rest, *self.parts[1:]]

    @property
    def is_bare(self) -> bool:
        """Whether it has no arguments."""
        return len(self.parts) == 1 and not self.rest.strip()


@dataclass(slots=True)
class Block:
    """What stands between two tags.

    Args:
        opening: its first tag.
        branches: bodies, each with the tag that begins it; of the first that is the opening.
    """

    opening: Call
    branches: list[tuple[Call, list[Part]]] = field(default_factory=list)


class Said(NamedTuple):
    """What a macro stood for, and the name at its end, with which a particle must agree."""

    value: str
    name: str


Part = str | Call | Block | Said


def parse(text: str, *, blocks: bool = True) -> list[Part]:
    """The parts of a text.

    Args:
        blocks: whether tags are paired.
    """
    if blocks:
        text = _TRIM.sub("", _PICTURE.sub("", text))
    stack: list[list[Part]] = [[]]
    number = 0
    for at, token in enumerate(_TOKEN.split(text)):
        parts = stack[-1]
        if at % 2 == 0:
            if token:
                parts.append(token)
        elif token == "{{":
            if len(stack) <= MAX_DEPTH:
                stack.append([])
            else:
                parts.append(token)
        elif token != "}}":
            number += 1
            parts.append(_read(Call([token[1:-1]], number, raw=token)))
        elif len(stack) > 1:
            number += 1
            inner = stack.pop()
            stack[-1].append(_read(Call(_paired(inner) if blocks else inner, number)))
        else:
            parts.append(token)
    while len(stack) > 1:  # never closed
        rest = stack.pop()
        stack[-1] += ["{{", *rest]
    return _paired(stack[0]) if blocks else stack[0]


def _read(call: Call) -> Call:
    """Reads the head of a call."""
    first = call.parts[0] if call.parts and isinstance(call.parts[0], str) else ""
    head = _HEAD.match(first)
    if head is None:
        return call
    call.sign = head["sign"] or ""
    if call.sign in ("//", "?"):
        call.rest, call.separator = first[head.end("sign") :], " "
        return call
    call.name = (head["name"] or "").lower()
    call.plain = call.name.replace("_", "").replace("-", "")
    behind = _BEHIND.match(first, head.end())
    call.rest = first[behind.end() if behind else head.end() :]
    if behind:
        call.separator = behind[1] or " " * (len(call.parts) > 1 or bool(call.rest))
    return call


def _paired(parts: list[Part]) -> list[Part]:
    """The parts with tags, and what stands between them, made blocks."""
    if len(parts) < 2:
        return parts
    closing = Counter(wanted for part in parts if (wanted := _closed_by(part)) is not None)
    return _Pairing(closing).run(parts) if closing else parts


class _Pairing:
    """One run of `_paired`.

    Args:
        closing: the tags that are still to come: how often each name is closed.
    """

    def __init__(self, closing: Counter[str]) -> None:
        self._closing, self._done = closing, list[Part]()
        self._open: list[Block] = []
        self._names = Counter[str]()
        """How many blocks of each name are open, `#` for all with a sign."""

    def run(self, parts: list[Part]) -> list[Part]:
        for part in parts:
            wanted = _closed_by(part)
            if wanted is not None:
                self._closing[wanted] -= 1
                self._close(part, wanted)
            elif isinstance(part, Call) and self._opens(part):
                self._open.append(Block(part, [(part, [])]))
                self._names.update(_names(part))
            elif self._open and _divides(part, self._open[-1].opening):
                assert isinstance(part, Call)
                self._open[-1].branches.append((part, []))
            else:
                self._body().append(part)
        while self._open:
            self._give_up()
        return self._done

    def _body(self) -> list[Part]:
        return self._open[-1].branches[-1][1] if self._open else self._done

    def _opens(self, call: Call) -> bool:
        """Whether a call begins a block; one that nothing closes does not."""
        if call.sign == "#":
            begins = self._closing[call.plain] + self._closing[""] > 0
        else:
            name = "//" if call.sign == "//" and call.is_bare else call.plain
            begins = call.sign in ("", "//") and name in _SCOPED and self._closing[name] > 0
        return begins and len(self._open) < MOST_OPEN

    def _close(self, part: Part, wanted: str) -> None:
        """Ends the innermost block of a name, or with a sign; those inside of it are given up."""
        if not self._names[wanted or "#"]:
            self._body().append(part)
            return
        while (wanted or "#") not in _names(self._open[-1].opening):
            self._give_up()
        block = self._open.pop()
        self._names.subtract(_names(block.opening))
        self._body().append(block)

    def _give_up(self) -> None:
        """Makes calls of the tags of the innermost block."""
        block = self._open.pop()
        self._names.subtract(_names(block.opening))
        for tag, inner in block.branches:
            self._body().append(tag)
            self._body().extend(inner)


def _names(opening: Call) -> list[str]:
    """By what a block is found that is to be closed."""
    return [opening.plain or opening.sign, *(["#"] if opening.sign == "#" else [])]


def _closed_by(part: Part) -> str | None:
    """The name of the block that a tag closes, empty for the innermost; None for other parts."""
    if not isinstance(part, Call):
        return None
    if part.sign == "//":
        return "//" if len(part.parts) == 1 and part.rest.strip() == "/" else None
    return part.plain if part.sign == "/" else None


def _divides(part: Part, opening: Call) -> bool:
    if not isinstance(part, Call) or not (opening.sign == "#" or opening.plain == "if"):
        return False
    return part.plain in _ELSE and part.sign in (":", "")


def without_code(text: str) -> str:
    """A text in which nothing is left that begins like code: `{{#`, `{{/`, `{{:`, `{{?`."""
    return _SHAPES.sub(_without, text) if "{{" in text else text


def _without(found: re.Match[str]) -> str:
    if found[2] is not None:
        return ""
    signs = [sign.end() for sign in _SIGNS.finditer(found[1])]
    return found[1][signs[-1] :] if signs else found[0]
