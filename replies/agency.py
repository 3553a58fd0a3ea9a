"""Whether narration tells what the user does: "You walk over", "민준은 고개를 끄덕였다".

Deliberate acts count, and in Korean thoughts and feelings that the user is said to have (생각했다,
두려움을 느꼈다): what the user sees, and what the body feels, is the narrator's to tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from language.korean import final_consonant, syllables_ending_in
from language.normal import nfc
from replies.tags import Cast, called

_REGULAR = (
    "accept agree answer approach ask attack blush chuckle climb close decide follow frown gasp "
    "glance hand hurry jump kiss kneel laugh lean lower move murmur mutter offer open pick place "
    "point pull push raise reach refuse reply rush shout sigh smile smirk stumble turn walk wave "
    "whisper drop grab grin hug nod shrug step wrap"
)
_IRREGULAR = (
    "hurries hurried replies replied "
    "dropped grabbed grinned hugged nodded shrugged stepped wrapped "
    "begin begins began draw draws drew drink drinks drank eat eats ate give gives gave go goes "
    "went leave leaves left put puts run runs ran say says said shake shakes shook sit sits sat "
    "speak speaks spoke strike strikes struck swing swings swung take takes took tell tells told"
)
_STEMS_KO = """
    끄덕이 까딱이 갸웃거리 갸웃하 젓 숙이 수그리 돌리 기울이 치켜들 쳐들 뛰어들 떨구 가 오 서
    앉 눕 일어나 달아나 물러나 떠나 걷 뛰 달리 웃 울 짓 찡그리 찌푸리 붉히 쉬 내쉬 들이쉬
    삼키 뱉 마시 들이켜 먹 씹 깨물 묻 되묻 외치 소리치 속삭이 중얼거리 중얼대 읊조리 투덜거리
    투덜대 부르 내뱉 덧붙이 열 닫 잡 붙잡 움켜쥐 쥐 거머쥐 놓 집 집어들 줍 꺼내 내밀 건네
    주 뻗 흔들 밀 당기 끌 안 감싸 쓰다듬 토닥이 두드리 만지 때리 내리치 휘두르 던지 쏘 찌르
    막 피하 숨 숨기 감추 가리키 입 벗 신 걸치 여미 묶 풀 켜 끄 누르 넣 빼 뽑 펼치 접 쓰
    적 읽 고르 따르 기대 꿇 엎드리 구부리 웅크리 바라보 다보 쳐다보 돌아보 둘러보 내려다보 올려다보
    노려보 살펴보 들여다보 훑어보 마주보 살피 훑 뜨 감 깜빡이 긁 긁적이 비비 문지르 닦 씻 털
    움직이 멈추 향하 옮기 업 메 타 내리 올리 뒤쫓 쫓 도망치 오르 넘 건너 지나치 맞추
    고개를_들 손을_들 팔을_들 눈을_들 얼굴을_들 잔을_들 얹 두르 헤치 내젓 꼬집 끼 으쓱이
    웅얼거리 더듬 더듬거리 붙이 내디디 들이밀 밀치 뿌리치 잡아채 끌어안 끌어당기 껴안 보내 챙기
    싸우 다듬 따 붓 굽히 젖히 비키 앞장서 나서 뻗치 흘기 핥 꿰매 두들기
 비우 채우 세우 지우
    피우 치우 태우 깨우 씌우 배우 외우
"""
_DEEDS_KO = """
    말 대답 인사 결심 다짐 고백 키스 입맞춤 포옹 질문 부탁 손짓 미소 악수 노크 출발 설명
    거절 승낙 동의 약속 사과 명령 선택 결정 공격 반격 방어 운전 요리 전화 주문 응시 확인
    제안 선언 항의 반문 재촉 칭찬 으쓱 심호흡 응수 수락 재회 도망 포기 준비 시작 정리 청소
    연주 노래 기도 경례 맹세 항복 저항 외면 생각 고민 궁리 후회 원망 의심 기대 걱정 그리워 미워
    두려워 슬퍼 기뻐 부끄러워 부러워 괴로워 즐거워 안타까워
