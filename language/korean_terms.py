"""The stems of Korean words, for counting: what is left without particles and endings.

A light stemmer, not a morphological analyser: it need not be right about grammar, it must cut the
forms of one word to the same stem. 마셨어, 마시고, 마신 and 마시던 all give 마시. It knows no words but
those that carry no topic (`EMPTY`); so names, slang and new words are cut like all others.

Everything is matched in jamo (NFD), as endings begin within a syllable: 갈게 is 가 and ㄹ게. There
agreement can be seen, too: the 을 of 가을 is no particle, which would be 를 behind a vowel.
"""

from __future__ import annotations

import re
import unicodedata

EMPTY = frozenset(
    """
    나 난 날 내 너 넌 널 네 니 저 전 제 저희 우리 울 너희 너네 자기 당신 그 그녀 걔 쟤 얘
    누구 누 누군 뭐 머 뭔 뭘 무엇 무슨 언제 어디 어딜 왜 어떻 어떠 어떤 어째 몇 얼마 어느
    것 거 걸 게 건 이거 그거 저거 이것 그것 저것 요거 이건 그건 저건 이게 그게 저게 여기 거기 저기 데 때 적 줄 수 중 쯤 번
    그때 이때 아까 지금 이제 요즘 방금 이런 그런 저런 이렇 그렇 저렇 이래 그래 그러 그렇 이러 저러
    하 되 있 없 아니 않 같 싶 보 주 말 못하 모르 알 못 안 잘 좀 더 다 또 막 꼭 참 진짜 정말 너무 아주 엄청 되게
    근데 그런데 그리고 그래서 그러니까 그럼 그러면 하지만 혹시 아마 그냥 결국 역시 일단 아직 벌써
    응 어 음 아 예 넵 야 헐 와 오 기억나 기억하 기억 생각나
    하고 하지 하자 하면 하네 하니 하는 되고 되지 되면 있고 있지 있네 있나 있어 없고 없지 없네 같고 같네 같아 보고 보니 보면
    주고 말고 알고 알지 나도 너도 나만 너만 내가 네가 제가 이에 그게
    은 는 이 가 을 를 의 에 로 으로 와 과 랑 도 만 에게 에서 한테 께 라고 이라고
    """.split()  # noqa: SIM905
)
"""Stems that carry no topic: pronouns, questions, dependent nouns, light verbs, fillers, particles."""


def _jamo(endings: str) -> str:
    """Alternatives in jamo, the longest first. A consonant in front closes the syllable of the stem;
    what begins with 으 or is 은, 을, 이, 과 stands behind a consonant, 는, 를, 가, 와 behind a vowel."""
    closing = {"ㄴ": "ᆫ", "ㄹ": "ᆯ", "ㅁ": "ᆷ", "ㅂ": "ᆸ"}
    found = []
    for it in sorted(endings.split(), key=len, reverse=True):
        text = unicodedata.normalize("NFD", closing.get(it[0], it[0]) + it[1:])
        found.append(_BEHIND.get(it[0], "") + text)
    return "|".join(found)


_CLOSED, _OPEN = "(?<=[ᆨ-ᇂ])", "(?<=[ᅡ-ᅵ])"
_BEHIND = {**dict.fromkeys("으은을이과음", _CLOSED), **dict.fromkeys("를가와ㄴㄹㅂㅁ", _OPEN)}


def _pattern(composed: str) -> re.Pattern[str]:
    return re.compile(unicodedata.normalize("NFD", composed))


