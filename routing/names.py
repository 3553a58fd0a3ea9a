"""Hearing names: mentions and forms of address, with Korean particles and vocatives.

`\\b` finds no Korean name before a particle, and every particle would be a false word without a
closed list; so a name must not be preceded by a letter and may be followed by particles only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from language.korean import NAME_PARTICLES, VOCATIVES, is_syllable

_OPENER = (
    r"(?:hey|oh|no|yes|yeah|okay|ok|well|so|but|and|thanks|thank you|sorry|wait|come on|please|hi"
    r"|hello"
    r"|dear|my|mr\.?|mrs\.?|ms\.?|miss|lady|sir|저기|야|어이|근데|그런데|아니|응|그래|있잖아)"
)
_END = r"(?=\s*(?:[,.!?~…:;，。？！—–]|--|$))"
_START = r"(?:^|[.!?~…,;:\n—–\"“”*)]|--)\s*"


@lru_cache(maxsize=512)
def _patterns(name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    word = re.escape(name)
    tail = rf"(?:{VOCATIVES}|{NAME_PARTICLES}){{0,2}}" if is_syllable(name[-1:]) else "(?:'s)?"
    call = rf"(?:\s?(?:{VOCATIVES}))?"
    mention = re.compile(rf"(?<!\w){word}{tail}(?!\w)")
    address = re.compile(
        rf"{_START}(?:{_OPENER}[,!]?\s+)*{word}{call}(?!\w){_END}"  # "Hey, Mira, ..." at a start
        rf"|[,，]\s*(?:{_OPENER}\s+)?{word}{call}(?!\w){_END}"  # "..., Mira?"
        rf"|(?<!\w){word}\s?(?:아|야|님|씨)(?=[\s,.!?~…]|$)"  # a vocative needs no comma
        rf"|(?:^|\s)@{word}(?!\w)"
    )
    return mention, address


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def mentions(text: str, name: str) -> bool:
    """Whether `name` occurs in `text` as a word, particles allowed: "세라피나는", "Mira's"."""
    return (
        bool(name.strip()) and _patterns(_folded(name.strip()))[0].search(_folded(text)) is not None
    )


def addresses(text: str, name: str) -> bool:
    """Whether `text` speaks to `name`: "Mira, where...", "..., Mira?", "세라피나, 어디 가?"."""
    return (
        bool(name.strip()) and _patterns(_folded(name.strip()))[1].search(_folded(text)) is not None
    )


def first_addressed(text: str, names: Iterable[str]) -> str | None:
    """The first of `names`, in the order given, that `text` speaks to."""
    return next((name for name in names if addresses(text, name)), None)


_SOMEONE = re.compile(
    r"(?:^|[.?!,]\s|--\s)(?:(?i:hey|oh|no|yes|yeah|okay|well|so|but|and|wait|sorry|please),?\s)*"
    r"([A-Z][\w']+(?: [A-Z][\w']+)?),"
    r"|,\s([A-Z][\w']+)[.?!]"
    r"|^(?:Hey|Hi|Hello|Mr\.|Mrs\.|Ms\.|Miss|Sir),?\s([A-Z][\w']+)"
)
_NOT_A_NAME = frozenset(
    """
    yeah yes no okay ok oh well so but and then sure right wait sorry now hey what i cool
    great ooh ah wow all first also actually maybe nah hmm um uh like good fine thanks
    please or if because just only once second one two three god jesus shit fuck damn man
    here there this that meanwhile later finally yep nope alright hi hello today tonight
    tomorrow however still anyway honestly perhaps
    """.split()  # noqa: SIM905
)


def addresses_someone(text: str) -> bool:
    """A capitalised form of address whose name nobody told us: "Rissa, wait." """
    found = (next(g for g in m.groups() if g) for m in _SOMEONE.finditer(text))
    return any(name.split()[0].lower() not in _NOT_A_NAME for name in found)
