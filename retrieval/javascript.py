"""JavaScript's regular expressions in the syntax of the `regex` module.

Authors of cards and lorebooks write and try their keys in browsers, where `\\b` and `\\w` know
ASCII alone: `/\\bsword\\b/` is in "그의 sword가". What ECMAScript 2025 reads is read here, with its
Annex B where neither `u` nor `v` is set; what it refuses is refused. Where the two differ:

- a text is read by characters, never by halves of surrogate pairs; it is compared in NFC;
- a group inside of a repeated one keeps what it read in an earlier round;
- a letter outside of ASCII in a pattern with `i` lets `ſ` match s, and `İ` match i.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import regex

Range = tuple[int, int]

MOST_TIMES = 20_001
"""Of a repetition: more than a text that is searched has characters."""
MAX_NESTED = 100
"""Groups inside of groups."""
MAX_OF_A_NAME = 10
"""Groups, in different alternatives."""
MAX_WORDS = 200
"""Of which a text must hold one; more are not worth looking for."""
MAX_PAIRS = 64
"""Ranges of characters beyond U+FFFF that two classes of surrogates stand for."""
_LAST = 0x10FFFF
_LEAD, _TRAIL = (0xD800, 0xDBFF), (0xDC00, 0xDFFF)

_SLASHED = re.compile(r"/((?:[^/\\]++|\\.)++)/([dgimsuvy]*+)", re.DOTALL)
_TIMES = re.compile(r"\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_MODIFIERS = re.compile(r"\?([ims]*)(?:-([ims]*))?:")
_PROPERTY = re.compile(r"\{(?:([A-Za-z_]+)=)?([A-Za-z0-9_]+)\}")
_NAME = re.compile(r"<([^<>]*)>")
_DIGITS = re.compile(r"\d+", re.ASCII)
_SYNTAX = frozenset("^$\\.*+?()[]{}|/")
_QUANTIFIERS = frozenset("*+?{")
_RESERVED_ALONE, _RESERVED_TWICE = frozenset("()[]{}/-|"), frozenset("&!#$%*+,.:;<=>?@^`~")
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}

_DIGIT: list[Range] = [(48, 57)]
_WORD: list[Range] = [(48, 57), (65, 90), (95, 95), (97, 122)]
_FOLDED_WORD: list[Range] = [*_WORD, (0x17F, 0x17F), (0x212A, 0x212A)]
_SPACE: list[Range] = [
    *((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
]
_END = "[\\n\\r\u2028\u2029]"
_ANY, _NEVER = "(?s:.)", "(?!)"

_CATEGORY_NAMES = """
L LC Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Cs
Co Cn Letter Cased_Letter Uppercase_Letter Lowercase_Letter Titlecase_Letter Modifier_Letter
Other_Letter Mark Nonspacing_Mark Spacing_Mark Enclosing_Mark Number Decimal_Number Letter_Number
Other_Number Punctuation Connector_Punctuation Dash_Punctuation Open_Punctuation Close_Punctuation
Initial_Punctuation Final_Punctuation Other_Punctuation Symbol Math_Symbol Currency_Symbol
Modifier_Symbol Other_Symbol Separator Space_Separator Line_Separator Paragraph_Separator Other
Control Format Surrogate Private_Use Unassigned
"""
_BINARY_NAMES = """
ASCII_Hex_Digit AHex Alphabetic Alpha Bidi_Control Bidi_C Bidi_Mirrored Bidi_M Case_Ignorable CI
Cased Changes_When_Casefolded CWCF Changes_When_Casemapped CWCM Changes_When_Lowercased CWL
Changes_When_Titlecased CWT Changes_When_Uppercased CWU Dash Default_Ignorable_Code_Point DI
Deprecated Dep Diacritic Dia Emoji Emoji_Component EComp Emoji_Modifier EMod Emoji_Modifier_Base
EBase Emoji_Presentation EPres Extended_Pictographic ExtPict Extender Ext Grapheme_Base Gr_Base
Grapheme_Extend Gr_Ext Hex_Digit Hex ID_Continue IDC ID_Start IDS Ideographic Ideo Join_Control
Join_C Logical_Order_Exception LOE Lowercase Lower Math Noncharacter_Code_Point NChar Pattern_Syntax
Pat_Syn Pattern_White_Space Pat_WS Quotation_Mark QMark Radical Regional_Indicator RI
Sentence_Terminal STerm Soft_Dotted SD Terminal_Punctuation Term Unified_Ideograph UIdeo Uppercase
Upper Variation_Selector VS White_Space space XID_Continue XIDC XID_Start XIDS
"""
_CATEGORIES, _BINARY = frozenset(_CATEGORY_NAMES.split()), frozenset(_BINARY_NAMES.split())


class Invalid(ValueError):
    """JavaScript refuses it as well."""


class Unsupported(ValueError):
    """JavaScript knows it, this module does not; says what."""


class Translation(NamedTuple):
    """A regular expression for `regex.compile`, and words of which any text that it matches holds
    one when both are as `retrieval.text.normal` gives them; none if that is not known."""

    source: str
    words: frozenset[str]


def split(keyword: str) -> tuple[str, str] | None:
    """The pattern and the flags of a keyword `/pattern/flags`.

    None for plain text: a slash inside without `\\` before it, or flags that JavaScript refuses, as
    in `/home/user`.
    """
    slashed = _SLASHED.fullmatch(keyword) if keyword.startswith("/") else None
    if slashed is None:
        return None
    flags = slashed[2]
    if len(set(flags)) < len(flags) or {"u", "v"} <= set(flags):
        return None
    return slashed[1], flags


def translate(pattern: str, flags: str) -> Translation:
    """A pattern and its flags as `split` gives them, for a search that begins anew: `g` and `d` say
    nothing, and `y` holds the match to the text's beginning.

    Raises:
        Invalid: JavaScript refuses it.
        Unsupported: it uses what this module does not know.
    """
    reader = _Reader(pattern, flags)
    tree = reader.read()
    return _Writer(reader, tree).write("y" in flags)


@dataclass(slots=True)
class _Char:
    code: int


@dataclass(slots=True)
class _Set:
    """One character of a class; `ranges` where it is nothing but these."""

    source: str
    ranges: list[Range] | None = None


@dataclass(slots=True)
class _Assert:
    source: str


@dataclass(slots=True)
class _Ref:
    groups: list[int]
    name: str = ""
    at: int = 0


@dataclass(slots=True)
class _Group:
    inner: _Either
    number: int = 0
    modifiers: str = ""
    ends: int = 0


@dataclass(slots=True)
class _Look:
    inner: _Either
    mark: str
    behind: bool


@dataclass(slots=True)
class _Repeat:
    inner: _Node
    least: int
    most: int | None
    mark: str


_Node = _Char | _Set | _Assert | _Ref | _Group | _Look | _Repeat


@dataclass(slots=True)
class _Either:
    """Alternatives, each a sequence."""

    ways: list[list[_Node]] = field(default_factory=list)


class _Reader:
    """Reads a pattern into its tree."""

    def __init__(self, pattern: str, flags: str) -> None:
        self.text, self.at = pattern, 0
        self.unicode = "u" in flags or "v" in flags
        self._sets = "v" in flags
        self.folds, self._lines, self._dots = "i" in flags, "m" in flags, "s" in flags
        self.cased = self.unicode
        """Whether letters outside of ASCII may have to be compared without case."""
        self._halves = not self.unicode and "\\u" in pattern  # of surrogate pairs
        self.names: dict[str, list[int]] = {}
        self._names_here: set[str] = set()
        self._groups = self._depth = 0
        self._last_group, self._has_names = self._count_groups()

    def read(self) -> _Either:
        tree = self._either()
        if self.at < len(self.text):
            raise Invalid("unmatched )")
        return tree

    def _count_groups(self) -> tuple[int, bool]:
        """How many groups there are, and whether any has a name: what `\\1` and `\\k` mean depends
        on it from the start."""
        count, named, depth, at = 0, False, 0, 0
        text = self.text
        while at < len(text):
            letter = text[at]
            if letter == "\\":
                at += 1
            elif letter == "[":
                depth = depth + 1 if self._sets else 1
            elif letter == "]":
                depth = max(0, depth - 1)
            elif letter == "(" and not depth:
                has_name = text.startswith("?<", at + 1) and text[at + 3 : at + 4] not in ("=", "!")
                count += has_name or not text.startswith("?", at + 1)
                named |= has_name
            at += 1
        return count, named

    def _peek(self, size: int = 1) -> str:
        return self.text[self.at : self.at + size]

    def _eat(self, expected: str) -> bool:
        if self.text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def _either(self) -> _Either:
        self._depth += 1
        if self._depth > MAX_NESTED:
            raise Unsupported(f"more than {MAX_NESTED} groups inside of each other")
        outside, inside = self._names_here, set[str]()
        either = _Either()
        while True:
            self._names_here = set(outside)
            either.ways.append(self._sequence())
            inside |= self._names_here
            if not self._eat("|"):
                break
        self._names_here = outside | inside
        self._depth -= 1
        return either

    def _sequence(self) -> list[_Node]:
        nodes: list[_Node] = []
        while self.at < len(self.text) and self._peek() not in "|)":
            start = self.at
            node = self._term()
            if self._halves and nodes and (pair := _paired(nodes[-1], node)):
                nodes.pop()
                node = pair
            if self._peek() in _QUANTIFIERS:
                node = self._repeated(node, start)
            nodes.append(node)
        return nodes

    def _repeated(self, node: _Node, start: int) -> _Node:
        """The node with the quantifier that stands behind it."""
        times = self._times()
        if times is None:
            return node
        fixed = isinstance(node, _Assert) or (
            isinstance(node, _Look) and (node.behind or self.unicode)
        )
        if fixed:
            raise Invalid(f"nothing to repeat at {start}")
        least, most = times
        lazy = "?" if self._eat("?") else ""
        if most is not None and most < least:
            raise Invalid("numbers out of order in {}")
        least, most = min(least, MOST_TIMES), None if most is None else min(most, MOST_TIMES)
        known = {(0, None): "*", (1, None): "+", (0, 1): "?"}
        upper = "" if most is None else str(most)
        return _Repeat(node, least, most, known.get((least, most), f"{{{least},{upper}}}") + lazy)

    def _times(self) -> tuple[int, int | None] | None:
        for mark, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._eat(mark):
                return times
        counted = _TIMES.match(self.text, self.at)
        if counted is None:
            return None
        self.at = counted.end()
        least = _number(counted[1])
        if counted[2] is None:
            return least, least
        return least, _number(counted[3]) if counted[3] else None

    def _term(self) -> _Node:
        letter = self.text[self.at]
        if letter not in _SYNTAX:
            self.at += 1
            return self._char(ord(letter))
        match letter:
            case "*" | "+" | "?":
                raise Invalid("nothing to repeat")
            case "{" if _TIMES.match(self.text, self.at):
                raise Invalid("nothing to repeat")
            case "{" | "}" | "]" if self.unicode:
                raise Invalid(f"lone {letter}")
            case "(":
                return self._group()
            case "[":
                self.at += 1
                return self._class_of_sets() if self._sets else self._class()
            case "\\":
                return self._escape()
        self.at += 1
        return self._mark(letter) or self._char(ord(letter))

    def _mark(self, letter: str) -> _Node | None:
        """What `^`, `$` and `.` stand for."""
        match letter:
            case "^" if self._lines:
                return _Assert(rf"(?:\A|(?<={_END}))")
            case "^":
                return _Assert(r"\A")
            case "$" if self._lines:
                return _Assert(rf"(?:\Z|(?={_END}))")
            case "$":
                return _Assert(r"\Z")
            case ".":
                return _Set(_ANY) if self._dots else _Set(f"[^{_END[1:]}")
        return None

    def _char(self, code: int) -> _Char:
        self.cased |= code > 127 and _has_case(chr(code))
        return _Char(code)

    def _group(self) -> _Node:
        self.at += 1
        if not self._eat("?"):
            self._groups += 1
            return self._closed(_Group(_Either(), self._groups))
        for opening, behind in (("=", False), ("!", False), ("<=", True), ("<!", True)):
            if self._eat(opening):
                look = _Look(self._either(), f"?{opening}", behind)
                self._close()
                return look
        if named := _NAME.match(self.text, self.at):
            self._groups += 1
            self.at = named.end()
            self._name(named[1])
            return self._closed(_Group(_Either(), self._groups))
        self.at -= 1
        modified = _MODIFIERS.match(self.text, self.at)
        if modified is None:
            raise Invalid("invalid group")
        self.at = modified.end()
        return self._modified(modified[1], modified[2])

    def _modified(self, on: str, off: str | None) -> _Node:
        """A group with flags of its own, or none."""
        letters = on + (off or "")
        if len(set(letters)) < len(letters) or (off is not None and not letters):
            raise Invalid("invalid flags of a group")
        before = self.folds, self._lines, self._dots
        for flags, value in ((on, True), (off or "", False)):
            self.folds = value if "i" in flags else self.folds
            self._lines = value if "m" in flags else self._lines
            self._dots = value if "s" in flags else self._dots
        group = _Group(_Either())
        if "i" in letters:
            self.cased = True
            group.modifiers = "i" if self.folds else "-i"
        group = self._closed(group)
        self.folds, self._lines, self._dots = before
        return group

    def _closed(self, group: _Group) -> _Group:
        group.inner = self._either()
        self._close()
        return group

    def _close(self) -> None:
        if not self._eat(")"):
            raise Invalid("unterminated group")

    def _name(self, name: str) -> None:
        """Files the name of the group that begins here."""
        if not name.replace("$", "_").isidentifier() or name in self._names_here:
            raise Invalid("invalid or double name of a group")
        self._names_here.add(name)
        self.names.setdefault(name, []).append(self._groups)

    def _escape(self) -> _Node:
        """An escape outside of a class."""
        letter = self.text[self.at + 1 : self.at + 2]
        match letter:
            case "b" | "B":
                self.at += 2
                return _Assert(rf"(?a:\{letter})")
            case "k" if self.unicode or self._has_names:
                named = _NAME.match(self.text, self.at + 2)
                if named is None:
                    raise Invalid("invalid reference to a name")
                self.at = named.end()
                return _Ref([], named[1])
            case "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9":
                digits = _DIGITS.match(self.text, self.at + 1)
                number = _number(digits[0]) if digits else 0
                if digits and (number <= self._last_group or self.unicode):
                    if number > self._last_group:
                        raise Invalid("reference to a group that is not there")
                    self.at = digits.end()
                    return _Ref([number])
        if ranges := self._class_escape():
            return ranges
        return self._char(self._character_escape(in_class=False))

    def _class_escape(self) -> _Set | None:
        """`\\d`, `\\p{...}` and the like; None if none of them stands here."""
        letter = self.text[self.at + 1 : self.at + 2]
        word = _FOLDED_WORD if self.folds and self.unicode else _WORD
        known = {"d": _DIGIT, "s": _SPACE, "w": word}
        if letter in ("p", "P") and self.unicode:
            return self._property(letter)
        if not letter or letter.lower() not in known:
            return None
        self.at += 2
        ranges = known[letter.lower()]
        if letter.islower():
            return _Set(_in_brackets(ranges), ranges)
        # with `i`, the letters that fold to s and k are none of \W
        ranges = _FOLDED_WORD if letter == "W" and self.folds else ranges
        return _Set(f"[^{_in_brackets(ranges)[1:]}", _all_but(ranges))

    def _property(self, letter: str) -> _Set:
        match = _PROPERTY.match(self.text, self.at + 2)
        if match is None:
            raise Invalid("invalid property")
        self.at = match.end()
        kind, value = match[1], match[2]
        if kind in ("Script", "sc", "Script_Extensions", "scx"):
            if not _is_script(value):
                raise Invalid("invalid property")
            extended = kind.endswith(("s", "x"))
            return _Set(f"\\{letter}{{{'scx' if extended else 'sc'}={value}}}")
        if kind in ("General_Category", "gc") or (kind is None and value in _CATEGORIES):
            if value not in _CATEGORIES:
                raise Invalid("invalid property")
            return _Set(f"\\{letter}{{gc={value}}}")
        special = {"Any": [(0, _LAST)], "ASCII": [(0, 127)]}
        if kind is None and value in special:
            ranges = special[value] if letter == "p" else _all_but(special[value])
            return _Set(_in_brackets(ranges), ranges)
        if kind is None and value == "Assigned":
            return _Set(r"\P{gc=Cn}" if letter == "p" else r"\p{gc=Cn}")
        if kind is None and value in _BINARY:
            return _Set(f"\\{letter}{{{value}}}")
        if kind is None and self._sets and value.startswith(("RGI_", "Basic_Emoji", "Emoji_Key")):
            raise Unsupported(f"\\p{{{value}}}")
        raise Invalid("invalid property")

    def _character_escape(self, *, in_class: bool) -> int:
        """The character that an escape stands for."""
        self.at += 1
        letter = self._peek()
        if not letter:
            raise Invalid("\\ at the end")
        if in_class and letter == "b":
            self.at += 1
            return 8
        if letter in _CONTROLS:
            self.at += 1
            return _CONTROLS[letter]
        if letter == "c":
            return self._control(in_class=in_class)
        if letter in "xu":
            return self._hexadecimal(letter)
        if letter in string.digits:
            return self._octal(letter)
        self.at += 1
        allowed = letter in _SYNTAX or (in_class and letter == "-")
        if self._sets and in_class:
            allowed |= letter in _RESERVED_TWICE
        if (self.unicode and not allowed) or (letter == "k" and self._has_names):
            raise Invalid("invalid escape")
        return ord(letter)

    def _control(self, *, in_class: bool) -> int:
        letter = self.text[self.at + 1 : self.at + 2]
        wide = in_class and not self.unicode and (letter == "_" or letter in set(string.digits))
        if letter and (letter in string.ascii_letters or wide):
            self.at += 2
            return ord(letter) % 32
        if self.unicode:
            raise Invalid("invalid \\c")
        return ord("\\")  # and the c stands for itself

    def _hexadecimal(self, letter: str) -> int:
        self.at += 1
        if letter == "u" and self.unicode and self._eat("{"):
            end = self.text.find("}", self.at)
            digits = self.text[self.at : max(end, self.at)]
            if not digits or not set(digits) <= set(string.hexdigits):
                raise Invalid("invalid \\u{}")
            self.at = end + 1
            point = int(digits.lstrip("0")[:7] or "0", 16)
            if point > _LAST:
                raise Invalid("\\u{} beyond 10FFFF")
            return point
        code = self._hex_digits(2 if letter == "x" else 4)
        if code is None:
            if self.unicode:
                raise Invalid(f"invalid \\{letter}")
            return ord(letter)
        if letter == "u" and _inside(code, _LEAD) and self._peek(2) == "\\u":
            before = self.at
            self.at += 2
            trail = self._hex_digits(4)
            if trail is not None and _inside(trail, _TRAIL):
                return _joined(code, trail)
            self.at = before
        return code

    def _hex_digits(self, count: int) -> int | None:
        digits = self._peek(count)
        if len(digits) < count or not set(digits) <= set(string.hexdigits):
            return None
        self.at += count
        return int(digits, 16)

    def _octal(self, letter: str) -> int:
        """`\\0`, and what no group is behind."""
        following = self.text[self.at + 1 : self.at + 2]
        if self.unicode:
            if letter != "0" or following in set(string.digits):
                raise Invalid("invalid \\ before a digit")
            self.at += 1
            return 0
        if letter in "89":
            self.at += 1
            return ord(letter)
        most = 3 if letter in "0123" else 2
        size = 0
        while size < most and self.text[self.at + size : self.at + size + 1] in set("01234567"):
            size += 1
        self.at += size
        return int(self.text[self.at - size : self.at], 8)

    def _class(self) -> _Set:
        """A class behind its bracket."""
        negated = self._eat("^")
        ranges: list[Range] = []
        properties: list[str] = []
        while not self._eat("]"):
            low = self._member()
            if self._peek() == "-" and self._peek(2) not in ("-", "-]"):
                self.at += 1
                high = self._member()
                if isinstance(low, int) and isinstance(high, int):
                    if high < low:
                        raise Invalid("range out of order in a class")
                    self._add(ranges, low, high)
                    continue
                if self.unicode:
                    raise Invalid("invalid range in a class")
                self._join(low, ranges, properties)
                self._add(ranges, 45, 45)
                low = high
            self._join(low, ranges, properties)
        return _class_of(ranges, properties, negated=negated)

    def _member(self) -> int | _Set:
        if self.at >= len(self.text):
            raise Invalid("unterminated class")
        if self._peek() != "\\":
            self.at += 1
            return ord(self.text[self.at - 1])
        return self._class_escape() or self._character_escape(in_class=True)

    def _join(self, member: int | _Set, ranges: list[Range], properties: list[str]) -> None:
        """Adds a member to a class."""
        if isinstance(member, int):
            self._add(ranges, member, member)
        elif member.ranges is not None:
            ranges += member.ranges
        else:
            properties.append(member.source)

    def _add(self, ranges: list[Range], low: int, high: int) -> None:
        self.cased |= high > 127 and _may_have_case(max(low, 128), high)
        ranges.append((low, high))

    def _class_of_sets(self) -> _Set:
        """A class of the flag `v` behind its bracket."""
        self._depth += 1
        if self._depth > MAX_NESTED:
            raise Unsupported(f"more than {MAX_NESTED} classes inside of each other")
        negated = self._eat("^")
        ranges: list[Range] = []
        properties: list[str] = []
        others: list[str] = []
        operation = ""
        while not self._eat("]"):
            for sign in ("--", "&&"):
                if (ranges or properties or others) and self._eat(sign):
                    if operation and operation != sign:
                        raise Invalid("two operations in one class")
                    operation = sign
                    ranges, properties, others = self._operated(
                        sign, _union(ranges, properties, others)
                    )
                    break
            else:
                if operation:
                    raise Invalid("an operation and members in one class")
                self._operand(ranges, properties, others)
        self._depth -= 1
        plain = _class_of(ranges, properties, negated=negated)
        if not others:
            return plain
        source = _union(ranges, properties, others)
        if not negated:
            return _Set(source)
        return _Set(f"(?:(?!{source}){_ANY})")

    def _operated(self, sign: str, left: str) -> tuple[list[Range], list[str], list[str]]:
        """The class of what stands left of a sign and the operand behind it."""
        ranges: list[Range] = []
        properties: list[str] = []
        others: list[str] = []
        self._operand(ranges, properties, others, single=True)
        look = "?!" if sign == "--" else "?="
        return [], [], [f"(?:({look}{_union(ranges, properties, others)}){left})"]

    def _operand(
        self,
        ranges: list[Range],
        properties: list[str],
        others: list[str],
        *,
        single: bool = False,
    ) -> None:
        """Reads a member of a class of sets: a nested class, an escape, a character or a range."""
        if self._eat("["):
            nested = self._class_of_sets()
            (
                others.append(nested.source)
                if nested.ranges is None
                else ranges.extend(nested.ranges)
            )
            return
        if self._peek(3) == "\\q{":
            raise Unsupported("\\q{}")
        low = self._set_member()
        if not single and self._peek() == "-" and self._peek(2) != "--":
            self.at += 1
            high = self._set_member()
            if not (isinstance(low, int) and isinstance(high, int)) or high < low:
                raise Invalid("invalid range in a class")
            self._add(ranges, low, high)
            return
        self._join(low, ranges, properties)

    def _set_member(self) -> int | _Set:
        letter = self._peek()
        if letter in _RESERVED_ALONE or (letter in _RESERVED_TWICE and self._peek(2) == 2 * letter):
            raise Invalid("invalid character in a class")
        return self._member()


class _Writer:
    """Writes a tree in the syntax of `regex`."""

    def __init__(self, reader: _Reader, tree: _Either) -> None:
        self._reader, self._tree = reader, tree
        self._ticks = 0
        self._groups: dict[int, _Group] = {}
        self._refs: list[_Ref] = []
        self._new: dict[int, int] = {}

    def write(self, sticky: bool) -> Translation:
        reader = self._reader
        self._number(self._tree, backward=False)
        for ref in self._refs:
            if ref.name:
                if ref.name not in reader.names:
                    raise Invalid("reference to a name that is not there")
                ref.groups = reader.names[ref.name]
                if len(ref.groups) > MAX_OF_A_NAME:
                    raise Unsupported(f"more than {MAX_OF_A_NAME} groups of one name")
            # JavaScript takes a group that has read nothing yet for an empty one
            ref.groups = [n for n in ref.groups if n in self._groups and self._is_before(n, ref)]
        used = sorted({number for ref in self._refs for number in ref.groups})
        self._new = {number: place for place, number in enumerate(used, 1)}
        source = self._either(self._tree)
        if sticky:
            source = rf"\A(?:{source})"
        if reader.folds:
            source = f"(?{'i' if reader.cased or used else 'ai'}){source}"
        return Translation(source, _words(self._tree) or frozenset())

    def _is_before(self, number: int, ref: _Ref) -> bool:
        return 0 < self._groups[number].ends < ref.at

    def _number(self, either: _Either, *, backward: bool) -> None:
        """Counts groups and references in the order in which they are tried."""
        for way in either.ways:
            for node in reversed(way) if backward else way:
                while isinstance(node, _Repeat):
                    node = node.inner
                match node:
                    case _Group():
                        self._number(node.inner, backward=backward)
                        self._ticks += 1
                        node.ends = self._ticks
                        if node.number:
                            self._groups[node.number] = node
                    case _Look():
                        self._number(node.inner, backward=node.behind)
                    case _Ref():
                        self._ticks += 1
                        node.at = self._ticks
                        self._refs.append(node)

    def _either(self, either: _Either) -> str:
        return "|".join("".join(map(self._node, way)) for way in either.ways)

    def _node(self, node: _Node) -> str:
        match node:
            case _Char():
                return _escaped(node.code)
            case _Set() | _Assert():
                return node.source
            case _Ref():
                source = ""
                for number in reversed(node.groups):
                    new = self._new[number]
                    source = f"(?({new})\\{new}|{source})"
                return source or "(?:)"
            case _Group():
                opening = "(" if node.number in self._new else f"(?{node.modifiers}:"
                return f"{opening}{self._either(node.inner)})"
            case _Look():
                return f"({node.mark}{self._either(node.inner)})"
            case _Repeat():
                inner = self._node(node.inner)
                if not isinstance(node.inner, _Char | _Set | _Group):
                    inner = f"(?:{inner})"
                return inner + node.mark


def _words(either: _Either) -> frozenset[str] | None:
    """Words of which any match holds one; None where there are none, or too many."""
    found = set[str]()
    for way in either.ways:
        best = max(_words_of(way), key=_worth, default=None)
        if best is None:
            return None
        found |= best
    return frozenset(found) if len(found) <= MAX_WORDS else None


def _worth(words: frozenset[str]) -> tuple[int, int]:
    return min(map(len, words)), -len(words)


def _words_of(way: Sequence[_Node]) -> Iterator[frozenset[str]]:
    """Sets of words, of each of which any match of a sequence holds one."""
    run = ""
    for node in way:
        repeated = isinstance(node, _Repeat)
        if isinstance(node, _Repeat) and node.least:
            node = node.inner
        letter = _plain(node.code) if isinstance(node, _Char) else ""
        if letter and not repeated:
            run += letter
            continue
        if run or letter:
            yield frozenset([run + letter])
        run = letter
        if isinstance(node, _Group) and (words := _words(node.inner)):
            yield words
    if run:
        yield frozenset([run])


def _plain(code: int) -> str:
    """A character as it stands in a normal text; nothing if more than one stands for it there."""
    char = chr(code)
    if char in "’":
        return "'"
    folded = char.casefold()
    simple = len(folded) == 1 and folded == char.lower() and (code < 0x530 or not _has_case(char))
    return "" if not simple or char.isspace() or 0xD800 <= code <= 0xDFFF else folded


def _paired(first: _Node, second: _Node) -> _Node | None:
    """The characters beyond U+FFFF that two classes of surrogates stand for."""
    leads, trails = _ranges_of(first), _ranges_of(second)
    if not leads or not trails:
        return None
    if not all(_inside(end, _LEAD) for pair in leads for end in pair):
        return None
    if not all(_inside(end, _TRAIL) for pair in trails for end in pair):
        return None
    if trails == [_TRAIL]:
        ranges = [(_joined(low, _TRAIL[0]), _joined(high, _TRAIL[1])) for low, high in leads]
    else:
        if sum(high - low + 1 for low, high in leads) * len(trails) > MAX_PAIRS:
            raise Unsupported("many pairs of surrogates; write \\u{} and the flag u")
        ranges = [
            (_joined(lead, low), _joined(lead, high))
            for first_lead, last_lead in leads
            for lead in range(first_lead, last_lead + 1)
            for low, high in trails
        ]
    return _Set(_in_brackets(ranges), ranges)


def _ranges_of(node: _Node) -> list[Range] | None:
    if isinstance(node, _Char):
        return [(node.code, node.code)]
    return node.ranges if isinstance(node, _Set) else None


def _class_of(ranges: list[Range], properties: list[str], *, negated: bool) -> _Set:
    if not ranges and not properties:
        return _Set(_ANY) if negated else _Set(_NEVER)
    source = f"[{'^' * negated}{''.join(map(_range, ranges))}{''.join(properties)}]"
    return _Set(source, None if properties or negated else ranges)


def _union(ranges: list[Range], properties: list[str], others: list[str]) -> str:
    own = [_class_of(ranges, properties, negated=False).source] if ranges or properties else []
    return f"(?:{'|'.join([*own, *others]) or _NEVER})"


def _in_brackets(ranges: Sequence[Range]) -> str:
    return f"[{''.join(map(_range, ranges))}]" if ranges else _NEVER


def _range(pair: Range) -> str:
    low, high = pair
    return _escaped(low) if low == high else f"{_escaped(low)}-{_escaped(high)}"


def _escaped(code: int) -> str:
    """A character that stands for itself, inside and outside of brackets."""
    char = chr(code)
    if code >= 128 or char.isalnum() or char == "_":
        return char
    return f"\\{char}" if 32 < code < 127 else f"\\x{code:02x}"


def _all_but(ranges: Sequence[Range]) -> list[Range]:
    """Every other character."""
    others, at = [], 0
    for low, high in ranges:
        if at < low:
            others.append((at, low - 1))
        at = high + 1
    return [*others, (at, _LAST)] if at <= _LAST else others


def _is_script(name: str) -> bool:
    """Whether a script is known by this name; JavaScript minds its case."""
    if not name[:1].isupper():
        return False
    try:
        regex.compile(f"\\p{{sc={name}}}", cache_pattern=False)
    except regex.error:
        return False
    return True


def _number(digits: str) -> int:
    return int(digits) if len(digits) < 10 else 10**9


def _inside(code: int, pair: Range) -> bool:
    return pair[0] <= code <= pair[1]


def _joined(lead: int, trail: int) -> int:
    """The character of a surrogate pair."""
    return 0x10000 + ((lead - _LEAD[0]) << 10) + (trail - _TRAIL[0])


def _has_case(char: str) -> bool:
    return char.lower() != char.upper()


def _may_have_case(low: int, high: int) -> bool:
    """Whether a range outside of ASCII holds letters of two cases; long ones are sampled."""
    return any(_has_case(chr(code)) for code in range(low, high + 1, 1 + (high - low) // 256))
