"""The stems of Korean words, for counting: what is left without particles and endings.

A light stemmer, not a morphological analyser: it need not be right about grammar, it must cut the
forms of one word to the same stem. 마셨어, 마시고, 마신 and 마시던 all give 마시. It knows no words
but those that carry no topic (`EMPTY`), so names, slang and new words are cut like all others.

All is matched in jamo (NFD), as an ending may begin within a syllable: 갈게 is 가 and ㄹ게. There
agreement can be seen, too: the 을 of 가을 is no particle, which would be 를 behind a vowel.
"""

from __future__ import annotations

import re
from itertools import groupby, product
from unicodedata import normalize

EMPTY = frozenset(
    """
    나 난 날 내 너 넌 널 네 니 저 전 제 저희 우리 울 너희 너네 자기 당신 그 그녀 걔 쟤 얘
    내가 네가 제가 나도 너도 나만 너만
    누구 누 누군 누가 걔가 니가 얘가 나를 너를 저를 나한테 너한테 저한테 내게 어때 얼마나
    뭐가 뭐를 뭐야 데가 것이 것을 거야 거지 때가 수가 뭐 머 뭔 뭘 무엇 무슨 언제 어디 어딜
    왜 어떻 어떠 어떤 어째 몇 얼마 어느
    이거 그거 저거 이것 그것 저것 요거 이건 그건 저건 이게 그게 저게 여기 거기 저기
    것 거 걸 게 건 데 때 적 줄 수 중 쯤 번 그때 이때 아까 지금 이제 요즘 방금
    이런 그런 저런 이렇 그렇 저렇 이래 그래 그러 이러 저러
    하 하고 하지 하자 하면 하네 하는 되 되고 되지 되면 있 있고 있지 있네 있나 있어
    없 없고 없지 없네 아니 않 같 같고 같네 같아 싶 보 보고 보니 보면 주 주고
    말 말고 못하 모르 알 알고 알지 기억 기억하 기억나 생각나
    못 안 잘 좀 더 다 또 막 꼭 참 진짜 정말 너무 아주 엄청 되게 그냥 결국 역시 일단 아직 벌써
    근데 그런데 그리고 그래서 그러니까 그럼 그러면 하지만 혹시 아마 응 어 음 아 예 넵 야 헐 와 오
    은 는 이 가 을 를 의 에 로 으로 와 과 랑 도 만 에게 에서 한테 께 라고 이라고 이에
    """.split()  # noqa: SIM905
)
"""What carries no topic: pronouns, questions, dependent nouns, light verbs, fillers, and particles
behind a closing quote."""

_CASES = """
    에게 에게서 에서 께 께서 한테 한테서 하고 까지 부터 마저 조차 밖에 처럼 보다 만큼 마다 커녕
    이랑 랑 과 와 으로 로 으로서 로서 으로써 로써 이라도 라도 이든 이든지 든지 이나 대로 에
"""
_TOPICS = "은 는 이 가 을 를 의 도 만 요"
_ENDINGS = """
    습니다 습니까 ㅂ니다 ㅂ니까 읍시다 ㅂ시다 십시오 세요 으세요 어요 아요 여요 네요 나요
    에요 예요 이에요 이예요 지요 죠 군요 구나 는구나 이구나 거든 거든요 이거든 자나
    잖아 잖아요 이잖아 이잖아요 은가 ㄴ가 는가 은가요 ㄴ가요 는가요 을까 ㄹ까 을까요 ㄹ까요
    을게 ㄹ게 을게요 ㄹ게요 을께 ㄹ께 을래 ㄹ래 을래요 ㄹ래요 을걸 ㄹ걸 는걸 은걸 ㄴ걸
    는데 은데 ㄴ데 인데 는데요 은데요 ㄴ데요 인데요 던데 던데요 을텐데 ㄹ텐데
    더라 더라고 더라고요 더니 던가 던지 던 는 며 으며 면서 으면서 으면 려고 으려고 려면 으려면
    니까 으니까 으니 지만 이지만 어서 아서 여서 어도 아도 여도 어야 아야 여야 어야지 아야지
    으러 거나 이거나 든가 도록 자마자 느라 느라고 길래 기에 을수록 ㄹ수록
    다고 는다고 ㄴ다고 라고 이라고 냐고 이냐고 자고 다며 는다며 ㄴ다며 라며 이라며 냐며 자며
    라면서 이라면서 다면서 다면 는다면 ㄴ다면 라면 이라면 다니 라니 이라니 다니까 라니까 자니까
    다는 는다는 ㄴ다는 라는 이라는 다던 ㄴ다던 라던 이라던 는다 ㄴ다 는대 ㄴ대
    는지 은지 ㄴ지 을지 ㄹ지 인지 는거 은거 ㄴ거 을거 ㄹ거 던거 는건 은건 ㄴ건 ㄹ건 던건
    는게 은게 ㄴ게 던게 는거야 ㄴ거야
"""
"""Endings that no noun ends in: what they leave is a stem, be it one syllable."""
_SHORT = """
    다 어 아 여 지 네 니 냐 자 라 게 래 대 고 기 음 은 을 데 군 걸 요 면 러 려 서 야 도 까 구
    다가
"""
"""Endings that nouns end in as well."""


