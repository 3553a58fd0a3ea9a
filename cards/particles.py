"""Korean particles behind a name: `josa("민준", "은는")` is 민준은, behind 세라 it is 는.

Which form is right depends on the last sound. A name in Latin letters or digits is judged by how
Korean reads it; where the reading cannot be known (Han, Cyrillic, only marks) what the author
wrote stays.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal, NamedTuple

Final = Literal["open", "ㄹ", "closed"]
"""How a name ends when it is spoken: in a vowel, in ㄹ, in another consonant."""

PAIRS = {
    "은는": ("은", "는"),
    "이가": ("이", "가"),
    "을를": ("을", "를"),
    "과와": ("과", "와"),
    "아야": ("아", "야"),
    "으로": ("으로", "로"),
}
"""The form behind a consonant, and the form behind a vowel."""

_VOCATIVE = PAIRS["아야"]
_COPULA = ("이야", "야")

_LONGER = [
    ("이라", "라", "고|는|도|면|서|며|니|던|네|지"),
    ("이랑", "랑", ""),
    ("이나", "나", "마"),
    ("이란", "란", ""),
    ("이며", "며", ""),
    ("이든", "든", "지|가"),
    ("이었", "였", "[가-힣]+"),
    ("이에요", "예요", ""),
    ("이여", "여", ""),
]
"""Pairs that a card writes as part of a longer ending, and what may follow them."""

_SIMPLE = [
    ("은", "는", "커녕"),
    ("이", "가", ""),
    ("을", "를", ""),
    ("과", "와", "의|는|도|만"),
    ("아", "야", ""),
    ("으로", "로", "서|써|부터|만|도|는|의|까지"),
]


class _Form(NamedTuple):
    closed: str
    open: str
    pattern: re.Pattern[str]


def _form(closed: str, open_: str, tail: str) -> _Form:
    """A pair in every way it is written: `은`, `는`, `은(는)`, `는(은)`, `은/는`, `(으)로`."""
    both = [f"{closed}({open_})", f"{open_}({closed})", f"{closed}/{open_}", f"{open_}/{closed}"]
    if closed.endswith(open_):
        both.append(f"({closed.removesuffix(open_)}){open_}")
    ways = "|".join(map(re.escape, [*both, closed, open_]))
    follows = f"(?:{tail})?" if tail else ""
    return _Form(closed, open_, re.compile(rf"(?:{ways})(?={follows}(?![가-힣]))"))


_FORMS = [_form(*row) for row in (*_LONGER, *_SIMPLE)]
_TAIL = 60
"""Characters that are looked at: of a name from its end, and before it."""

_CLOSING = re.compile(r"[\"'”’」』)\]*_]{0,4}")
_SUBJECT_BEFORE = re.compile(r"[가-힣](?:은|는|이|가|도|건|게) $|(?:^|\s)(?:나|난|넌|너) $")
_OPEN_PAIR = re.compile(r"야(?![(/])")


def josa(name: str, pair: str) -> str:
    """A name with the right one of two particles.

    Args:
        pair: a key of `PAIRS`.
    """
    closed, open_ = PAIRS[pair]
    return name + _choose(closed, open_, final_of(name) or "open")


def agree(name: str, before: str, after: str) -> str:
    """The text `after` a name, its leading particle in the form that the name calls for.

    Closing quotes and asterisks may stand between. A bare 야 behind a subject (나는 {{char}}야) is
    the copula, 이야 behind a consonant; elsewhere it calls somebody, 아 behind a consonant.
    """
    final = final_of(name)
    marks = _CLOSING.match(after)
    start = marks.end() if marks else 0
    if final is None or not after[start : start + 1]:
        return after
    for closed, open_, pattern in _FORMS:
        if match := pattern.match(after, start):
            pair = (closed, open_)
            bare = pair == _VOCATIVE and _OPEN_PAIR.match(after, start)
            if bare and _SUBJECT_BEFORE.search(before[-_TAIL:]):
                pair = _COPULA
            return after[:start] + _choose(*pair, final) + after[match.end() :]
    return after


def _choose(closed: str, open_: str, final: Final) -> str:
    if final == "ㄹ" and closed == "으로":
        return open_
    return open_ if final == "open" else closed


@lru_cache(maxsize=1024)
def final_of(name: str) -> Final | None:
    """How the name ends when Korean reads it; None if that cannot be known.

    Digits are read one by one (7 is 칠). Capitals without a vowel, or up to three of them, are read
    as letters (NPC is 엔피시). Other Latin words end in a consonant when they end in one that
    Korean keeps: l, m, n, ng; these before a silent e (Jane is 제인); and p, t, k, ck, b behind
    a single short vowel (Jack is 잭, Robert is 로버트).
    """
    spoken = unicodedata.normalize("NFC", name[-_TAIL:])
    spoken = re.sub(r"\([^()]*\)\s*$", "", spoken) or spoken
    word = re.search(r"([^\W_]+)[\W_]*$", spoken)
    if word is None:
        return None
    last = word[1][-1]
    if "가" <= last <= "힣":
        jongseong = (ord(last) - ord("가")) % 28  # 0 is none, 8 is ㄹ
        return "open" if jongseong == 0 else "ㄹ" if jongseong == 8 else "closed"
    if "ぁ" <= last <= "ヿ":
        return "closed" if last in "んンっッ" else "open"
    if last.isascii():
        return _digit(last) if last.isdigit() else _latin(word[1])
    base = unicodedata.normalize("NFD", last)[0]
    return _latin(word[1][:-1] + base) if base.isascii() and base.isalpha() else None


def _digit(digit: str) -> Final:
    return "ㄹ" if digit in "178" else "closed" if digit in "036" else "open"


def _latin(word: str) -> Final:
    """A word in Latin letters, by the rules that `final_of` states."""
    letters = re.search(r"[a-zA-Z]+$", word)
    tail = letters[0] if letters else word
    low = tail.lower()
    if tail.isupper() and (len(tail) <= 3 or not re.search("[aeiouy]", low)):
        return "ㄹ" if low[-1] in "lr" else "closed" if low[-1] in "mn" else "open"
    if re.search("(?:l|[aeiouy]ll?e)$", low):
        return "ㄹ"
    if re.search("(?:m|n|ng|[aeiouy](?:mm?|nn?)e)$", low):
        return "closed"
    short = re.search("(?:^|[^aeiouy])[aeiouy](?:pp?|tt?|ck|k|bb?)$", low)
    return "closed" if short else "open"