"""
"""Nouns that 하다 makes acts of, and what it makes thoughts and feelings of."""
_IRREGULAR_KO = {
    "젓": "저어",
    "짓": "지어",
    "붓": "부어",
    "걷": "걸어",
    "묻": "물어",
    "되묻": "되물어",
}
_IRREGULAR_KO |= {"눕": "누워", "줍": "주워", "따르": "따라", "들이켜": "들이켜"}
_BRIGHT = frozenset("ㅏㅑㅗ")
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FUSED = {"ㅗ": "ㅘ", "ㅜ": "ㅝ", "ㅣ": "ㅕ", "ㅚ": "ㅙ"}
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"


def _vowel(syllable: str) -> str:
    return _VOWELS[(ord(syllable) - 0xAC00) // 28 % 21]


def _with_vowel(syllable: str, vowel: str) -> str:
    """An open syllable with another vowel."""
    first = (ord(syllable) - 0xAC00) // 588
    return chr(0xAC00 + first * 588 + _VOWELS.index(vowel) * 28)


def _closed(word: str, consonant: str) -> str:
    """A word whose open last syllable gets a final consonant: 가 and ㄴ make 간."""
    return word[:-1] + chr(ord(word[-1]) + _FINALS.index(consonant))


def _infinitives(stem: str) -> tuple[str, ...]:
    """The forms before 요 and, with ㅆ below, before 다: 가, 웃어, 끄덕여, 불러."""
    if known := _IRREGULAR_KO.get(stem):
        return (known,)
    last, before = stem[-1], stem[:-1]
    vowel = _vowel(last)
    if last == "하":
        return (before + "해", before + "하여")
    if final_consonant(last):
        return (stem + ("아" if vowel in "ㅏㅗ" else "어"),)
    if last == "르" and before:
        double = "라" if _vowel(before[-1]) in _BRIGHT else "러"
        return (_closed(before, "ㄹ") + double,)
    if vowel == "ㅡ":
        bright = bool(before) and _vowel(before[-1]) in _BRIGHT
        return (before + _with_vowel(last, "ㅏ" if bright else "ㅓ"),)
    if fused := _FUSED.get(vowel):
        long = stem + ("아" if vowel == "ㅗ" else "어")
        return (before + _with_vowel(last, fused), long)
    return (
        (stem, stem + "어") if vowel in "ㅐㅔ" else (stem,) if vowel in "ㅏㅓㅕ" else (stem + "어",)
    )


def _finals(stem: str) -> Iterator[str]:
    """The forms in which a sentence with the verb ends."""
    final = final_consonant(stem[-1])
    bare = stem[:-1] + chr(ord(stem[-1]) - _FINALS.index("ㄹ")) if final == "ㄹ" else stem
    is_open = not final or final == "ㄹ"
    yield (_closed(bare, "ㄴ") if is_open else stem + "는") + "다"
    yield (_closed(bare, "ㅂ") if is_open else stem + "습") + "니다"
    yield stem + "음" if final else _closed(bare, "ㅁ")
    for infinitive in _infinitives(stem):
        past = _closed(infinitive, "ㅆ")
        yield infinitive + "요"
        yield from (past + ending for ending in ("다", "습니다", "어요", "었다", "음"))


_STEMS = (*(s.replace("_", " ") for s in _STEMS_KO.split()), *(f"{n}하" for n in _DEEDS_KO.split()))
_STEM_ENDS = frozenset(_STEMS) | {f"{s}으" for s in _STEMS if final_consonant(s[-1]) not in "ㄹ"}
_INFINITIVE_ENDS = frozenset(form for stem in _STEMS for form in _infinitives(stem))
_FINAL_ENDS = frozenset(form for stem in _STEMS for form in _finals(stem))
_LONGEST_ACT = 60
"""Characters of a clause before -자."""
_LONGEST_FORM = max(map(len, _FINAL_ENDS))
_SUFFERED_KO = (
    *("끌려", "실려", "밀려", "쫓겨", "불려", "휩쓸려", "흘러", "달아", "떠", "겁", "느"),
    *("정신이", "잠에서"),
)
"""Before a verb that is suffered or felt then: 끌려갔다, 달아올랐다, 떠올렸다, 느꼈다."""
_HELPED = re.compile(
    r" ?(?:버[리렸린]|[보주두놓내가오서나]|[봤본봅줬준줍뒀둔놨댔댄냈낸갔간갑왔온옵섰선섭났난]"
    r"|들|든|앉|있|올[라랐])\S{0,5}[다요]$"
)
"""A verb that helps another in its infinitive: 바라봐 주었다, 집어 들었다, 앉아 있다."""
_MEANT = re.compile(r"(?:기 시작|지 않|[려러]고? |으?셨|으?십|으?신|고 있)\S{0,8}[다요]$")
_JOINED = re.compile(r"(?:고(?! (?:싶|있))|며|면서)(?=[ ,])")
_BESIDE = re.compile(r"(?:며|면서|고서?)$")
_BEFORE_ANOTHER = re.compile(r"자(?:마자)?(?=[ ,]|$)")
_SAYING = re.compile(
    r"(?:말|대답|답|질문|설명|고백|부탁)하$|(?:묻|외치|부르|속삭이|중얼거리|소리치)$"
)
_FEELS = re.compile(
    r"(?:[가-힣]감|두려움|무서움|공포|슬픔|기쁨|분노|외로움|그리움|부끄러움|서운함|미안함|고마움|질투"
    r"|설렘|사랑|후회|불안|긴장|행복|절망|안도|연민|애정|미움|증오|호감|흥분|쓸쓸함|허전함|답답함)"
    r"[을를] (?:\S{1,6} )?(?:느[끼꼈낀낌껴]|품[었는으]|억[누눌])\S{0,5}$"
)
_THINKS = re.compile(r"[다라자냐까]고 (?:\S{1,6} ){0,2}생각\S{0,5}$")
"""Whoever is named in a thought: 민준은 그녀가 예쁘다고 생각했다."""
_OF_BODY = re.compile(
    r"(?<![가-힣])(?:눈물|말|웃음|한숨|소리|손|몸|목소리|얼굴|생각|마음|힘|피|땀|시선|고개|입|다리"
    r"|발|심장|가슴|숨|목|어깨|무릎|기억|시간|차례|눈|배|머리|온몸)[이가] (?:\S{1,8} )?\S{1,8}$"
)
"""Part of the user does it by itself: 눈물이 나왔다."""
_HURT = re.compile(r"(?:상처|부상|피해|화상|충격|타격)[을를] \S{1,6}$|떠올\S{1,4}$")
_HANDS_BACK = re.compile(
    rf"[가-힣](?:자|니|때|동안|사이|는데|지만),? "
    rf"|[{syllables_ending_in('ㄴ')}{syllables_ending_in('ㄹ')}] "
    r"\S{1,12}(?:을|를|에|로|에게|쪽으로) "
)
"""Behind another's act, the sentence goes back to whom it is about: 세라가 웃자, 세라가 준 잔을."""
_RELATIVE = re.compile(
    rf"[는{syllables_ending_in('ㄴ')}{syllables_ending_in('ㄹ')}] \S{{1,10}}[이가은는] "
)
"""The user's clause belongs to a noun, which does something itself: 민준이 던진 공이 굴러갔다."""
_JOINS_BEFORE = re.compile(r"(?:자|면서|며|고|서|니|때|후|뒤|지만|는데|다가|더니|채|듯|,)$")
_ADVERBS = re.compile(
    r"(?:결국|마침내|이윽고|이내|곧|그때|그제야|그제서야|그러자|그리고|그러나|하지만|그래서|그런데"
    r"|순간|잠시|한편|문득|드디어|다시|이번엔|이번에는|천천히|조용히|갑자기"
    r"|[가-힣]히|[가-힣] ?(?:없이|후|뒤|끝에)|\S (?:순간|만에))$"
)
_TITLES_KO = (
    "씨|님|군|양|오빠|누나|형|언니|선배|선배님|형님|누님|공|경"
    "|대장|대장님|선생님|사장님|팀장님|도련님|아가씨"
)
_SUFFERED = r"(?!(?:\s\w+){0,4}\s+damage\b)"  # "you take five points of damage" is no act
_OTHERS_KO = "그녀|그|나|저|우리|소녀|소년|여자|남자|모두|노인|아이"
_SENTENCE = re.compile(r"[^.!?…。\n]+[.!?…。]*")

