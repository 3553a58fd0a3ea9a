"""Ranking of passages by words and vectors, each alone and among its neighbours.

The evidence for a passage is a weighted sum of measures that are absolute, not relative to the
best of the query, so that it can be read as a probability (`score`):

    lexical   BM25 as a share of what the query could reach, in a window of the scene and alone,
              and how near to each other its terms stand
    dense     cosine of the best part with the query, and the average of its window, each above what
              the embedder gives unrelated texts (`CosineScale`)
    speaker   the query names who said it
    richness  it says much (log of its terms), and it does not end in a question

In a story, the neighbours of the best event have some more (`beside_best`).

The evidence is gathered for the message and for the running chat (`Query.views`), and mixed by how
far the message speaks for itself: its best find is clear, it asks, and it does not repeat the chat.
A long passage competes with its best part and takes one place. What may not be found is left out
before anything is counted, so it moves no score. Pure computation: vectors come in as an array,
nothing is embedded, read or stored here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.index import Index
from retrieval.lexical import Candidates
from schemas.rag import Corpus, Query, View

RICH = 32  # terms beyond which a passage is not richer: a wall of text gains nothing more
CLEAR = 0.5  # evidence of the best passage at which a question speaks for itself by half
FOLLOW_UP = 0.65  # what a message must find beyond that if all it does is carry the chat on
CLARITY_WIDTH = 0.065  # how soon around that the message counts as good as alone, or not at all
DUPLICATE = 0.9  # share of common terms from which two passages are the same


@dataclass(frozen=True, slots=True)
class Weights:
    """What each measure counts; the lexical window is the unit. Fitted, then rounded.

    `slope`, `intercept` and `running_chat` make the sum a probability
    (`lab/fit_calibration.py`).
    """

    lexical_window: float = 1.0
    lexical_own: float = 0.15
    lexical_before: float = 0.0
    lexical_near: float = 0.0
    dense: float = 0.3
    dense_window: float = 0.6
    speaker: float = 0.1
    richness: float = 0.06
    question: float = -0.1
    beside: float = 0.0  # of a neighbour of the best, which it does not overtake by that
    slope: float = 8.1
    intercept: float = -10.2
    running_chat: float = 2.1  # added to the intercept as far as the running chat speaks


CHAT = Weights()
"""Messages: short, said by someone, understood with what came before."""

STORY = Weights(
    lexical_own=0.7,
    lexical_before=0.2,
    lexical_near=0.2,
    dense=0.5,
    dense_window=0.4,
    speaker=0.0,
    richness=0.0,
    question=0.0,
    beside=0.1,
    slope=5.2,
    intercept=-7.0,
    running_chat=0.0,  # not measured: there is no set of running chats about a story
)
"""Events: long, so the whole counts beside the best part; what happens follows what was told."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """How to rank."""

    weights: Weights = CHAT
    recency: float = 0.0  # added to the evidence for the newest passage, none for the oldest
    in_scene: float = 0.0  # added for passages of the query's scene
    threshold: float = 0.0  # least score that is returned


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found."""

    row: int  # in `Index.passages`
    score: float  # probability of being relevant, 0 to 1
    why: tuple[str, ...]  # of dense, lexical, neighbour, speaker; the strongest first


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for each of n candidates."""

    measures: dict[str, np.ndarray]  # (n,) each, by `Weights`' names
    alone: np.ndarray  # (n,) share of the query's terms in one part of the passage by itself
    clarity: float = 1.0  # how far the message speaks for itself, and not the running chat

    def total(self, weights: Weights) -> np.ndarray:
        """(n,) the weighted sum."""
        total: np.ndarray = sum(getattr(weights, name) * it for name, it in self.measures.items())
        return total


def rank(
    index: Index,
    query: Query,
    *,
    limit: int,
    vectors: np.ndarray | None = None,
    query_vectors: np.ndarray | None = None,
    allowed: np.ndarray | None = None,
    corpus: Corpus | None = None,
    knobs: Knobs = Knobs(),
) -> list[Hit]:
    """The best passages, best first; equal ones newest first.

    Args:
        index: what to search.
        query: what for.
        limit: how many at most.
        vectors: (parts, d) unit rows, NaN where a part was not embedded; None ranks by words alone.
        query_vectors: (views, d) unit rows, from `view_vectors`.
        allowed: (passages,) bool. The ranking is that of an index without the others.
        corpus: what the passages were chosen from, where they are few of many.
        knobs: how.
    """
    among, weights = index.lexical.candidates(allowed, corpus), knobs.weights
    if limit < 1 or not len(among.rows):
        return []
    evidence = gather(
        index, query, among, vectors=vectors, query_vectors=query_vectors, weights=weights
    )
    gathered = evidence.total(weights) + _circumstance(index, query, among, knobs)
    total = beside_best(among, gathered, weights)
    scores = probability(total, weights, evidence.clarity)
    best = np.lexsort((-among.rows, -total))
    best = best[scores[best] >= knobs.threshold]
    return [
        Hit(
            row=int(among.rows[at]),
            score=float(scores[at]),
            why=_why(evidence, at, weights, float(total[at] - gathered[at])),
        )
        for at in _distinct(index, among, best, limit)
    ]


def gather(
    index: Index,
    query: Query,
    among: Candidates,
    *,
    vectors: np.ndarray | None = None,
    query_vectors: np.ndarray | None = None,
    weights: Weights = CHAT,
) -> Evidence:
    """The evidence for each candidate; the other arguments are those of `rank`."""
    speaker = {"speaker": index.said_by(query.speakers)[among.rows]}
    of_answers = {  # what makes a good answer; a running chat asks for none
        "richness": np.log1p(np.minimum(among.richness, RICH)),
        "question": index.asks()[among.rows],
    }
    if weights.lexical_near:  # of the message: a running chat's terms have no order
        near = index.lexical.near(query.views[0].terms, among)
        of_answers["lexical_near"] = among.best_of_parts(near)
    found = []
    for number, view in enumerate(query.views):
        cosine = None
        if vectors is not None and query_vectors is not None:
            cosine = query.cosines.read(vectors @ query_vectors[number])[among.parts]
        evidence = _in_view(index, view, cosine, among)
        evidence.measures.update(speaker if number else speaker | of_answers)
        found.append(evidence)
    own, *chat = found
    return _mixed(own, chat[0], _clarity(own, query.follow_up, weights)) if chat else own


def beside_best(among: Candidates, total: np.ndarray, weights: Weights) -> np.ndarray:
    """(n,) the evidence, with `Weights.beside` more for the neighbours of the best.

    Where the best is wrong or not all, the answer is often next to it. A neighbour stays below it.

    Args:
        among: knows where scenes begin.
        total: (n,) sums of the measures.
        weights: those of the sums.
    """
    if not weights.beside:
        return total
    best = int(np.lexsort((among.rows, total))[-1])
    below = np.nextafter(total[best], -np.inf, dtype=total.dtype)
    raised = total.copy()
    for passage in among.beside(best):
        raised[passage] = max(total[passage], min(total[passage] + weights.beside, below))
    return raised


def probability(evidence: np.ndarray, weights: Weights, clarity: float = 1.0) -> np.ndarray:
    """(n,) how likely a passage with this much evidence is relevant.

    Args:
        evidence: (n,) sums of the measures.
        weights: those of the sums.
        clarity: how far the evidence is the message's own, `Evidence.clarity`.
    """
    intercept = weights.intercept + (1 - clarity) * weights.running_chat
    likely: np.ndarray = 1 / (1 + np.exp(-(weights.slope * evidence + intercept)))
    return likely


def _in_view(index: Index, view: View, cosine: np.ndarray | None, among: Candidates) -> Evidence:
    """What one view of the query finds."""
    lexical = index.lexical.scores(view.terms, among)
    dense, dense_window = _dense(cosine, among)
    measures = {
        "lexical_window": among.best_of_parts(lexical.window),
        "lexical_own": lexical.own,
        "lexical_before": among.before(lexical.own),
        "dense": among.best_of_parts(dense),
        "dense_window": among.best_of_parts(dense_window),
    }
    return Evidence(measures, among.best_of_parts(lexical.alone))


def _dense(cosine: np.ndarray | None, among: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """(p,) cosine, and its average over the window.

    A part that was not embedded counts as the lower quartile of those that were.
    """
    if cosine is None or (missing := np.isnan(cosine)).all():
        none = np.zeros(len(among.parts), dtype=np.float32)
        return none, none
    window = among.smooth(cosine)
    if missing.any():
        low = np.quantile(cosine[~missing], 0.25)
        cosine = np.where(missing, low, cosine)
        window = np.where(np.isnan(window), low, window)
    return cosine, window


def _clarity(own: Evidence, follow_up: float, weights: Weights) -> float:
    """How far the message speaks for itself, 0 to 1: a logistic function of its best find."""
    beyond = float(own.total(weights).max()) - CLEAR - FOLLOW_UP * follow_up
    return float(1 / (1 + np.exp(-beyond / CLARITY_WIDTH)))


def _mixed(own: Evidence, chat: Evidence, clarity: float) -> Evidence:
    """Both views' evidence."""
    mix = {
        name: clarity * it + (1 - clarity) * chat.measures.get(name, 0.0)
        for name, it in own.measures.items()
    }
    alone = clarity * own.alone + (1 - clarity) * chat.alone
    return Evidence(mix, alone, clarity)


