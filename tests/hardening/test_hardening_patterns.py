"""No text makes a regular expression of the product slow: the time grows with its length alone.

Every pattern is found by itself: what modules hold, what stands literally in a function, and what
the factories below make of names. A test looks that no other function makes one.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import regex

from graph.settings import ROOT
from language.normal import nfc
from openai_api import names as client_names
from openai_api import phrases as clients
from prompts import control
from replies import agency, guard, plain, tags
from replies.tags import Cast
from retrieval import query
from routing import commands, reading
from schemas.formats import FORMATS
from tests.hardening.patterns import texts

FOLDERS = (
    "cards embedding graph language llm nodes openai_api play prompts replies retrieval routing "
    "schemas stores worker"
)
STARTS = {"graph.app", "cards.__main__", "play.__main__"}
"""What starts something when it is imported."""

NAMES = ("Ana Bell", "((", "- -", "김민준", "가 나", "a" * 100, "a.b", "# #", "<b")
"""Names and stop strings as nobody has them."""
CAST = Cast("character", NAMES[:3], NAMES[3:5], NAMES[5:])

FACTORIES: dict[str, Callable[[], dict[str, re.Pattern[str]]]] = {
    "replies/guard.py:Rules.__init__": lambda: {
        name: getattr(guard.Rules(CAST, NAMES, NAMES), name) for name in ("_plain", "_copied")
    },
    "replies/tags.py:Tags.__init__": lambda: {
        name: getattr(tags.Tags(CAST), name) for name in ("_any", "_inner", "_gaps", "_no_colon")
    },
    "replies/agency.py:acts_of": lambda: agency.acts_of(CAST)._asdict(),
    "prompts/control.py:_marks": lambda: {
        f"marks of {form.name} {number}": made
        for form in FORMATS.values()
        for number, made in enumerate(control._marks(form)[0])
    },
    "prompts/control.py:_role_lines": lambda: {"marks of names": control._role_lines(NAMES)},
    "routing/commands.py:_kinds.either": lambda: {
        f"commands {kind.command.kind} {name}": pattern
        for kind in commands._kinds()
        for name, pattern in kind._asdict().items()
        if isinstance(pattern, re.Pattern)
    },
    "routing/commands.py:_words": lambda: {
        f"commands {name}": pattern for name, pattern in commands._words().items()
    },
    "openai_api/names.py:as_word": lambda: {
        f"word {name}": client_names.as_word(name, r"(?!\w)(?!\s?[:：*])") for name in NAMES[:4]
    },
    "replies/plain.py:PlainReader.__init__": lambda: {
        "stops of plain work": plain.PlainReader(NAMES, opening=True)._stop
    },
    "openai_api/phrases.py:_patterns": lambda: {
        f"clients {kind} {number}": made
        for kind, row in clients._table().items()
        if "words" not in row
        for number, made in enumerate(clients._patterns(kind))
    },
    "routing/reading.py:_phrases": lambda: {
        f"phrases {name}": pattern for name, pattern in reading._phrases().items()
    },
    "routing/reading.py:_mention": lambda: {f"mention {n}": reading._mention(n) for n in NAMES[:4]},
    "routing/reading.py:_address": lambda: {f"address {n}": reading._address(n) for n in NAMES[:4]},
    "retrieval/query.py:_forms": lambda: {
        f"forms {name} {own}": made for name in NAMES[:4] for made, own in query._forms(name)
    },
}
"""Functions that make patterns, and what they make."""

MAKERS = {
    "routing/reading.py:_phrases.made": "makes what `_phrases` returns",
    "language/korean.py:_written": "makes what `_FORMS` holds",
    "replies/edges.py:_header": "reads formats",
    "embedding/backends.py:prefixes_for": "reads a model's name, of the operator",
    "retrieval/patterns.py:Pattern._compile": "compiles a user's pattern, which has a budget",
    "retrieval/javascript.py:_is_script": "asks for a script by its name",
}
"""Functions that make patterns which are tested elsewhere or read no text of a user, and why."""

METHODS = {
    "_FORMS": {"match"},
    "_PAIR": {"finditer"},
    "phrases": {"search", "findall"},
    "marks": {"sub"},
    "mention": {"search"},
    "address": {"search"},
    "forms": {"sub"},
    "korean": {"match"},
    "_any": {"match"},
}
"""How patterns are used that are called by no name of their own."""

GIVEN: dict[str, Callable[[str], str]] = {
    "phrases": reading.plain,
    "_BARE_ENDING": lambda text: text[-8:],
    "_SENTENCES": lambda text: text[-24:],
    "_ENDS": lambda text: text[-24:],
    "_UNCLOSED": lambda text: text[-40:],
    "_MARKS": lambda text: text[:250],
    "_REST": lambda text: text[:250],
    "last_sound": lambda text: text[-60:],
    "latin_sound": lambda text: text[-60:],
    "_LAST_WORD": lambda text: text[-60:],
    "_LAUGHTER": lambda text: text[-60:],
    "_SPEAKER": lambda text: text[-200:],
    "_NOTE": lambda text: text[: max(map(text.rfind, ")]}】）］〕>")) + 1],
}
"""What the callers make of any text before the pattern reads it."""

SMALL, MIDDLE, LARGE = 1_000, 3_000, 20_000
LIMIT = 0.05
"""Seconds of processor time for `LARGE` characters."""
SUSPICIOUS = 2 * LIMIT * (SMALL / LARGE) ** 2
"""Where a pattern of quadratic time would be twice above it."""
NOISE = 5
"""Times slower that a busy machine may be."""


class Used(NamedTuple):
    """A pattern, and the methods that it is called by."""

    pattern: re.Pattern[str]
    methods: frozenset[str]


@cache
def sources() -> dict[str, ast.Module]:
    """The product's files by their path."""
    files = (path for folder in FOLDERS.split() for path in sorted((ROOT / folder).rglob("*.py")))
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in files
    }