_PARTICLES = _pattern(
    "(?P<stem>.+?)(?:들|님|쯤)?"
    f"(?:{_jamo('에게 에게서 에서 에서는 께 께서 한테 한테서 하고 까지 부터 마저 조차 밖에 처럼 보다 만큼 마다 커녕 이랑 으로 으로서 으로써 이라도 이든 이든지 이나 대로 에 로 와 과 랑 나 라도 든지 로서 로써')})?"
    f"(?:{_jamo('은 는 이 가 을 를 의 도 만 요')})?"
)
_ENDINGS = _pattern(
    "(?P<stem>.+?)(?:"
    + _jamo(
        """
    습니다 습니까 ㅂ니다 ㅂ니까 읍시다 ㅂ시다 십시오 으십시오 세요 으세요 셔요 어요 아요 여요 에요 예요 이에요 이예요 네요 나요
    ㄴ가 은가 는가 ㄴ가요 은가요 는가요 을까 ㄹ까 을까요 ㄹ까요 을게 ㄹ게 을게요 ㄹ게요 을께 ㄹ께 을래 ㄹ래 을래요 ㄹ래요
    지요 죠 군요 구나 는구나 이구나 거든 거든요 이거든 잖아 잖아요 이잖아 이잖아요 자나 는데 은데 ㄴ데 인데 는데요 은데요 ㄴ데요 인데요 던데 던데요
    더라 더라고 더라고요 더니 던가 던지 던 려고 으려고 려면 으려면 면서 으면서 으면 으며 며 으니까 니까 으니 지만 이지만 지마
    어서 아서 여서 어도 아도 여도 어야 아야 여야 어야지 아야지 으러 거나 이거나 든지 든가 도록 자마자 느라 느라고 길래 기에
    을수록 ㄹ수록 다고 라고 냐고 이냐고 자고 는다고 ㄴ다고 이라고 다며 라며 는다며 ㄴ다며 이라며 다면서 라면서 이라면서 는다면 ㄴ다면 다면 라면 이라면
    다는 라는 이라는 는다는 ㄴ다는 다던 라던 이라던 ㄴ다던 다니 라니 이라니 다니까 라니까 는다 ㄴ다 는지 은지 ㄴ지 을지 ㄹ지 인지
    는걸 은걸 ㄴ걸 을걸 ㄹ걸 는대 ㄴ대 을텐데 ㄹ텐데 냐며 자며 자니까 는거야 ㄴ거야 는거 은거 ㄴ거 을거 ㄹ거 는건 ㄴ건 은건 ㄹ건 던거 던건 는게 ㄴ게 은게 던게
    는
    """
    )
    + ")"
)
"""Endings that no noun ends in: what they leave is a stem, be it one syllable."""
_PERHAPS = _pattern(
    "(?P<stem>.+?)(?:"
    + _jamo("다 어 아 여 지 네 나 니 냐 자 라 게 래 대 고 기 음 은 을 데 군 걸 요 면 러 려 서 야 도 까 구 다가")
    + ")"
)
"""Endings that nouns end in as well."""
_PAST = _pattern("(?P<stem>.+?)(?:(?:이어|ᄋ[ᅡᅥᅧ])?(?<!이)(?<!미)ᆻ|겠)(?:[ᄋᄃᄌᄂᄀᄉᄁ].*)?")
_TYPO = re.compile("[햇엿됫됏봣왓갓랫댓졋쳣셧켯겻럿엇앗줫낫랏](?=[어다지더는잖니나네던음])")
_QUOTED = _pattern("(?<=.)(?:ᆫ|는|이)?(?:래|대)$")
_HONORIFIC = _pattern("(?<=.)(?<!^마)(?<!^모)(?<!^계)(?:으)?시$")
_CONTRACTED = [
    (_pattern("ᆯᄅ[ᅥᅡ]$"), "르"),  # 불러: 부르
    (_pattern("해$"), "하"),
    (_pattern("(?<!ᄋ)ᅧ$"), "ᅵ"),  # 마셔: 마시
    (_pattern("(?<=[ᄋᄇᄂ])ᅪ$"), "ᅩ"),
    (_pattern("(?<!ᄆ)ᅯ$"), "ᅮ"),
    (_pattern("ᅫ$"), "ᅬ"),
]
_IRREGULAR = [
    (_pattern("(?<=[ᅡ-ᇂ][ᄀ-ᄒ][ᅡ-ᅵ])[ᆫᆯᆷ]$"), ""),  # 마신, 마실, 마심; 만드, 만들
    (_pattern("(?<=[ᅡ-ᅵ])우$"), "ᆸ"),  # 추우, 춥
    (_pattern("(?<=[ᅡ-ᇂ][ᄀ-ᄒ])[ᅡᅥ]$"), "ᅳ"),  # 아파, 아프
]


def stems(word: str) -> tuple[str, ...]:
    """The stems of a word of Hangul syllables; none if it carries no topic.

    Where a single syllable is left that may be no stem (고기), the word itself stands beside it.
    """
    if word in EMPTY:
        return ()
    found = _cut(_TYPO.sub(lambda typo: chr(ord(typo[0]) + 1), word))
    return tuple(_rewritten(it, _IRREGULAR) for it in found if it not in EMPTY)


def _cut(word: str) -> tuple[str, ...]:
    """The stem, and the word where it is unsure."""
    jamo = unicodedata.normalize("NFD", word)
    if ending := _PAST.fullmatch(jamo):
        said = unicodedata.normalize("NFD", _verb(ending["stem"]))
        return (_verb(_QUOTED.sub("", said)),)
    if ending := _ENDINGS.fullmatch(jamo):
        return (_verb(ending["stem"]),)
    bare = unicodedata.normalize("NFC", _PARTICLES.fullmatch(jamo)["stem"])
    if bare != word:
        return _cut(bare) if len(bare) > 1 else (bare, word)
    if (stem := _verb(jamo)) != word:
        return (stem,)
    if ending := _PERHAPS.fullmatch(jamo):
        stem = _verb(ending["stem"])
        return (stem,) if len(stem) > 1 else (stem, word)
    return (word,)


def _verb(jamo: str) -> str:
    """A verb's stem without contraction and honorific."""
    return unicodedata.normalize("NFC", _HONORIFIC.sub("", unicodedata.normalize("NFD", _rewritten(jamo, _CONTRACTED))))


def _rewritten(text: str, rules: list[tuple[re.Pattern[str], str]]) -> str:
    text = unicodedata.normalize("NFD", text)
    for pattern, base in rules:
        text = pattern.sub(unicodedata.normalize("NFD", base), text)
    return unicodedata.normalize("NFC", text)
