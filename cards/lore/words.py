"""How a key is looked for in a text: as words of its own, and with names filled in."""

from __future__ import annotations

import re

from language.one_syllable import LOOKED_AT
from language.script import SOUTHEAST_ASIAN, UNSPACED
from retrieval.text import may_end, may_start

MAX_NAMES = 20
"""Macros of a key that names are filled in for; others stay as text."""

_NAME = re.compile(
    r"\{\{\s*+(char|bot|user)\s*+\}\}|(?<!\(\?)(?<!\\k)<(char|bot|user)>", re.IGNORECASE
)
_SYNTAX = re.compile(r"[\^$\\.*+?()\[\]{}|/]")
_UNSPACED, _NEXT = re.compile(f"[{UNSPACED}]"), re.compile(f"[{SOUTHEAST_ASIAN}]")
_BOUND = re.compile("[0-9가-힣]")
"""What a key of several words may not be cut at: 12 is not in 120, 붉은 용 is not in 붉은 용사."""


def stands_in(words: str, text: str) -> bool:
    """Whether a key stands in a text by itself; both as `retrieval.text.spaced` gives them.

    One word must be a word there, as `retrieval.text.stands_in` has it, but for three things that
    authors rely on. Where the key or the text next to it is in a script that puts no spaces between
    words, there is no word to go by. A key of one Han character is meant. Of several words, the
    first and the last may be parts of others: "dragon slayer" is in "dragon slayers".
    """
    several = " " in words
    at = text.find(words) if words else -1
    while at >= 0:
        end = at + len(words)
        before = text[max(0, at - LOOKED_AT) : at]
        starts = (
            _is_free(words[0], several) or _NEXT.match(before[-1:]) or may_start(words, before[-1:])
        )
        if starts and (
            _is_free(words[-1], several)
            or _NEXT.match(text, end)
            or may_end(words, before, text, end)
        ):
            return True
        at = text.find(words, at + 1)
    return False


def _is_free(edge: str, several: bool) -> bool:
    """Whether a key may begin or end anywhere with this character."""
    if several:
        return not _BOUND.match(edge)
    return _UNSPACED.match(edge) is not None


def has_names(key: str) -> bool:
    """Whether a key names `{{char}}` or `{{user}}`."""
    return ("{{" in key or "<" in key) and _NAME.search(key) is not None


def with_names(key: str, char: str, user: str, *, in_pattern: bool) -> str:
    """A key with names for its macros; chance and all else have no place in a key.

    Args:
        in_pattern: it is a regular expression, in which a name stands for itself.
    """

    def name(macro: re.Match[str]) -> str:
        said = user if (macro[1] or macro[2]).lower() == "user" else char
        return _SYNTAX.sub(r"\\\g<0>", said) if in_pattern else said

    return _NAME.sub(name, key, count=MAX_NAMES)