@cache
def calls(path: str = "") -> dict[str, frozenset[str]]:
    """The methods that are called on a name, in one file or in all of the product."""
    found: dict[str, set[str]] = {}
    for tree in [sources()[path]] if path else sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = getattr(owner, "id", None) or getattr(owner, "attr", None)
                if name:
                    found.setdefault(name, set()).add(node.attr)
    return {name: frozenset(methods) for name, methods in found.items()}


def held(value: object, depth: int = 0) -> Iterator[re.Pattern[str]]:
    """The patterns in a value of a module."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        value = list(value.values())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    if isinstance(value, (list, tuple, set, frozenset)) and depth < 4:
        for part in value:
            yield from held(part, depth + 1)


class _Written(ast.NodeVisitor):
    """Calls of `re` inside of functions: with a literal, or as a factory."""

    def __init__(self) -> None:
        self._inside: list[str] = []
        self.literal: dict[str, Used] = {}
        self.made: set[str] = set()

    def _enter(self, node: Any) -> None:
        self._inside.append(node.name)
        self.generic_visit(node)
        self._inside.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _enter

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = node.func
        if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
            return
        if function.value.id not in ("re", "regex") or function.attr in ("escape", "purge"):
            return
        if not self._inside:
            return
        place, first = ".".join(self._inside), node.args[0]
        literal = first.value if isinstance(first, ast.Constant) else None
        if isinstance(literal, str) and function.value.id == "re":
            flags = next((word.value for word in node.keywords if word.arg == "flags"), None)
            value = eval(ast.unparse(flags), {"re": re}) if flags else 0
            used = Used(re.compile(literal, value), frozenset({function.attr}))
            self.literal[f"{place} {literal}"] = used
        else:
            self.made.add(place)


def written() -> dict[str, _Written]:
    """What each file writes."""
    found = {}
    for path, tree in sources().items():
        found[path] = _Written()
        found[path].visit(tree)
    return found


def patterns() -> dict[str, Used]:
    """Every pattern of the product by its place."""
    found: dict[str, Used] = {}
    for path in sources():
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if module in STARTS:
            continue
        for name, value in vars(importlib.import_module(module)).items():
            for row, pattern in enumerate(held(value)):
                found.setdefault(f"{name} {row} of {module}", Used(pattern, uses(name, path)))
    for place, make in FACTORIES.items():
        for name, pattern in make().items():
            found[f"{name} of {place}"] = Used(pattern, uses(name.split()[0]))
    for path, seen in written().items():
        found |= {f"{place} of {path}": used for place, used in seen.literal.items()}
    distinct = {used: place for place, used in reversed(found.items())}
    return {place: used for used, place in distinct.items()}


def uses(name: str, path: str = "") -> frozenset[str]:
    """The methods that a pattern is called by; a private one in its own file alone."""
    seen = calls(path if name.startswith("_") else "")
    known = seen.get(name, frozenset()) & set(dir(re.Pattern))
    return frozenset(METHODS.get(name, known)) or frozenset({"finditer", "match", "fullmatch"})


def runs(used: Used) -> Iterator[Callable[[str], object]]:
    """The ways in which a pattern reads a text, each to its end."""
    pattern, methods = used
    if methods & {"finditer", "findall", "sub", "subn", "split"}:
        yield lambda text: deque(pattern.finditer(text), 0)
    elif "search" in methods:
        yield pattern.search
    if "match" in methods:
        yield pattern.match
    if "fullmatch" in methods:
        yield pattern.fullmatch


def seconds(run: Callable[[str], object], text: str) -> float:
    started = time.thread_time()
    run(text)
    return time.thread_time() - started


PATTERNS = patterns()


@pytest.mark.parametrize("place", PATTERNS)
def test_a_pattern_takes_linear_time(place: str) -> None:
    used, given = PATTERNS[place], GIVEN.get(place.split()[0], str)
    for text in texts(used.pattern, SMALL):
        for run in runs(used):
            if (took := seconds(run, given(text))) > SUSPICIOUS:
                assert took < LIMIT * NOISE, f"{text[:20]!r}: {took:.3f} s"
                long = longer(text, MIDDLE)
                grown = min(seconds(run, given(long)) for _ in range(2))
                if grown > 1.8 * took * MIDDLE / SMALL or grown > LIMIT * MIDDLE / LARGE:
                    assert grown < LIMIT * NOISE, f"{text[:20]!r}: {grown:.3f} s"
                    grown = seconds(run, given(longer(text, LARGE)))
                    assert grown < LIMIT * NOISE, f"{text[:20]!r}: {grown:.3f} s"


def longer(text: str, size: int) -> str:
    """The same with more of its middle."""
    body = text[100:-100]
    return text[:100] + body * (size // len(body)) + text[-100:]


def test_no_function_makes_a_pattern_that_is_not_tested() -> None:
    made = {f"{path}:{place}" for path, seen in written().items() for place in seen.made}
    assert made - MAKERS.keys() == FACTORIES.keys()


def test_no_other_pattern_has_the_syntax_of_regex() -> None:
    found = {
        name
        for path in sources()
        if (module := path.removesuffix(".py").replace("/", ".")) not in STARTS
        for name, value in vars(importlib.import_module(module.removesuffix(".__init__"))).items()
        if isinstance(value, type(regex.compile("")))
    }
    assert found == {"_PILED"}  # `nfc` is tested below


@pytest.mark.parametrize("pile", ["\u0301\u0323", "\u0f71\u0f72\u0f74", "\u0323\u0301", "a\u0301"])
def test_marks_are_composed_in_linear_time(pile: str) -> None:
    assert seconds(nfc, "e" + pile * 50_000) < LIMIT * NOISE