def _circumstance(index: Index, query: Query, among: Candidates, knobs: Knobs) -> np.ndarray:
    """(n,) what recency and the running scene add."""
    bonus = knobs.recency * np.linspace(0, 1, len(among.rows), dtype=np.float32)
    if query.scene:
        here = index.lexical.scene_number(query.scene)
        bonus += np.float32(knobs.in_scene) * (among.scenes == here)
    return bonus


def _why(evidence: Evidence, at: int, weights: Weights, lift: float) -> tuple[str, ...]:
    """The kinds of evidence that make up a tenth of the whole or more, the strongest first.

    `lift` is what the passage has for standing beside the best.
    """
    measured = {name: float(it[at]) for name, it in evidence.measures.items()}
    window = weights.lexical_window * measured["lexical_window"]
    own = min(weights.lexical_window * float(evidence.alone[at]), window)
    before = weights.lexical_before * measured["lexical_before"]
    shares = {
        "lexical": own
        + weights.lexical_own * measured["lexical_own"]
        + weights.lexical_near * measured.get("lexical_near", 0.0),
        "neighbour": window - own + before + lift,
        "dense": (weights.dense + weights.dense_window) * max(0.0, measured["dense"]),
        "speaker": weights.speaker * measured["speaker"],
    }
    enough = max(0.1 * sum(shares.values()), 1e-6)
    strongest = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return tuple(name for name, share in strongest if share >= enough)


def _distinct(index: Index, among: Candidates, best: np.ndarray, limit: int) -> list[int]:
    """The first `limit` candidates that do not repeat an earlier one."""
    chosen: list[int] = []
    seen: list[frozenset[int | str]] = []
    for at in map(int, best):
        content = index.content(int(among.rows[at]))
        if not any(_same(content, other) for other in seen):
            chosen.append(at)
            seen.append(content)
            if len(chosen) == limit:
                break
    return chosen


def _same(one: frozenset[int | str], other: frozenset[int | str]) -> bool:
    shared = len(one & other)
    return shared >= DUPLICATE * (len(one) + len(other) - shared)
