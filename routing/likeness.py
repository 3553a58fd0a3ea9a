"""How near a message is to the story's next event: by meaning, and by words it has in common.

Both are compared with how near the message is to the other events of the story, so that what is
said in every scene (the ferry, the office) says nothing, and no embedder needs a threshold of its
own. An event is read as its trigger and as it is told: players speak of the suitcase's straps and
not of "the unclaimed suitcase".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from retrieval.story import event_text
from retrieval.text import tokens
from schemas.rag import Likeness
from schemas.request import StoryEvent

SURE = 0.9
"""Share of right comparisons from which an embedder is trusted wholly."""
TRUSTED = 2
"""Right comparisons that every embedder is given: a small story shows little."""
EMPTY_KO = frozenset(
    """
    거의 다 이제 지금 아주 너무 정말 진짜 다시 또 더 좀 잘 안 못 막 꼭 딱 늘 참 곧 아직 벌써 방금
    이미 먼저 갑자기 그냥 그래서 그리고 그런데 하지만 그러나 그럼 모두 함께 같이 서로 혼자 계속
    오래 많이 조금 가장 제일 매우 무척 그 이 저 것 거 게 수 때 한 두 세 번 뭐 왜 어떻게 우리 저는
    나는 내 제 네 예 응 아니 위해 대해 있다 없다 있는 없는 있어요 없어요 하는 하고 해서 했다 한다
    된다 됐다
    """.split()  # noqa: SIM905
)
"""Korean words of time, degree and reference, which carry no topic."""


def likenesses(
    happens: str,
    events: Sequence[StoryEvent],
    rows: Sequence[int],
    cosines: tuple[np.ndarray, np.ndarray],
    trust: float = 1.0,
) -> list[Likeness]:
    """The likeness of a message to some events of a story.

    Args:
        happens: what happens in the message (`routing.happening.split`).
        events: all n events of the story.
        rows: the events that are asked about.
        cosines: of the message and the triggers (n,), NaN where there is none; of the message and
            the events as they are told (n,).
        trust: how far to heed them (`trust_in`).
    """
    texts = tuple("\n".join([e.trigger, event_text(e), *e.characters]) for e in events)
    words = shared_words(happens, texts)
    triggers, told = cosines
    other_triggers, others_told, other_words = map(_means_of_others, (triggers, told, words))
    return [
        Likeness(
            trigger=float(triggers[row]),
            trigger_others=float(other_triggers[row]),
            event=float(told[row]),
            event_others=float(others_told[row]),
            words=float(words[row]),
            words_others=float(other_words[row]),
            trigger_words=_heard(happens, events[row].trigger, texts) if words[row] else 0.0,
            trust=trust,
        )
        for row in rows
    ]


def trust_in(triggers: np.ndarray, told: np.ndarray, own: Sequence[int]) -> float:
    """How well an embedder tells the events of this story apart, 0 to 1.

    A trigger and the event that it brings about say the same in other words. An embedder that knows
    the language finds them nearer to each other than to other events. MiniLM does so in 94 of 100
    cases in English and, to which all Korean looks alike, in 66 of 100 in Korean.

    Args:
        triggers: (m, d) vectors of the triggers.
        told: (n, d) vectors of all events as they are told.
        own: row in `told` of each trigger's event.
    """
    cosines = triggers @ told.T
    nearer = cosines[np.arange(len(own)), own][:, None] > cosines
    pairs = len(own) * (len(told) - 1)
    share = (nearer.sum() + TRUSTED) / (pairs + TRUSTED)
    return float(np.clip((share - 0.5) / (SURE - 0.5), 0.0, 1.0))


def event_told(event: StoryEvent) -> str:
    """The text of an event whose meaning a message is compared with."""
    return f"{event.title}: {event.text}" if event.title else event.text


def _heard(happens: str, trigger: str, texts: tuple[str, ...]) -> float:
    """Share of the trigger's words, by weight, that `happens` has."""
    vocabulary, heard = _vocabulary(texts), set(tokens(happens))
    words = {frozenset(tokens(word)) for word in _content(trigger)} - {frozenset()}
    weight = {
        terms: max(_weight(len(vocabulary[term]), len(texts)) for term in terms) for terms in words
    }
    found = sum(weight[terms] * len(terms & heard) / len(terms) for terms in words)
    return found / (sum(weight.values()) or 1.0)


def shared_words(text: str, texts: tuple[str, ...]) -> np.ndarray:
    """(n,) how many words of weight `text` shares with each of n texts.

    A word counts 1 where one text alone has it and less the more have it (its idf as a share of the
    highest). Korean words count by the share of their pairs of syllables that are found.
    """
    vocabulary = _vocabulary(texts)
    shared = np.zeros(len(texts))
    for terms in {frozenset(tokens(word)) for word in _content(text)}:
        rows: dict[int, list[float]] = defaultdict(list)
        for term in terms:
            for row in vocabulary.get(term, ()):
                rows[row].append(_weight(len(vocabulary[term]), len(texts)))
        for row, weights in rows.items():
            shared[row] += max(weights) * len(weights) / len(terms)
    return shared


def _content(text: str) -> list[str]:
    """The words of a text without Korean adverbs and the like, which say nothing of what happens;
    English ones have no terms anyway."""
    return [word for word in text.split() if word.strip(".,!?…\"'“”‘’*()") not in EMPTY_KO]


@lru_cache(maxsize=16)
def _vocabulary(texts: tuple[str, ...]) -> dict[str, list[int]]:
    """Terms of a story's events to the rows that hold them; a story comes back turn after turn."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        for term in set(tokens(text)):
            rows[term].append(row)
    return dict(rows)


def _weight(found: int, total: int) -> float:
    """Lucene's idf as a share of that of a term found once."""
    return _idf(found, total) / _idf(1, total)


def _idf(found: int, total: int) -> float:
    return math.log(1 + (total - found + 0.5) / (found + 0.5))


def _means_of_others(values: np.ndarray) -> np.ndarray:
    """(n,) the mean of all but each value, NaN left out; 0 where there is no other."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    means: np.ndarray = (filled.sum() - filled) / np.maximum(1, known.sum() - known)
    return means
