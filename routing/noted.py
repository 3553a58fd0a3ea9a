"""Deeds that Korean players note in a noun made of the verb (음슴체): "주변을 둘러봄", "끄덕임"."""

from __future__ import annotations

import re

from language.korean import final_consonant, syllables_ending_in


def is_noted(sentence: str, *, full: bool) -> bool:
    """Whether a sentence tells a deed so; what chats tell of oneself ("나 밥 먹음") is none.

    Args:
        sentence: without its mark.
        full: it has an object, a place or another deed beside its last word, which need not look
            like a verb's then.
    """
    if len(sentence) < 2 or final_consonant(sentence[-1]) not in _M or _CHATTED.search(sentence):
        return False
    if _VERBS.search(sentence):
        return True
    *before, last = sentence.split()
    if not before or last in _NOUNS or _OF_NOUN.search(before[-1]):
        return False
    return full or _IN_WHAT_WAY.search(sentence) is not None


_M = ("ㅁ", "ㄻ")
_VOWELS = (0, 1, 4, 5, 6, 9, 14)
_OPEN = "".join(chr(0xAC00 + 588 * first + 28 * vowel) for first in range(19) for vowel in _VOWELS)
"""Syllables in ㅏ, ㅐ, ㅓ, ㅔ, ㅕ, ㅘ or ㅝ: so a verb ends that another follows, as in 둘러봄."""
_VERBS = re.compile(
    rf"(?:[{syllables_ending_in('ㅆ')}]음"
    rf"|(?<=[{_OPEN}])(?<!^대)(?<! 대)(?:봄|감|옴|줌|섬|둠|남|냄|짐|버림|놓음|앉음|잡음)"
    r"|(?<=[가-힣]{2})(?<!잠수|보관|사물|우편|보물)함|(?<=[덕직삭설짝숙붙녹])임"
    r"|(?:도망|뛰쳐나)감|[켬엶듦뺌폄쉼뜀멤])$"
)
"""Nouns that only verbs make."""
_CHATTED = re.compile(
    r"(?<![가-힣])(?:나|난|내가|나도|나는|저|제가|저는|저도|[이그]거|[이그]건"
    r"|어제|오늘|아까|요즘|이따|내일|나중에)(?![가-힣])"
    r"|(?:있|없|같|좋|싫|많|재밌|맛있|귀찮|괜찮|알았|알겠|모르겠|몰랐)음$"
    r"|(?:고픔|아픔|졸림|추움|더움|귀여움|예쁨|힘듦)$"
    r"|(?:인듯|답답|심심|궁금|미안|필요|가능|인정|동의|찬성|이해|공감|감사|후회|걱정|피곤|불안"
    r"|행복|우울|당황|심각|완벽|대단|불편|편|섭섭|서운|억울|죄송|신기|이상|대박|추천|응원|사랑)함$"
)
"""What such a noun tells another of oneself, as in a chat."""
_NOUNS = frozenset(
    """
    사람 마음 이름 다음 처음 여름 아침 점심 밤 곰 몸 힘 그림 바람 믿음 슬픔
    기쁨 느낌 잠 꿈 춤 선생님 님 담 구름 요즘 지금 가슴 게임 크림 시스템
    프로그램 모임 싸움 걸음 얼음 도움 울음 죽음 짐 점 감 솜 섬 땀 뱀 봄 김
    책임 방금 조금 소금 황금 기름 남 무덤 시점 농담 상담 부담 군함 명함 만남
    녹음 소음 발음 손님 도련님 형님
    """.split()  # noqa: SIM905
)
"""Nouns that end so and are no deeds."""
_OF_NOUN = re.compile(
    rf"(?:[는던]|(?![을를])[{syllables_ending_in('ㄴ')}{syllables_ending_in('ㄹ')}])$"
)
"""What stands before a noun: "좋아하는 사람"."""
_IN_WHAT_WAY = re.compile(
    r"(?:[가-힣][히게서]|없이|가만|그대로|천천히|얼른|몰래|다시|살짝|뒤로|앞으로) "
)