_SLIPS = re.compile("[햇엿렷됫됏봣왓갓랫댓졋쳣셧켯겻녓럿엇앗줫랏](?=[어다지더는잖니나네던음])")
"""햇어 for 했어."""


LAYERS = 3
"""Endings that are cut off one after the other, at most."""


def _jamo(text: str) -> str:
    return normalize("NFD", text)


_Endings = dict[str, list[tuple[int, dict[str, str]]]]
"""Endings by their last letter, then by their length, the longest first; with what must stand
before each: "closed" (a consonant), "open" (a vowel) or anything."""


def _endings(*parts: str, before: dict[str, str]) -> _Endings:
    """One of each of the parts, joined in all ways, in jamo; `before` has what must stand before
    it by its first letter."""
    final = {"ㄴ": "ᆫ", "ㄹ": "ᆯ", "ㅂ": "ᆸ"}
    joined = {"".join(some) for some in product(*(part.split(",") for part in parts))} - {""}
    needed = {_jamo(final.get(it[0], it[0]) + it[1:]): before.get(it[0], "") for it in joined}
    found: _Endings = {}
    for (length, last), some in groupby(sorted(needed, key=_from_end), _from_end):
        found.setdefault(last, []).append((-length, {ending: needed[ending] for ending in some}))
    return found


def _from_end(ending: str) -> tuple[int, str]:
    return -len(ending), ending[-1]


def _listed(text: str) -> str:
    return ",".join(text.split())


_CLOSED = dict.fromkeys("으은을이음", "closed")
_NOUNS = _endings(
    ",들,님,쯤",
    "," + _listed(_CASES),
    "," + _listed(_TOPICS),
    before=_CLOSED | {"과": "closed"} | dict.fromkeys("를가는와랑나", "open"),
)
_SURE, _UNSURE = (
    _endings(_listed(some), before=_CLOSED | dict.fromkeys("ㄴㄹㅂ", "open"))
    for some in (_ENDINGS, _SHORT)
)
_HAVE = {_jamo("이"), _jamo("미")}
"""What ㅆ does not make past: 있다, 재밌다."""
_PAST = tuple(map(_jamo, ("게", "이어", "아", "어", "여")))
"""What stands before the ㅆ of a past or of 겠, behind the stem."""
_QUOTED = re.compile(_jamo("(?<=.)(?:ᆫ|는|이)?(?:래|대)$"))
"""What 랬 and 댔 leave."""
_LEU, _LEO, _LA, _HA, _HAE, _SI, _EU, _U = map(_jamo, "르러라하해시으우")
_NOT_HONORED = {_jamo("마"), _jamo("모"), _jamo("계")}
_CONTRACTED = {"ᅧ": "ᅵ", "ᅪ": "ᅩ", "ᅯ": "ᅮ", "ᅫ": "ᅬ"}
"""마셔, 봐, 춰 and 돼: 마시, 보, 추, 되."""
_WHOLE = {_jamo("여"), _jamo("뭐"), *map(_jamo, "과화좌콰")}
"""Syllables that are none of these: 여자, 뭐, 사과, 영화."""
_FADING = {_jamo(it) for it in ("파", "퍼", "빠", "뻐")}
"""What 아파, 슬퍼, 바빠 and 예뻐 end in; their stems in ㅡ."""


