"""What a text must contain before a regular expression can match it.

Thousands of patterns are too slow to try on every line of a chat; these literals, looked up
together (`cards.grams`), leave the few that are worth it. Only plain syntax is read. Of anything
else nothing is claimed: such a pattern is always tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_WAYS = 64
"""Literals that one pattern may ask for one of."""

_TURKIC = {ord("İ"): "i", ord("ı"): "i"}  # equal to i where case is ignored
_FLAGS = re.compile(r"\(\?[ims]+\)")
_TOKEN = re.compile(
    r"""(?P<open>\((?:\?(?:[:>]|P?<[A-Za-z_]\w*>))?(?!\?|\*))
      | (?P<look>\(\?<?[=!])
      | (?P<close>\)) | (?P<bar>\|)
      | (?P<repeat>(?:[*+?]|\{(?P<least>[0-9]*)(?:,[0-9]*)?\})[?+]?)
      | (?P<nothing>[\^$]|\\[bBAZ])
      | (?P<any>\.|\\[dDwWsS1-9nrtfv]|\[\^?\]?(?:\\.|[^\]\\\[])*\])
      | \\x(?P<hex>[0-9a-fA-F]{2}) | \\u(?P<unicode>[0-9a-fA-F]{4}) | \\(?P<escaped>[^\w\s])
      | (?P<plain>[^\\()\[\]{}|*+?.^$]+)""",
    re.VERBOSE | re.DOTALL,
)

_Ways = frozenset[str]
"""Literals of which one has to be there; empty where nothing is known."""

_NOTHING: _Ways = frozenset()


def fold(text: str) -> str:
    """A text as literals are compared: characters that a pattern may take for equal, are."""
    return text.translate(_TURKIC).casefold()


def required(pattern: str) -> frozenset[str]:
    """Literals, folded, of which one stands in every text that the pattern matches.

    Args:
        pattern: as the package `regex` reads it, flags in front.

    Returns:
        Nothing where no such literal is known.
    """
    flags = _FLAGS.match(pattern)
    try:
        tokens = iter(list(_tokens(pattern[flags.end() if flags else 0 :])))
        ways, end = _alternatives(tokens)
    except (_Unread, RecursionError):
        return frozenset()
    return frozenset() if end else ways


class _Unread(Exception):
    """Syntax that is not read here."""


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """Kind and value of each token; a quantifier's value is how often it repeats at least."""
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise _Unread
        at, kind, text = token.end(), str(token.lastgroup), token[0]
        match kind:
            case "hex" | "unicode":
                yield "literal", chr(int(token[kind], 16))
            case "escaped" | "plain":
                yield "literal", token[kind]
            case "repeat":
                yield kind, "1" if text[0] == "+" or int(token["least"] or 0) else ""
            case _:
                yield kind, text


def _alternatives(tokens: Iterator[tuple[str, str]]) -> tuple[_Ways, str]:
    """What a group needs, up to its end, and the token that ended it."""
    ways, end = _sequence(tokens)
    known = bool(ways)
    while end == "|":
        more, end = _sequence(tokens)
        known = known and bool(more)
        ways |= more
    return (ways if known and len(ways) <= MAX_WAYS else frozenset()), end


def _sequence(tokens: Iterator[tuple[str, str]]) -> tuple[_Ways, str]:
    """What one alternative needs: the best of its parts, and the token that ended it."""
    parts: list[_Ways] = []
    run, group, end = "", _NOTHING, ""  # literals, or a group, that a quantifier may follow
    for kind, value in tokens:
        if kind == "literal":
            parts.append(group)
            run, group = run + value, _NOTHING
        elif kind == "repeat":
            if run:
                parts.append(_one(run if value else run[:-1]))
            elif value:
                parts.append(group)
            run, group = "", _NOTHING
        elif kind != "nothing":
            parts += [_one(run), group]
            run, group = "", _NOTHING
            if kind in ("close", "bar"):
                end = value
                break
            if kind in ("open", "look"):
                inner, _ = _alternatives(tokens)
                group = inner if kind == "open" else group
    return max([*parts, _one(run), group], key=_worth), end


def _one(literal: str) -> _Ways:
    return frozenset({fold(literal)}) if literal else _NOTHING


def _worth(ways: _Ways) -> int:
    """Longer literals are rarer; of several the shortest counts."""
    return min(map(len, ways), default=0)
