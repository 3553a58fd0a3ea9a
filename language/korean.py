"""Korean writing: the script, the final consonants of its syllables, particles and names.

Which form of a particle is right depends on the last sound before it: 민준은, but 세라는. A name in
Latin letters or digits is judged by how Korean reads it; where the reading cannot be known (Han,
Cyrillic, only marks) what the author wrote stays, and a template writes both: 聖羅은(는).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from language.latin import Sound, latin_sound

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

_OF_PAIR = {
    "은는": "커녕|요",
    "을를": "요",
    "과와": "의|는|도|만",
    "으로": "서|써|부터|만|도|는|의|까지|밖에|라도|요",
}
"""What may follow one of `PAIRS`."""

_BEHIND_I = {
    "다 란 며 거든 잖아 구나 군요 네요 냐 죠 고 면 래 니 더라 더라고 던데 던가 려나": "요",
    "라": "고|는|도|면|서|며|니|던|네|지|야",
    "랑": "은|도|만|의",
    "나": "마",
    "든": "지|가",
    "니까": "는|요",
    "지": "만|요",
    "야말로": "",
}
"""Endings behind 이, which falls out behind a vowel, and what may follow them."""

_ONLY_BEHIND_I = {
    "네": "는|가|도|를|만|의|에|에서|로|와|랑",
    **dict.fromkeys(("로구나", "세요", "시다", "셨다", "십니다", "셨습니다"), ""),
    **dict.fromkeys(("군", "구먼", "로군", "시군", "시네", "셨군", "셨네", "셨어", "시죠"), "요"),
}
"""The same where the 이 is written out: without it {{char}}군 is a title, {{char}}네 a family."""

_FUSED = [
    ("이에요", "예요", "", "이예요", "에요", "(이)에요"),
    ("이었다", "였다", "", "(이)었다"),
    ("이었", "였", "[가-힣]{1,4}"),
    *((f"이어{ending}", f"여{ending}", "요") for ending in "서도야"),
    ("이여", "여", ""),
]
"""Forms of the copula that fuse behind a vowel, what may follow, other ways of writing them."""

_NICKNAME = "가|는|를|도|만|의|와|한테|한테서|에게|에게서|처럼|보다|까지|부터|하고"
"""Particles behind the 이 of 민준이가, which a name that ends in a vowel does not take: 세라가."""

_MORE = "[는은도만서까데고지요]{0,2}"
"""What may follow a tail: 라고는, 라니까요."""


class _Form(NamedTuple):
    closed: str
    open: str
    pattern: re.Pattern[str]


def _form(closed: str, open_: str, tail: str, *others: str) -> _Form:
    """A pair in the ways it is written: `은`, `는`, `은(는)`, `(은)는`, `은/는`, `(은/는)`,
    `(으)로`, and others; and what may follow it."""
    ways = [closed, open_, f"({closed[0]}){open_}", *others]
    for one, other in ((closed, open_), (open_, closed)):
        ways += [f"{one}({other})", f"({one}){other}", f"{one}/{other}", f"({one}/{other})"]
    return _Form(closed, open_, _written(ways, tail))


def _written(ways: Iterable[str], tail: str) -> re.Pattern[str]:
    """One of the ways, the longest first, behind which the word ends, or a tail of it."""
    written = "|".join(map(re.escape, sorted(ways, key=len, reverse=True)))
    follows = f"(?:(?:{tail}){_MORE})?" if tail else ""
    return re.compile(rf"(?:{written})(?={follows}(?![가-힣]))")


_FORMS = [
    *(_form(*pair, _OF_PAIR.get(name, "")) for name, pair in PAIRS.items()),
    *(_form(*row) for row in _FUSED),
    *(
        _form(f"이{ending}", ending, tail)
        for endings, tail in _BEHIND_I.items()
        for ending in endings.split()
    ),
    *(_Form(f"이{it}", it, _written([f"이{it}"], "")) for it in _NICKNAME.split("|")),
    *(
        _Form(f"이{ending}", ending, _written([f"이{ending}", f"(이){ending}"], tail))
        for ending, tail in _ONLY_BEHIND_I.items()
    ),
    _Form(*_COPULA, _written(["이야", "(이)야", "이야/야", "야/이야"], "")),
]
_STARTS = {"(", "에", *(text[0] for form in _FORMS for text in (form.closed, form.open))}
"""What a form begins with."""

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
    """A name with the right one of two particles, or with both where its sound is not known.

    Args:
        pair: a key of `PAIRS`.
    """
    closed, open_ = PAIRS[pair]
    sound = last_sound(name)
    if sound is None:
        return name + ("(으)로" if closed == "으로" else f"{closed}({open_})")
    return name + _choose(closed, open_, sound)


def agree(name: str, before: str, after: str) -> str:
    """The text `after` a name, its leading particle in the form that the name calls for.

    Closing quotes and asterisks may stand between. A bare 야 behind a subject (나는 {{char}}야) is
    the copula, 이야 behind a consonant; elsewhere it calls somebody, 아 behind a consonant.
    """
    marks = _CLOSING.match(after)
    start = marks.end() if marks else 0
    if after[start : start + 1] not in _STARTS:
        return after
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

    Marks, emoji, laughter (민준ㅋㅋ) and what stands in parentheses at the end are not read, digits
    one by one (7 is 칠), single jamo by their names (ㅇㅇ is 이응이응) where they are not laughter
    alone (ㅋㅋ is 크크), Latin letters as `latin_sound` has it.
    """
    spoken = unicodedata.normalize("NFC", name[-_TAIL:])
    spoken = re.sub(r"\([^()]*\)\s*$", "", spoken) or spoken
    word = _LAST_WORD.search(_LAUGHTER.sub("", spoken)) or _LAST_WORD.search(spoken)
    if word is None:
        return None
    said = unicodedata.normalize("NFKC", word[1])  # plain letters for full-width ones
    last = said[-1]
    if not word[1].strip("ㅋㅎ"):
        return "open"
    if "ㄱ" <= word[1][-1] <= "ㅣ":
        return "ㄹ" if word[1][-1] == "ㄹ" else "closed" if word[1][-1] <= "ㅎ" else "open"
    if is_syllable(last):
        final = final_consonant(last)
        return "ㄹ" if final == "ㄹ" else "closed" if final else "open"
    if "ぁ" <= last <= "ヿ":
        return "closed" if last in "んンっッ" else "open"
    if last.isascii() and last.isdigit():
        return "ㄹ" if last in "178" else "closed" if last in "036" else "open"
    base = unicodedata.normalize("NFD", last)[0]
    return latin_sound(said) if base.isascii() and base.isalpha() else None


_LAST_WORD = re.compile(r"([^\W_]+)[\W_]*$")
_LAUGHTER = re.compile(r"(?<![ㄱ-ㅎㅏ-ㅣ])[ㄱ-ㅎㅏ-ㅣ\W_]+$")
