"""Texts that make a regular expression slow, made from the expression itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, product
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

COMMON = "a가ㅋᄀあ漢1 \n\r\t.,:;!?…\"'“”‘’「」『』()（[]{}<>*_~`#-—|/\\=&%@^ㅠ́‍😀\0\ud800"
"""A character of each kind that chats are made of, and some that they should not be."""

_CATEGORIES = {
    code.CATEGORY_DIGIT: r"\d",
    code.CATEGORY_NOT_DIGIT: r"\D",
    code.CATEGORY_SPACE: r"\s",
    code.CATEGORY_NOT_SPACE: r"\S",
    code.CATEGORY_WORD: r"\w",
    code.CATEGORY_NOT_WORD: r"\W",
}
_SAMPLES = {r"\d": "1", r"\D": "a", r"\s": " ", r"\S": "a", r"\w": "a", r"\W": "."}


def texts(pattern: re.Pattern[str], size: int) -> Iterator[str]:
    """Texts of `size` characters: runs, pairs, what the pattern looks for again and again, and a
    run behind the beginning of a match, each with and without an end that fits nothing."""
    atoms = _atoms(pattern)
    words = [word for word in dict.fromkeys(_words(pattern)) if word]
    units = dict.fromkeys(
        chain(COMMON, atoms, map("".join, product(atoms[:12], repeat=2)), words[:80])
    )
    for unit in units:
        yield unit * (size // len(unit))
        yield unit * (size // len(unit)) + "\0."
    for word, atom in product(words[:24], atoms[:8]):
        yield word + atom * (size - len(word)) + "\0."
        yield atom * (size - len(word)) + word


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    for operator, value in tree:
        yield operator, value
        for part in _subtrees(operator, value):
            yield from _nodes(part)


def _subtrees(operator: Any, value: Any) -> list[Any]:
    match operator:
        case code.BRANCH:
            return list(value[1])
        case code.SUBPATTERN:
            return [value[-1]]
        case code.MAX_REPEAT | code.MIN_REPEAT | code.POSSESSIVE_REPEAT:
            return [value[2]]
        case code.ASSERT | code.ASSERT_NOT:
            return [value[1]]
        case code.ATOMIC_GROUP:
            return [value]
        case code.GROUPREF_EXISTS:
            return [part for part in value[1:] if part is not None]
    return []


def _atoms(pattern: re.Pattern[str]) -> list[str]:
    """A character of each set that the pattern tells apart; those of repeats first."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    nodes = list({repr(node): node for node in _nodes(tree)}.values())
    repeats = (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT)
    repeated = [
        node
        for operator, value in nodes
        if operator in repeats and value[1] > 8
        for node in _nodes(value[2])
    ]
    found = [*map(_sample, repeated), *COMMON, *map(_sample, nodes)]
    tests = [test for node in nodes if (test := _test(node, pattern.flags))]
    kinds: dict[tuple[bool, ...], str] = {}
    for character in found:
        if character:
            kinds.setdefault(tuple(test(character) for test in tests), character)
    return list(kinds.values())


def _test(node: tuple[Any, Any], flags: int) -> Callable[[str], bool] | None:
    """Whether a node that takes one character takes this one."""
    if node[0] not in (code.LITERAL, code.NOT_LITERAL, code.IN):
        return None
    source = re.compile(_source(node), flags & ~re.VERBOSE)
    return lambda character: source.match(character) is not None


def _source(node: tuple[Any, Any]) -> str:
    operator, value = node
    match operator:
        case code.LITERAL:
            return re.escape(chr(value))
        case code.NOT_LITERAL:
            return f"[^{re.escape(chr(value))}]"
        case code.RANGE:
            return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        case code.CATEGORY:
            return _CATEGORIES[value]
        case code.NEGATE:
            return "^"
        case code.IN:
            return f"[{''.join(map(_source, value))}]"
    return ""


def _sample(node: tuple[Any, Any]) -> str:
    """A character that the node takes; empty where it takes none by itself."""
    operator, value = node
    match operator:
        case code.LITERAL:
            return chr(value)
        case code.RANGE:
            return chr(value[0])
        case code.CATEGORY:
            return _SAMPLES[_CATEGORIES[value]]
        case code.ANY:
            return "a"
        case code.NOT_LITERAL | code.IN:
            taken = re.compile(_source(node), re.DOTALL)
            own = map(_sample, value) if operator is code.IN else ()
            return next((c for c in chain(own, COMMON) if c and taken.match(c)), "")
    return ""


def _words(pattern: re.Pattern[str]) -> Iterator[str]:
    """The beginnings of what the pattern matches."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    whole = list(islice(_matches(list(tree)), 60))
    for word in whole:
        yield word
    for word in whole:
        for end in range(1, min(len(word), 24)):
            yield word[:end]


def _matches(tree: list[Any]) -> Iterator[str]:
    """Texts like those that a tree matches: one of each branch."""
    if not tree:
        yield ""
        return
    first, *rest = tree
    heads = _heads(*first)
    tails = list(islice(_matches(rest), 4)) or [""]
    for row, head in enumerate(heads):
        for tail in tails if row == 0 else tails[:1]:
            yield head + tail


def _heads(operator: Any, value: Any) -> Iterable[str]:
    match operator:
        case code.BRANCH:
            return chain.from_iterable(islice(_matches(list(part)), 4) for part in value[1])
        case code.SUBPATTERN:
            return islice(_matches(list(value[-1])), 40)
        case code.ATOMIC_GROUP:
            return islice(_matches(list(value)), 40)
        case code.MAX_REPEAT | code.MIN_REPEAT | code.POSSESSIVE_REPEAT:
            once = list(islice(_matches(list(value[2])), 12))
            return [*(word * max(1, value[0]) for word in once), *([""] if value[0] == 0 else [])]
        case code.GROUPREF_EXISTS:
            return islice(_matches(list(value[1])), 4)
    return [_sample((operator, value))]