_ACTS_EN = rf"(?:{_REGULAR.replace(' ', '|')})(?:e?s|e?d)?|{_IRREGULAR.replace(' ', '|')}"


class Acts(NamedTuple):
    """How the user is named as one who acts, and who else may act in the same clause."""

    named: re.Pattern[str]
    english: re.Pattern[str]
    korean: re.Pattern[str]
    others: re.Pattern[str]


def acts_of(cast: Cast) -> Acts:
    """The patterns of a cast. It comes back every turn, so `guard.Rules` keeps them."""
    names = [*map(re.escape, cast.user), r"\{\{user\}\}", "<user>"]
    start = r"(?:^|[,;—–-]\s++(?:and\s++|then\s++)?|\b(?:as|while)\s++)\W{0,3}"
    start += r"(?:then,?\s++|\w+ly,?\s++)?"
    adverb = r"(?:\s++(?:\w+ly|just|then|also|both))?"
    english = rf"{start}(?:you|{'|'.join(names)}){adverb}\s++(?:{_ACTS_EN})\b{_SUFFERED}"
    own = {re.escape(short) for name in cast.user for short in called(name)}
    user = "|".join([*sorted(own), *names[-2:], "사용자", "유저", "당신", "너", "그대"])
    titled = rf"(?:\s?(?:{_TITLES_KO}))?"
    topic = r"(?P<topic>은|는|께서는|께선|이는|도|이도)|이가|이|가|께서"
    korean = rf"(?<![\w}}])(?:(?:{user}){titled}(?:{topic})|(?P<short>넌|네가|니가))\s"
    rivals = [*cast.persona, *cast.others]
    known = "|".join([_OTHERS_KO, *(re.escape(n) for name in rivals for n in called(name))])
    return Acts(
        re.compile(rf"you|{user}|넌|네가|니가", re.IGNORECASE),
        re.compile(english, re.IGNORECASE),
        re.compile(korean, re.IGNORECASE),
        re.compile(rf"(?<!\w)(?:{known}){titled}(?:(?P<topic>은|는|도|이는|이도)|이가|이|가)\s"),
    )


