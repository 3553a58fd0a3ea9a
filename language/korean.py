"""Korean writing: the script, the final consonants of its syllables, particles and names.

Which form of a particle is right depends on the last sound before it: 민준은, but 세라는. A name in
Latin letters or digits is judged by how Korean reads it; where the reading cannot be known (Han,
Cyrillic, only marks) what the author wrote stays.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple

HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"
"""All Hangul for a character class: jamo that combine, jamo that stand alone, and syllables."""

_FIRST, _LAST = 0xAC00, 0xD7A3  # 가 to 힣: 28 forms of each open syllable, one after the other
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
"""The final consonants in the order of those 28 forms (Unicode, 3.12); the first has none."""

_SYLLABLE = re.compile("[가-힣]")
_LETTER = re.compile(r"[^\W\d_]")
_KOREAN_LETTER = re.compile("[가-힣ㄱ-ㅎㅏ-ㅣ]")
_KOREAN_SHARE = 0.3
"""Hangul among the letters: Korean text quotes Latin names, English text seldom quotes Hangul."""

_FOLLOWING = """
    은 는 이 가 을 를 의 에 에게 에서 에게서 께 께서 한테 한테서 더러 와 과 랑 이랑 하고 도 만 까지
    부터 마저 조차 밖에 처럼 보다 같이 만큼 마다 대로 커녕 뿐 로 으로 로서 으로서 로써 으로써
    아 야 여 이여 이야 님 씨 군 양 들 네 나 이나 든 이든 든지 이든지 라 이라 라고 이라고 라는 이라는
    란 이란 며 이며 고 이고 다 이다 인 일 였다 이었다 였어 이었어 예요 이에요 입니다 요 이요 지 이지
"""
_CHAIN = re.compile("(?:" + "|".join(sorted(_FOLLOWING.split(), key=len, reverse=True)) + "){1,4}")

VOCATIVES = "아|야|이여|여|님|씨|양|군|선배|언니|누나|오빠|형"
"""What follows the name of somebody who is called, for a pattern."""

NAME_PARTICLES = (
    "은|는|이|가|을|를|의|에게|에게서|한테|한테서|께|와|과|랑|이랑|하고|도|만|까지|부터|처럼|보다"
    "|이는|이가|이를|이도|이랑|이한테|이야"
)
"""Particles behind the name of somebody who is spoken of, for a pattern."""

Sound = Literal["open", "ㄹ", "closed"]
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

_TAILS = {"은는": "커녕", "과와": "의|는|도|만", "으로": "서|써|부터|만|도|는|의|까지"}
"""What may follow one of `PAIRS`."""


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


_SIMPLE = [(*pair, _TAILS.get(name, "")) for name, pair in PAIRS.items()]
_FORMS = [_form(*row) for row in (*_LONGER, *_SIMPLE)]
_TAIL = 60
"""Characters that are looked at: of a name from its end, and before it."""

_CLOSING = re.compile(r"[\"'”’」』)\]*_]{0,4}")
_SUBJECT_BEFORE = re.compile(r"[가-힣](?:은|는|이|가|도|건|게) $|(?:^|\s)(?:나|난|넌|너) $")
_OPEN_PAIR = re.compile(r"야(?![(/])")


def is_syllable(character: str) -> bool:
    """Whether a character is a whole Hangul syllable."""
    return "가" <= character <= "힣"


def has_syllables(text: str) -> bool:
    """Whether there is a Hangul syllable in a text."""
    return _SYLLABLE.search(text) is not None


def is_korean(text: str) -> bool:
    """Whether a text is Korean, by its script."""
    letters = len(_LETTER.findall(text))
    return letters > 0 and len(_KOREAN_LETTER.findall(text)) / letters >= _KOREAN_SHARE


def final_consonant(syllable: str) -> str:
    """The consonant that a Hangul syllable ends in; empty if it ends in a vowel or is none."""
    if not is_syllable(syllable):
        return ""
    return _FINALS[(ord(syllable) - _FIRST) % len(_FINALS)].strip()


def syllables_ending_in(consonant: str) -> str:
    """All Hangul syllables that end in a consonant, for a character class."""
    first = _FIRST + _FINALS.index(consonant)
    return "".join(map(chr, range(first, _LAST + 1, len(_FINALS))))


def is_particles(hangul: str) -> bool:
    """Whether the Hangul behind a word is made of particles and endings, one to four of them."""
    return _CHAIN.fullmatch(hangul) is not None


def asks_in_words(text: str) -> bool:
    """Whether a word or an ending of a Korean text asks; many write no question mark."""
    return _ASKS.search(text) is not None


_ASKS = re.compile(
    r"(?<![가-힣])(?:뭐|뭔|무엇|무슨|누가|누구|어디|몇|얼마나|어떻게|어떤|어때)|[나니냐까]요?$"
)


def josa(name: str, pair: str) -> str:
    """A name with the right one of two particles.

    Args:
        pair: a key of `PAIRS`.
    """
    closed, open_ = PAIRS[pair]
    return name + _choose(closed, open_, last_sound(name) or "open")


def agree(name: str, before: str, after: str) -> str:
    """The text `after` a name, its leading particle in the form that the name calls for.

    Closing quotes and asterisks may stand between. A bare 야 behind a subject (나는 {{char}}야) is
    the copula, 이야 behind a consonant; elsewhere it calls somebody, 아 behind a consonant.
    """
    marks = _CLOSING.match(after)
    start = marks.end() if marks else 0
    if not (after.startswith("(", start) or is_syllable(after[start : start + 1])):
        return after  # no form begins so
    sound = last_sound(name)
    if sound is None:
        return after
    for closed, open_, pattern in _FORMS:
        if match := pattern.match(after, start):
            pair = (closed, open_)
            bare = pair == _VOCATIVE and _OPEN_PAIR.match(after, start)
            if bare and _SUBJECT_BEFORE.search(before[-_TAIL:]):
                pair = _COPULA
            return after[:start] + _choose(*pair, sound) + after[match.end() :]
    return after


def _choose(closed: str, open_: str, sound: Sound) -> str:
    if sound == "ㄹ" and closed == "으로":
        return open_
    return open_ if sound == "open" else closed


def last_sound(name: str) -> Sound | None:
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
    if is_syllable(last):
        final = final_consonant(last)
        return "ㄹ" if final == "ㄹ" else "closed" if final else "open"
    if "ぁ" <= last <= "ヿ":
        return "closed" if last in "んンっッ" else "open"
    if last.isascii():
        return _digit(last) if last.isdigit() else _latin(word[1])
    base = unicodedata.normalize("NFD", last)[0]
    return _latin(word[1][:-1] + base) if base.isascii() and base.isalpha() else None


def _digit(digit: str) -> Sound:
    return "ㄹ" if digit in "178" else "closed" if digit in "036" else "open"


def _latin(word: str) -> Sound:
    """A word in Latin letters, by the rules that `last_sound` states."""
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
