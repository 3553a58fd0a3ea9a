"""White space, and quotation marks around a whole reply."""

from __future__ import annotations

import re
from typing import Literal

_MANY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_RULE_AT_END = re.compile(r"(?:^|\n)[ \t]*(?:[-=_#>]+|\*(?:[ \t]*\*)+)[ \t]*$")
_ENDS_FEET = frozenset("0123456789'’")
_FEET = re.compile(r"\d['’]\d{0,2}$")

PAIRS = {"“": "”", "«": "»", "「": "」", "『": "』"}
"""Quotation marks that show their direction; `"` does not."""


def readable(raw: str) -> str:
    """Line feeds only, and no half characters, which no encoder could send."""
    text = raw.replace("\r\n", "\n").replace("\r", "\n") if "\r" in raw else raw
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def tidy(text: str) -> str:
    """The text without outer white space, and with one empty line at most between others."""
    text = text.strip()
    return _MANY_LINES.sub("\n\n", text) if "\n" in text else text


def without_rule(text: str) -> str:
    """The text without a dividing line (`---`, `***`) at its end, as it is left by a cut."""
    while match := _RULE_AT_END.search(text):
        text = text[: match.start()].rstrip()
    return text


def wrapping(text: str) -> Literal["whole", "open", "no"]:
    """Whether one pair of quotation marks encloses the text.

    Returns:
        `whole`: it does, and may be taken off. `open`: the first mark is not closed yet.
        `no`: there is none, or other text follows its partner.
    """
    if not text or (text[0] != '"' and text[0] not in PAIRS):
        return "no"
    closing = PAIRS.get(text[0], '"')
    depth = 1
    for match in re.finditer(f"[{text[0]}{closing}]", text[1:]):
        at = match.start() + 1
        if closing != '"':
            depth += 1 if text[at] == text[0] else -1
        elif not is_measure(text, at):
            depth += 1 if opens(text, at) else -1
        if depth == 0:
            return "whole" if at == len(text) - 1 else "no"
    return "open"


def opens(text: str, at: int) -> bool:
    """Whether the straight mark at `at`, inside a quotation, opens one more."""
    before = text[at - 1] if at else " "
    after = text[at + 1] if at + 1 < len(text) else " "
    return not after.isspace() and (before.isspace() or before in "([{（")


def is_measure(text: str, at: int) -> bool:
    """Whether the mark at `at` means inches, as in 6'2\"."""
    return text[at - 1 : at] in _ENDS_FEET and _FEET.search(text, max(0, at - 4), at) is not None
