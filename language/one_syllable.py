"""Korean words of one syllable in a text: 개 is a dog, a counter (세 개), and begins 개인 and 개다.

A longer word can be told by itself. Of one syllable it takes what stands around it: no numeral
before it, and behind it only particles in the form that the syllable calls for, or a place of the
thing (숲속, 강가) and the particles of that.
"""

from __future__ import annotations

import re
from itertools import starmap
from typing import NamedTuple

from language.korean import final_consonant

LOOKED_AT = 14
"""Characters before and behind a word that tell what it is."""

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
    "이구나/구나 이래/래 이여/여 이시여/시여 이시다/ 이십니다/ 이세요/ 이셔/ 이셨어/ 입니다 이다 "
    "이며 이고 이지 이지만 이네 이죠 이군요 이냐 이니",
    "요 커녕",
)
"""Particles in the order in which they follow each other. Of a pair the first stands behind a
consonant, the second behind a vowel."""

_OTHER = frozenset(["해야", "해도", "가야", "대로", "돌보다", "말이야", "말이지", "말이죠"])
"""Words that begin with another one and what could be its particles."""
_ADVERB = re.compile(
    "(?:별로|새로)(?!부터| (?:가득|뒤덮|수놓|변[하했한신]|날아))"
    "|주로|실로|날로|바로|때로|칼같이|불같이|뜻밖"
)
"""What an adverb begins with: 별로야; but 별로 가득한 is "full of stars"."""
_MODIFIERS = frozenset(["검은", "낮은", "남은", "숨은", "젖은", "벗은"])
"""What is said of a thing more often than these are nouns with a particle, but behind 이."""
_THIS = re.compile(r"(?<![가-힣])[이그저] $")
_BLACK = re.compile(" (?:고양이|그림자|머리|눈|옷|망토|색|연기|안개|구름|물체|형체)")

_PLACE = re.compile(
    "[가-힣][밑빛앞옆뒤]|[^뜻]밖|[^가결계고광구귀금단민배부상소수시약연저전접존직초풍후]속"
    "|[강길늪못숲샘]가|물가(?=에|로|까|$)|[곽관굴궁담방배병성손숲원절집차탑품]안|[강길눈담땅말물배벽산섬성손숲탑]위"
)
"""A thing and its place or light, in one word, and no other: 약속 is a promise, 불안 unrest."""

_NUMBER = (
    "[0-9]|한 ?(?:시간|달|주|해|세기|배)|반나절|이틀|사흘|나흘|열흘|보름|일주일|절반"
    "|(?:열?(?:두|세|네|석|넉|서너|두세|다섯|여섯|일곱|여덟|아홉)|열한?|스무|서른|마흔|쉰"
    "|[일이삼사오육칠팔구]?[십백천만][일이삼사오육칠팔구십백천만]{0,8})(?: |시간|달|주|배)"
)
_IN_ALL = {
    syllable: re.compile(f" (?!(?:[0-9]{{1,4}}|[가-힣]{{1,2}}) ?(?:{own}))(?:{_NUMBER})")
    for syllable, own in {
        "약": "알|봉|병|첩|통|정|포|캡슐",
        "총": "자루|정|발",
        "매": "마리",
        "연": "개",
    }.items()
}
"""Nouns that are also adverbs before a number, where what is counted is not the noun itself: 약 두
달 is "about two months", but 약 두 알 two pills."""

_SLANG = frozenset("개왕핵")
_FELT = re.compile(
    " (?:맛있|맛없|웃[기겨긴김길]|재[밌미]|[노꿀]잼|쩔|쩐|쩌|멋[있지져진]|비싸|비쌌|빨라|빠르|힘들"
    "|피곤|졸[려리]|배고|짜증|부[럽러]|[잘못]생|바[쁘빠]|어[렵려]|쉬[워웠]|쉽|신[나난]|추[워웠]|춥"
    "|더[워웠]|덥|많[다아이]|좋(?!아[하했해])|심[하해]|[이예][쁘뻐]|귀[엽여])"
)
_ONES_OWN = re.compile(r"(?<![가-힣])(?:이|그|저|내|네|우리|[가-힣]{0,6}[의집]) $")
"""개 웃겨 is "so funny"; but 저 개 웃겨 is said of a dog."""
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


def is_word(syllable: str, before: str, hangul: str, after: str) -> bool:
    """Whether a syllable in a text is the noun, not a counter or a part of another word.

    Args:
        before: the text before it, with one space between words.
        hangul: the syllables that follow without a space.
        after: the text behind these.
    """
    word = syllable + hangul
    if _is_counted(syllable, before) or word in _OTHER or _ADVERB.match(word + after):
        return False
    if word in _MODIFIERS and (not _THIS.search(before) or _BLACK.match(after)):
        return False
    if not hangul and _is_adverb(syllable, before, after):
        return False
    if _PLACE.match(word):
        return len(word) == 2 or _follow(hangul[0], hangul[1:], -1)
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


def _is_adverb(syllable: str, before: str, after: str) -> bool:
    """Whether a bare syllable belongs to the number or the adjective behind it."""
    if syllable in _IN_ALL and _IN_ALL[syllable].match(after):
        return True
    slang = syllable in _SLANG and _FELT.match(after)
    return bool(slang) and not _ONES_OWN.search(before)


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
