"""How an embedder's cosines are to be read, measured from its own vectors, language by language.

Models differ in the cosine that they give unrelated texts (about 0, .4 or .8), and one model does
so by language: to the bundled MiniLM all Korean is alike, at .7. Taken as they come, such cosines
are evidence for every passage. So each embedder is tried once on a few sentences, each said twice
in other words:

    floor   lower quartile of the cosines between sentences of different meaning, at least 0 (it is
            0 for MiniLM in English, with which the weights of the ranking were fitted)
    trust   share of sentences to which their other wording is nearest, above chance:
            (share - c) / (1 - c) with c = 1 in 15, at least 0
    reach   cosine that counts as 1: the other wording of a sentence is to lie `ALIKE` of the way
            from the floor, as for MiniLM in English; 1 as far as the embedder is not trusted

The sentences are embedded as queries on one side and as passages on the other.
"""

from __future__ import annotations

import numpy as np

from schemas.rag import CosineScale

_PAIRS = {
    "en": """
The ferry leaves the harbour at seven. | The boat sails from the port every morning.
My knee has hurt since I fell off the bicycle. | After that crash on my bike, my leg is still sore.
Stir in two spoons of sugar until it boils. | Sweeten the pot and heat it till it bubbles.
The judge asked the witness to answer again. | In court she had to repeat her testimony.
Stars are born in cold clouds of gas. | Nebulae are where new suns form.
He has not paid the rent for three months. | The tenant owes his landlord money.
Our team lost the final by a single goal. | We were beaten in the last match of the cup.
She tuned the violin before the concert. | The musician adjusted her strings ahead of the show.
""",
    "ko": """
여객선은 일곱 시에 항구를 떠난다. | 배는 매일 아침 부두에서 출항한다.
자전거에서 넘어진 뒤로 무릎이 아파요. | 두발자전거 타다 다쳐서 다리가 아직 쑤셔.
설탕 두 숟갈을 넣고 끓을 때까지 저으세요. | 달게 해서 냄비가 보글거릴 때까지 데워요.
판사는 증인에게 다시 대답하라고 했다. | 법정에서 그녀는 증언을 되풀이해야 했다.
별은 차가운 가스 구름에서 태어난다. | 성운은 새로운 항성이 만들어지는 곳이다.
그는 석 달째 월세를 내지 못했어. | 세입자는 집주인에게 돈을 빚지고 있다.
우리 팀은 결승에서 한 골 차로 졌다. | 마지막 경기에서 우리가 패배했어.
그녀는 연주회 전에 바이올린을 조율했다. | 음악가는 공연에 앞서 악기 줄을 맞췄다.
""",
    "ja": """
連絡船は七時に港を出る。 | 船は毎朝埠頭から出航する。
自転車で転んでから膝が痛いんです。 | バイクの事故で怪我した脚がまだうずく。
砂糖を二杯入れて煮立つまで混ぜてください。 | 甘くして、鍋がぐつぐつするまで温めます。
裁判官は証人にもう一度答えるよう求めた。 | 法廷で彼女は証言を繰り返さねばならなかった。
星は冷たいガスの雲の中で生まれる。 | 星雲は新しい恒星ができる場所だ。
彼はもう三か月も家賃を払っていない。 | 借り手は大家さんにお金の借りがある。
私たちのチームは決勝で一点差で負けた。 | 最後の試合で僕らは敗れた。
彼女は演奏会の前にバイオリンを調弦した。 | 音楽家は公演に先立って楽器の弦を合わせた。
""",
}
SENTENCES = [
    sentence
    for pairs in _PAIRS.values()
    for side in zip(*(line.split(" | ") for line in pairs.strip().splitlines()), strict=True)
    for sentence in side
]
"""What an embedder is tried on: for each language eight sentences, then their other wordings."""


MARGIN = 0.03
"""Least that the two wordings count as nearer than unrelated sentences, so that nothing is divided
by nearly nothing."""
ALIKE = 0.61
"""Mean cosine that MiniLM gives the two wordings of an English sentence."""


def measure(queries: np.ndarray, passages: np.ndarray) -> dict[str, CosineScale]:
    """The scale of each language, from the vectors of `SENTENCES`: (n, d) rows of unit length."""
    sides = (np.split(vectors, len(_PAIRS)) for vectors in (queries, passages))
    return {name: _scale(*rows) for name, *rows in zip(_PAIRS, *sides, strict=True)}


def _scale(queries: np.ndarray, passages: np.ndarray) -> CosineScale:
    """Of one language: the second half of the rows says what the first says, row by row."""
    size = len(passages)
    meaning = np.arange(size) % (size // 2)
    cosines = queries @ passages.T
    unrelated = meaning[:, None] != meaning
    floor = min(0.95, max(0.0, float(np.quantile(cosines[unrelated], 0.25))))
    alike = float(cosines[~unrelated & ~np.eye(size, dtype=bool)].mean())
    np.fill_diagonal(cosines, -np.inf)
    found = float((meaning[cosines.argmax(axis=1)] == meaning).mean())
    chance = 1 / (size - 1)
    trust = max(0.0, (found - chance) / (1 - chance))
    reach = floor + max(MARGIN, alike - floor) / ALIKE
    reach = trust * min(1.0, reach) + (1 - trust)
    return CosineScale(round(floor, 3), round(trust, 3), round(reach, 3))
