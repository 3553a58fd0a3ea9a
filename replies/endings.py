"""Where Korean hears the end of a sentence that no mark ends: 했음, 맞아, 가지 마, but not 갔는지.

A reply that the token limit broke off may end anywhere, so a form that joins clauses as often as it
ends them (들어, 다가와, 먹는데) is taken for broken off. In speech that is not closed it counts.
"""

from __future__ import annotations

import re

from language.korean import syllables_ending_in

_B, _L, _N, _SS = map(syllables_ending_in, "ㅂㄹㄴㅆ")

_SENTENCES = re.compile(
    r"(?<![가-힣])(?:네넵|넵|넹|대박|그치|그러게|그래|아니|돼|응|맞아|좋아|싫어|몰라|괜찮아|고마워|미안"
    r"|미안해|사랑해|조심해|힘내|함|축하해|부탁해|약속해|환영해|안녕|글쎄|제발|세상에|오케이|파이팅|화이팅"
    r"|아이고|에휴|어머|반가워|[하호히헤허후흐크푸키]{2,6}|(?:[가-힣]{1,4}[지정말도]|걱정) ?마|보고"
    r" 싶어)$"
    r"|(?:^|[\n.!?…,~\"“「『]) ?(?:네|예|음|흠|앗|헉|헐|흥|쳇|쉿)$"
)
"""Words that are a sentence as they are."""
_NONE = re.compile(
    r"(?:(?:^|[^가-힣])[가-힣]|까지|[는은든던]지"
    rf"|[{_N}]지|(?<![알살놀])[{_L}]지|보다|려다|에다|마다|바다|죄다|[해아어와봐가돼줘여러려져쳐]야"
    r"|아버지|강아지|편지|바지|반지|휴지|먼지|돼지|메시지|이미지"
    r"|의지|동네|필요|중요"
    r"|장군|적군|보관함|우편함)$"
)
"""What only looks like an end: 왔는지, 여기까지, 가야, one syllable by itself, some nouns."""
_ENDS = re.compile(
    rf"(?:[요다죠네냐지야]|[{_L}]까|[{_B}]니까|[가라하두보먹놀쉬내앉돌열]자|구나|군|거든|잖아|더라|[{_SS}][어니나대]"
    rf"|[{_L}][게래걸]|는걸|려나|[던건인]가|[한간온는]대|렴|[{_SS}없있같많좋싫않먹찾받입앉잡읽씻놓]음|함|됨|[거것뿐]임|아님"
    rf"|모름|시오|[하이으]오|구려|[{_SS}{_B}겠않없있렇]소"
    rf"|[아어여와워봐해줘가세네게에예래데돼셔져거까]용|[{_SS}니좋프쁘싶없엽럽렵겁쉽깝섭한간온된]당"
    r"|[아어워해세네]염|세[욤욥영])$"
)
_SPOKEN = re.compile(
    rf"(?:[{_L}][러라]|[가-힣][아어여해워줘봐빠뻐파퍼꺼써켜져쳐내돼]"
    r"|(?:^|[ 나들가다려])와|[아어해거]라|더라고"
    rf"|[는은던{_N}]데|[가-힣 ][자해봐줘])$"
)
"""Ends that also join clauses."""
_SPOKEN_TO = re.compile(
    r", ?(?:[가-힣]{1,5} )?(?:[가-힣]{0,5}(?:님|선배|언니|누나|오빠|형|씨)|[가-힣]{1,4} [군양]"
    r"|[가-힣]{1,3}[^앉잡받찾놓닫알않많좋안남갚팔살날작]아)$"
)
"""Who is spoken to, behind a whole sentence: 고마워요, 선배님."""


def is_korean_end(text: str, *, spoken: bool) -> bool:
    """Whether a text that ends in Hangul may end with a whole sentence.

    Args:
        text: the end of it, a few words.
        spoken: it is in speech whose quotation mark is not closed yet.
    """
    if called := _SPOKEN_TO.search(text):
        text, spoken = text[: called.start()], True
    if _SENTENCES.search(text) or (spoken and _SPOKEN.search(text)):
        return True
    return _ENDS.search(text) is not None and _NONE.search(text) is None
