"""Korean words of one syllable in a text: 개 is a dog, a counter (세 개), and begins 개인 and 개다.

A longer word can be told by itself. Of one syllable it takes what stands around it: no numeral
before it, and behind it only particles in the form that the syllable calls for.
"""

from __future__ import annotations

import re
from itertools import starmap
from typing import NamedTuple

from language.korean import final_consonant

LOOKED_AT = 14
"""Characters before a word that tell whether it is counted."""

_NUMERAL = re.compile(
    "(?:열|스물|서른|마흔|쉰|예순|일흔|여든|아흔)?"
    "(?:한두|두세|두어|두?서너|네댓|네다섯|대여섯|예닐곱|일고여덟|한|두|세|다섯|여섯|일곱|여덟|아홉)"
    "|석|넉|열네?|스무|스물네|서른|마흔|쉰|예순|일흔|여든|아흔|몇|몇몇|여러"
    "|(?!이만$)[수몇일이삼사오육칠팔구]?[십백천만억][일이삼사오육칠팔구십백천만억]{0,9}[여몇]?"
)
_OF_COUNTERS = frozenset("네첫반일삼사오육칠팔구")
"""Numerals before a counter; else they are other words: 네 눈 is your eye."""
_COUNTERS = frozenset(
    "개명분병잔대장번살층권달통줄판채척벌쌍컵곡편갑단근알톨칸끼건점모쪽회호년월초원급등"
)
_FLOORS = frozenset("층번호년월분초원회급등")
"""Counters behind 이 as a numeral: 이 층 is the second floor, but 이 병 is this bottle."""
_TOKEN = re.compile(r"(?<![가-힣\d])([가-힣]{1,12}|[\d.,~-]{0,12}\d) $")

_PARTICLES = (
    "들 /님",
    "에 에서 에게 에게서 한테 한테서 께 께서 더러 까지 부터 처럼 보다 같이 만큼 마다 하고 의 "
    "이/가 을/를 과/와 으로/로 이랑/랑",
    "만 만이 만을 만으로 마저 조차 밖에 뿐 뿐이",
    "은/는 도 의 아/ 이야/야 이나/나 이든/든 이든지/든지 이란/란 이라고/라고 이라는/라는 "
    "이라도/라도 이라면/라면 이라서/라서 이라니/라니 이야말로/야말로 이에요/예요 이니까/니까 "
    "이었다/였다 이었어/였어 이었지/였지 이었고/였고 이었는데/였는데 이잖아/잖아 이거든/거든 "
    "이구나/구나 이래/래 입니다 이다 이며 이고 이지 이지만 이네 이죠 이군요 이냐 이니",
    "요 커녕",
)
"""Particles in the order in which they follow each other. Of a pair the first stands behind a
consonant, the second behind a vowel."""

_OTHER = frozenset(["검은", "해야", "해도", "가야", "대로", "돌보다", "말이야", "말이지", "말이죠"])
"""Words that begin with another one and what could be its particles."""
_VERBS = frozenset("말일명정청변통전상망흥피대성권벌구금합답원택향취접당행강착선편급귀약악독순천흔")
"""Nouns that 하다 makes verbs of: 말하고 is no "with words"."""


class _Particle(NamedTuple):
    text: str
    rank: int
    behind_consonant: bool
    behind_vowel: bool


def _particles(rank: int, listed: str) -> list[_Particle]:
    """Those of one rank."""
    found = []
    for entry in listed.split():
        closed, bar, open_ = entry.partition("/")
        found += [_Particle(closed, rank, True, not bar), _Particle(open_, rank, False, True)]
    return [one for one in found if one.text]


_KNOWN = [one for row in starmap(_particles, enumerate(_PARTICLES)) for one in row]


def is_word(syllable: str, before: str, hangul: str) -> bool:
    """Whether a syllable in a text is the noun, not a counter or a part of another word.

    Args:
        before: the text before it, with one space between words.
        hangul: the syllables that follow without a space.
    """
    if _is_counted(syllable, before) or syllable + hangul in _OTHER:
        return False
    if hangul.startswith("하고") and syllable in _VERBS:
        return False
    if hangul == "아" and _vowel(syllable) in "ㅏㅗㅑ":  # 말아, 돌아: of verbs
        return False
    return not hangul or _follow(syllable, hangul, -1)


def _is_counted(syllable: str, before: str) -> bool:
    """Whether a numeral stands before a syllable."""
    token = _TOKEN.search(before[-LOOKED_AT:])
    if token is None:
        return False
    if token[1][-1].isdigit() or _NUMERAL.fullmatch(token[1]):
        return True
    if token[1] == "이":
        return syllable in _FLOORS
    return syllable in _COUNTERS and token[1] in _OF_COUNTERS


def _follow(last: str, hangul: str, rank: int) -> bool:
    """Whether the rest is particles of higher ranks, each in the form that fits what is before."""
    final = final_consonant(last)
    for one in _KNOWN:
        if one.rank <= rank or not hangul.startswith(one.text):
            continue
        if one.rank == len(_PARTICLES) - 1 and rank < 0:
            continue  # 해요 is a verb
        liquid = final == "ㄹ" and one.text in ("로", "님")
        if not (liquid or (one.behind_consonant if final else one.behind_vowel)):
            continue
        if final == "ㄹ" and one.text == "으로":
            continue
        rest = hangul[len(one.text) :]
        if not rest or _follow(one.text[-1], rest, one.rank):
            return True
    return False


_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"


def _vowel(syllable: str) -> str:
    return _VOWELS[(ord(syllable) - ord("가")) // 28 % 21]