def acts_for_user(texts: Iterable[str], patterns: Acts) -> bool:
    """Whether narration tells what the user does: "You walk over", "민준은 고개를 끄덕였다".

    Reported, never cut. Only what is deliberate at the start of a sentence or clause counts: what
    the user sees is the narrator's to tell, and a condition ("if you follow") is no act.
    """
    return any(_acts(match[0], patterns) for text in texts for match in _SENTENCE.finditer(text))


def _acts(sentence: str, patterns: Acts) -> bool:
    """Whether one sentence does."""
    sentence = nfc(sentence).strip(' *_\t"“”「」()（）-ㅡ—–[]')
    if sentence.endswith("?") or not patterns.named.search(sentence):
        return False
    if patterns.english.search(sentence):
        return True
    sentence = sentence.rstrip(".!…。~ *_)）-ㅡ—–]")
    return any(
        _acts_korean(sentence, found, patterns.others)
        for found in islice(patterns.korean.finditer(sentence), 3)
    )


def _acts_korean(sentence: str, subject: re.Match[str], others: re.Pattern[str]) -> bool:
    """Whether the user, who is the subject of a clause, does what it or the sentence tells.

    A topic (민준은) is whom the whole sentence is about; 민준이 may be the subject of a part of it.
    """
    before, clause = sentence[: subject.start()].rstrip(), sentence[subject.end() :]
    is_topic = subject["topic"] is not None or subject["short"] == "넌"
    if before and not (_JOINS_BEFORE.search(before[-6:]) or _ADVERBS.search(before[-12:])):
        return False
    if any(rival["topic"] for rival in others.finditer(f"{before} ")):
        return False
    if _leads_to_another(clause, others):
        return True
    if is_topic and _THINKS.search(clause[-40:]):
        return True
    if not is_topic and _RELATIVE.search(clause):
        return False
    rivals = list(islice(others.finditer(clause), 4))
    if rivals:
        behind = clause[rivals[-1].end() :]
        own = is_topic and not any(r["topic"] for r in rivals) and _HANDS_BACK.search(behind[:80])
        return bool(own) and _is_act(clause)
    return _is_act(clause) or any(
        _ends_in(clause[: joined.start()], _STEM_ENDS) for joined in _JOINED.finditer(clause)
    )


def _leads_to_another(clause: str, others: re.Pattern[str]) -> bool:
    """Whether the user's act is what another's follows: 손을 내밀자 그녀가 웃었다.

    Words do not count: 민준이 묻자 takes up what the user wrote.
    """
    joined = _BEFORE_ANOTHER.search(clause)
    if joined is None or joined.start() > _LONGEST_ACT:
        return False
    act = clause[: joined.start()]
    strange = others.search(clause, 0, joined.start()) or _RELATIVE.search(act)
    return not (strange or _SAYING.search(act)) and _ends_in(act, _STEM_ENDS)


def is_direction(words: str) -> bool:
    """Whether Korean words tell a deed, as a sentence or as what goes with speech: 웃으며."""
    words = words.rstrip(" ,.…~")
    joined = _BESIDE.search(words)
    return _is_act(words) or (joined is not None and _ends_in(words[: joined.start()], _STEM_ENDS))


def _is_act(clause: str) -> bool:
    """Whether a clause ends in a deliberate act."""
    if _FEELS.search(clause[-40:]):
        return True
    if _OF_BODY.search(clause[-40:]) or _HURT.search(clause[-20:]):
        return False
    end = clause[-24:]
    if _ends_in(clause, _FINAL_ENDS):
        return True
    if (helped := _HELPED.search(end)) and _ends_in(end[: helped.start()], _INFINITIVE_ENDS):
        return True
    meant = _MEANT.search(end)
    return meant is not None and _ends_in(end[: meant.start()], _STEM_ENDS)


def _ends_in(text: str, forms: frozenset[str]) -> bool:
    """Whether a text ends in one of these forms of a verb, or in a compound of it."""
    return any(
        text[-size:] in forms and not text[:-size].rstrip().endswith(_SUFFERED_KO)
        for size in range(1, min(_LONGEST_FORM, len(text)) + 1)
    )
