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


def likenesses(
    happens: str,
    events: Sequence[StoryEvent],
    rows: Sequence[int],
    cosines: tuple[np.ndarray, np.ndarray],
) -> list[Likeness]:
    """The likeness of a message to some events of a story.

    Args:
        happens: what happens in the message (`routing.happening.split`).
        events: all n events of the story.
        rows: the events that are asked about.
        cosines: of the message and the triggers (n,), NaN where there is none; of the message and
            the events as they are told (n,).
    """
    texts = tuple("\n".join([e.trigger, event_text(e), *e.characters]) for e in events)
    words = shared_words(happens, texts)
    triggers, told = cosines
    found = []
    for row in rows:
        others = np.arange(len(events)) != row
        found.append(
            Likeness(
                trigger=float(triggers[row]),
                trigger_others=_mean(triggers[others & ~np.isnan(triggers)]),
                event=float(told[row]),
                event_others=_mean(told[others]),
                words=float(words[row]),
                words_others=_mean(words[others]),
                trigger_words=_heard(happens, events[row].trigger, texts),
            )
        )
    return found


def event_told(event: StoryEvent) -> str:
    """The text of an event whose meaning a message is compared with."""
    return f"{event.title}: {event.text}" if event.title else event.text


def _heard(happens: str, trigger: str, texts: tuple[str, ...]) -> float:
    """Share of the trigger's words, by weight, that `happens` has."""
    vocabulary, heard = _vocabulary(texts), set(tokens(happens))
    words = {frozenset(tokens(word)) for word in trigger.split()} - {frozenset()}
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
    for terms in {frozenset(tokens(word)) for word in text.split()}:
        rows: dict[int, list[float]] = defaultdict(list)
        for term in terms:
            for row in vocabulary.get(term, ()):
                rows[row].append(_weight(len(vocabulary[term]), len(texts)))
        for row, weights in rows.items():
            shared[row] += max(weights) * len(weights) / len(terms)
    return shared


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


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