def stems(word: str) -> list[str]:
    """The stems of a word of Hangul syllables; none if it carries no topic.

    Where a single syllable is left that may be no stem (고기), the word itself stands beside it.
    """
    if word in EMPTY:
        return []
    if _SLIPS.search(word):
        word = _SLIPS.sub(lambda slip: chr(ord(slip[0]) + 1), word)
    found = map(_composed, _cut(_jamo(word)))
    told = [stem[:-1] if len(stem) > 2 and stem[-1] in "하되" else stem for stem in found]
    return [_alike(stem) for stem in told if stem not in EMPTY]


def _cut(word: str) -> list[str]:
    """The stem, and the word where it is unsure. All in jamo, here and below.

    What is left is cut again, so that a name that ends like a particle (세라피나) is cut alike with
    and without one.
    """
    for _ in range(LAYERS):
        sure, noun = _before_past(word) or _before(_SURE, word), _before(_NOUNS, word)
        if noun and len(noun) < len(sure):  # 보다는 is longer than 다는
            sure = ""
        stem = _verb(sure) if sure else noun or _verb(word)
        if stem == word:
            break
        if _syllables(stem) < 2:
            return [stem] if sure and not _may_be_noun(word) else [stem, word]
        word = stem
    stem = _verb(_before(_UNSURE, word) or word)
    return [stem] if stem == word or _syllables(stem) > 1 else [stem, word]


def _may_be_noun(word: str) -> bool:
    """Whether a word that seems a verb of one syllable may be a noun: 편지, 반지, 나라는."""
    return (_syllables(word) == 2 and word.endswith(_NOUN_ENDS)) or word.endswith(_CALLED)


_NOUN_ENDS, _CALLED = ("ᆫ" + _jamo("지"), "ᆯ" + _jamo("지")), _jamo("라는")


def _before(endings: _Endings, word: str) -> str:
    """What is left of a word without the longest of the endings; nothing if it has none."""
    for length, alike in endings.get(word[-1], ()):
        at = len(word) - length
        needed = alike.get(word[at:]) if at > 0 else None
        if needed is not None and needed in ("", "closed" if word[at - 1] >= "ᆨ" else "open"):
            return word[:at]
    return ""


def _before_past(word: str) -> str:
    """The stem of a past, or of 겠, and whatever follows; nothing if there is none."""
    at = word.find("ᆻ")
    while at > 0 and (word[at - 2 : at] in _HAVE or word[at + 1 : at + 2] not in "ᄋᄃᄌᄂᄀᄉᄁ"):
        at = word.find("ᆻ", at + 1)
    if at < 0:
        return ""
    head = word[:at]
    ending = next((it for it in _PAST if head.endswith(it)), "")
    return _QUOTED.sub("", head.removesuffix(ending))


def _verb(stem: str) -> str:
    """A verb's stem without contraction and honorific."""
    last = stem[-2:]
    if stem[-3:-2] == "ᆯ" and last in (_LEO, _LA):  # 불러: 부르
        stem = stem[:-3] + _LEU
    elif last == _HAE:
        stem = stem[:-2] + _HA
    elif stem[-1] in _CONTRACTED and last not in _WHOLE:
        stem = stem[:-1] + _CONTRACTED[stem[-1]]
    plain = stem.removesuffix(_SI)
    if plain not in _NOT_HONORED:
        return plain.removesuffix(_EU) or stem
    return stem


def _alike(stem: str) -> str:
    """A stem without what differs by the ending, if it has two syllables or more: 마신 and 마실,
    만들고 and 만드는, 추워 and 춥고, 아파 and 아프고."""
    if len(stem) < 2:
        return stem
    jamo = _jamo(stem).rstrip("ᆫᆯᆷ")
    if jamo.endswith(_U) and jamo[-3] < "ᆨ":
        jamo = jamo[:-2] + "ᆸ"
    if jamo[-2:] in _FADING:
        jamo = jamo[:-1] + "ᅳ"
    return _composed(jamo)


def _composed(jamo: str) -> str:
    return normalize("NFC", jamo)


def _syllables(jamo: str) -> int:
    return len(normalize("NFC", jamo))
