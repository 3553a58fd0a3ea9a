"""Ranking of passages by words and vectors, each alone and among its neighbours.

The evidence for a passage is a weighted sum of measures that are absolute, not relative to the
best of the query, so that it can be read as a probability (`score`):

    lexical   BM25 as a share of what the query could reach, in a window of the scene and alone,
              and how near to each other its terms stand
    dense     cosine of the best part with the query, and the average of its window
    speaker   the query names who said it
    richness  it says much (log of its terms), and it does not end in a question

In a story, the neighbours of the best event have some more (`beside_best`).

The evidence is gathered for the message and for the running chat (`Query.views`), and mixed by how
far the message speaks for itself: its best find is clear, it asks, and it does not repeat the chat.
A long passage competes with its best part and takes one place. Pure computation: vectors come in as
an array, nothing is embedded, read or stored here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from retrieval.lexical import LexicalIndex
from retrieval.query import Query, View
from retrieval.text import asks, normal, parts, tokens

PART_SIZE = 600  # characters; within the 256 tokens that MiniLM reads, and most chat lines whole
RICH = 32  # terms beyond which a passage is not richer: a wall of text gains nothing more
CLEAR = 0.5  # evidence of the best passage at which a question speaks for itself by half
CARRIED_ON = 0.65  # what a message must find beyond that if all it does is carry the chat on
UNCLEAR = 0.065  # how soon around that the message counts as good as alone, or not at all
SAME = 0.9  # share of common terms from which two passages are the same


class Passage(NamedTuple):
    """A message or an event that can be found; a tuple, as 20,000 are compared at every turn."""

    id: str
    text: str
    speaker: str = ""
    scene: str = ""  # neighbours count within a scene only


@dataclass(frozen=True, slots=True)
class Weights:
    """What each measure counts; the lexical window is the unit. Fitted, then rounded.

    `slope`, `intercept` and `adrift` make the sum a probability (`lab/fit_calibration.py`).
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
    adrift: float = 2.1  # added to the intercept as far as the running chat speaks


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
    adrift=0.0,  # not measured: there is no set of running chats about a story
)
"""Events: long, so the whole counts beside the best part; what happens follows what was told."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """How to rank."""

    weights: Weights = CHAT
    recency: float = 0.0  # added to the evidence for the newest passage, none for the oldest
    in_scene: float = 0.0  # added for passages of the query's scene
    threshold: float = 0.0  # least score that is returned
    floor: float = 0.0  # cosine of unrelated texts under the embedder: 0 for MiniLM, .4 for bge-m3


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found."""

    row: int  # in `Index.passages`
    score: float  # probability of being relevant, 0 to 1
    why: tuple[str, ...]  # of dense, lexical, neighbour, speaker; the strongest first
    part: int  # in `Index.parts`: the part that matched best


def common(old: Sequence[object], new: Sequence[object]) -> int:
    """How many items are the same from the start."""
    if len(old) <= len(new) and list(new[: len(old)]) == old:  # compared in C
        return len(old)
    return next(
        (at for at, (before, now) in enumerate(zip(old, new, strict=False)) if before != now),
        min(len(old), len(new)),
    )


class Index:
    """Passages made ready to be ranked; grows with a conversation.

    `parts` are the texts to embed; row i of the vectors given to `rank` belongs to `parts[i]`.
    Not to be shared by threads that update it.
    """

    def __init__(self, passages: Sequence[Passage] = (), *, part_size: int = PART_SIZE) -> None:
        self.passages: list[Passage] = []
        self.parts: list[str] = []
        self.lexical = LexicalIndex()
        self.vectors: np.ndarray | None = None  # (up to parts, d) as `part_vectors` found them
        self.blank = np.arange(0)  # rows of theirs that are NaN
        self.embedder = ""  # the fingerprint of theirs
        self._part_size = part_size
        self._starts = array("i")  # first part of each passage
        self._speakers: dict[str, array[int]] = {}  # the passages of each
        self._asks = array("f")
        self._begins = array("b")  # a scene
        self.update(passages)

    def __len__(self) -> int:
        """How many passages it holds."""
        return len(self.passages)

    @property
    def starts(self) -> np.ndarray:
        """(passages,) the first part of each."""
        return np.array(self._starts, dtype=np.intp)

    @property
    def speakers(self) -> list[str]:
        """All who speak, as `normal` names."""
        return list(self._speakers)

    def update(self, passages: Sequence[Passage]) -> int:
        """Make the index hold exactly these passages; returns how many it could keep.

        Costs what changed: everything after the first difference is read anew.
        """
        kept = common(self.passages, passages)
        self.replace(kept, passages[kept:])
        return kept

    def replace(self, kept: int, passages: Iterable[Passage]) -> None:
        """Make the index hold the first `kept` of its passages, and then these."""
        self._truncate(kept)
        for passage in passages:
            self._add(passage)

    def _add(self, passage: Passage) -> None:
        row = len(self.passages)
        self.passages.append(passage)
        self._starts.append(len(self.parts))
        self._begins.append(row == 0 or self.passages[row - 1].scene != passage.scene)
        self._speakers.setdefault(normal(passage.speaker), array("i")).append(row)
        self._asks.append(asks(passage.text))
        for part in parts(passage.text, self._part_size):
            self.parts.append(part)
            self.lexical.add(tokens(part), passage=row, scene=passage.scene)

    def _truncate(self, length: int) -> None:
        if length < len(self.passages):
            first = self._starts[length]
            for passage in reversed(self.passages[length:]):
                self._speakers[normal(passage.speaker)].pop()
            self.lexical.truncate(first)
            self.vectors = None if self.vectors is None else self.vectors[:first]
            del self.parts[first:], self.passages[length:]
            del self._starts[length:], self._asks[length:], self._begins[length:]
            self._speakers = {name: rows for name, rows in self._speakers.items() if rows}

    def said_by(self, speakers: Iterable[str]) -> np.ndarray:
        """(passages,) 1 / number of the named for what one of them said, else 0."""
        said = np.zeros(len(self), dtype=np.float32)
        rows = [self._speakers[name] for name in sorted(speakers) if name in self._speakers]
        for theirs in rows:
            said[np.array(theirs)] = 1 / len(rows)
        return said

    def of_parts(self, values: np.ndarray) -> np.ndarray:
        """(parts,) the value of each part's passage."""
        of_parts: np.ndarray = values[self.lexical.owner()]
        return of_parts

    def before(self, values: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """(passages,) the value of the passage before, 0 where a scene or another group begins."""
        begins = np.array(self._begins, dtype=bool)
        begins[1:] |= groups[1:] != groups[:-1]
        moved = np.zeros_like(values)
        moved[1:] = values[:-1]
        moved[begins] = 0
        return moved

    def neighbours(self, row: int) -> list[int]:
        """The passages right before and after, in its scene."""
        after = row + 1
        return [
            *([row - 1] if not self._begins[row] else []),
            *([after] if after < len(self) and not self._begins[after] else []),
        ]

    def scenes(self) -> np.ndarray:
        """(passages,) the same number for those of one scene."""
        of_passages: np.ndarray = self.lexical.scenes()[self.starts]
        return of_passages

    def asks(self) -> np.ndarray:
        """(passages,) 1 for what ends in a question, else 0."""
        return np.array(self._asks, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Each measure of each passage, (passages,), by `Weights`' names, and what explains a hit."""

    measures: dict[str, np.ndarray]
    alone: np.ndarray  # share of the query's terms in the passage's best part itself
    part: np.ndarray  # that part
    clarity: np.ndarray  # how far the message speaks for itself, and not the running chat

    def total(self, weights: Weights) -> np.ndarray:
        """(passages,) the weighted sum."""
        total: np.ndarray = sum(getattr(weights, name) * it for name, it in self.measures.items())
        return total


def gather(
    index: Index,
    query: Query,
    *,
    vectors: np.ndarray | None = None,
    query_vectors: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    knobs: Knobs = Knobs(),
) -> Evidence:
    """The evidence for each passage among those of its group.

    Args:
        groups: (passages,) the number of each one's, from 0; passages lend nothing to other groups.
            None puts all into one. The other arguments are those of `rank`.
    """
    if groups is None:
        groups = np.zeros(len(index), dtype=np.intp)
    around = index.lexical.around(index.of_parts(groups))
    speaker = {"speaker": index.said_by(query.speakers)}
    of_answers = {  # what makes a good answer; a running chat asks for none
        "richness": np.log1p(np.minimum(index.lexical.richness(), RICH)),
        "question": index.asks(),
    }
    if knobs.weights.lexical_near:  # of the message: a running chat's terms have no order
        near = index.lexical.near(query.views[0].terms)
        of_answers["lexical_near"] = np.maximum.reduceat(near, index.starts)
    found = []
    for number, view in enumerate(query.views):
        vector = None if query_vectors is None else query_vectors[number]
        cosine = _cosine(vectors, vector, knobs.floor)
        measures, alone, part = _in_view(index, view, cosine, groups, around, knobs.weights)
        measures |= speaker if number else speaker | of_answers
        found.append(Evidence(measures, alone, part, np.ones(len(index), dtype=np.float32)))
    own, *chat = found
    if not chat:
        return own
    return _mixed(own, chat[0], _clarity(own, query.carries_on, groups, knobs.weights))


def rank(
    index: Index,
    query: Query,
    *,
    limit: int,
    vectors: np.ndarray | None = None,
    query_vectors: np.ndarray | None = None,
    allowed: np.ndarray | None = None,
    knobs: Knobs = Knobs(),
) -> list[Hit]:
    """The best passages, best first; equal ones newest first.

    Args:
        index: what to search.
        query: what for.
        limit: how many at most.
        vectors: (parts, d) unit rows, NaN where a part was not embedded; None ranks by words alone.
        query_vectors: (views, d) unit rows, from `view_vectors`.
        allowed: (passages,) bool. The others are not returned, take no place among the best, and
            lend nothing to their neighbours.
        knobs: how.
    """
    allowed = np.ones(len(index), dtype=bool) if allowed is None else allowed
    [hits] = rank_apart(
        index,
        query,
        [allowed],
        limit=limit,
        vectors=vectors,
        query_vectors=query_vectors,
        knobs=knobs,
    )
    return hits


def rank_apart(
    index: Index,
    query: Query,
    masks: Sequence[np.ndarray],
    *,
    limit: int,
    vectors: np.ndarray | None = None,
    query_vectors: np.ndarray | None = None,
    knobs: Knobs = Knobs(),
) -> list[list[Hit]]:
    """For each of some masks what `rank` finds where that alone is allowed, in one go.

    Args:
        masks: (passages,) bool each; no passage is in two of them.
    """
    if limit < 1 or not any(mask.any() for mask in masks):
        return [[] for _ in masks]
    groups = np.sum([number * mask for number, mask in enumerate(masks, 1)], axis=0)
    evidence = gather(
        index, query, vectors=vectors, query_vectors=query_vectors, groups=groups, knobs=knobs
    )
    gathered = evidence.total(knobs.weights) + _circumstance(index, query, knobs)

    def best(mask: np.ndarray) -> list[Hit]:
        total = beside_best(index, gathered, mask, knobs.weights)
        scores = probability(total, knobs.weights, evidence.clarity)
        rows = np.flatnonzero(mask & (scores >= knobs.threshold))
        rows = rows[np.lexsort((-rows, -total[rows]))]
        return [
            Hit(
                row,
                float(scores[row]),
                _why(evidence, row, knobs.weights, float(total[row] - gathered[row])),
                int(evidence.part[row]),
            )
            for row in _distinct(index, rows, limit)
        ]

    return [best(mask) for mask in masks]


def beside_best(
    index: Index, total: np.ndarray, allowed: np.ndarray | None, weights: Weights
) -> np.ndarray:
    """(passages,) the evidence, with `Weights.beside` more for the neighbours of the best.

    Where the best is wrong or not all, the answer is often next to it. A neighbour stays below it.

    Args:
        index: knows where scenes begin.
        total: (passages,) sums of the measures.
        allowed: (passages,) bool. The best is one of these.
        weights: those of the sums.
    """
    rows = np.arange(len(total)) if allowed is None else np.flatnonzero(allowed)
    if not weights.beside or not len(rows):
        return total
    best = int(rows[np.lexsort((rows, total[rows]))[-1]])
    below = np.nextafter(total[best], -np.inf, dtype=total.dtype)
    raised = total.copy()
    for row in index.neighbours(best):
        raised[row] = max(total[row], min(total[row] + weights.beside, below))
    return raised


def probability(
    evidence: np.ndarray, weights: Weights, clarity: np.ndarray | float = 1.0
) -> np.ndarray:
    """(passages,) how likely a passage with this much evidence is relevant.

    Args:
        evidence: (passages,) sums of the measures.
        weights: those of the sums.
        clarity: how far the evidence is the message's own, `Evidence.clarity`.
    """
    intercept = weights.intercept + (1 - clarity) * weights.adrift
    likely: np.ndarray = 1 / (1 + np.exp(-(weights.slope * evidence + intercept)))
    return likely


def first_to_embed(
    index: Index, query: Query, missing: np.ndarray, *, limit: int, newest: int
) -> np.ndarray:
    """Of the parts without a vector, (parts,) bool, those whose vectors matter most to the query.

    Up to `limit` part numbers, most urgent first: the `newest` at the end, then by rank in words.
    """
    total = index.of_parts(gather(index, query).total(CHAT))
    urgency = np.where(np.arange(len(total)) >= len(total) - newest, np.inf, total)
    parts = np.flatnonzero(missing)
    chosen: np.ndarray = parts[np.argsort(-urgency[parts], kind="stable")][:limit]
    return chosen


def _cosine(
    vectors: np.ndarray | None, vector: np.ndarray | None, floor: float
) -> np.ndarray | None:
    """(parts,) cosine above the floor, NaN where unknown."""
    if vectors is None or vector is None:
        return None
    cosine: np.ndarray = (vectors @ vector - floor) / (1 - floor)
    return cosine


def _in_view(
    index: Index,
    view: View,
    cosine: np.ndarray | None,
    groups: np.ndarray,
    around: np.ndarray,
    weights: Weights,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What one view of the query finds: measures, `Evidence.alone` and `Evidence.part`."""
    lexical = index.lexical.scores(view.terms, around)
    dense, dense_window = _dense(index, cosine, groups, around)
    starts = index.starts
    part = _best(
        index,
        weights.lexical_window * lexical.window
        + weights.dense * dense
        + weights.dense_window * dense_window,
    )
    measures = {
        "lexical_window": np.maximum.reduceat(lexical.window, starts),
        "lexical_own": lexical.own,
        "lexical_before": index.before(lexical.own, groups),
        "dense": np.maximum.reduceat(dense, starts),
        "dense_window": np.maximum.reduceat(dense_window, starts),
    }
    return measures, lexical.alone[part], part


def _dense(
    index: Index, cosine: np.ndarray | None, groups: np.ndarray, around: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(parts,) cosine, and its average over the window.

    A part that was not embedded counts as the lower quartile of those of its group that were.
    """
    if cosine is None:
        none = np.zeros(len(index.parts), dtype=np.float32)
        return none, none
    window = index.lexical.smooth(cosine, around)
    missing = np.isnan(cosine)
    if missing.any():
        of_parts, low = index.of_parts(groups), np.zeros_like(cosine)
        for group in np.unique(of_parts[~missing]):
            there = of_parts == group
            low[there] = np.quantile(cosine[there & ~missing], 0.25)
        cosine = np.where(missing, low, cosine)
        window = np.where(np.isnan(window), low, window)
    return cosine, window


def _clarity(own: Evidence, carries_on: float, groups: np.ndarray, weights: Weights) -> np.ndarray:
    """(passages,) how far the message speaks for itself in their group, 0 to 1: a logistic function
    of its best find there."""
    best = np.zeros(groups.max() + 1, dtype=np.float32)
    np.maximum.at(best, groups, own.total(weights))
    beyond = best.astype(np.float64) - CLEAR - CARRIED_ON * carries_on
    clarity = (1 / (1 + np.exp(-beyond / UNCLEAR))).astype(np.float32)
    of_passages: np.ndarray = clarity[groups]
    return of_passages


def _mixed(own: Evidence, chat: Evidence, clarity: np.ndarray) -> Evidence:
    """Both views' evidence; the part is that of the view which counts more."""
    mix = {
        name: clarity * it + (1 - clarity) * chat.measures.get(name, 0.0)
        for name, it in own.measures.items()
    }
    alone = clarity * own.alone + (1 - clarity) * chat.alone
    return Evidence(mix, alone, np.where(clarity >= 0.5, own.part, chat.part), clarity)


def _best(index: Index, by_part: np.ndarray) -> np.ndarray:
    """(passages,) the part with the most evidence, the first of equals."""
    starts = index.starts
    if len(starts) == len(by_part):
        return starts
    most = index.of_parts(np.maximum.reduceat(by_part, starts))
    first = np.where(by_part == most, np.arange(len(by_part)), len(by_part))
    best: np.ndarray = np.minimum.reduceat(first, starts)
    return best


def _circumstance(index: Index, query: Query, knobs: Knobs) -> np.ndarray:
    """(passages,) what recency and the running scene add."""
    bonus = np.zeros(len(index), dtype=np.float32)
    if knobs.recency:
        bonus += knobs.recency * np.linspace(0, 1, len(index), dtype=np.float32)
    if knobs.in_scene and query.scene:
        here = index.lexical.scene_number(query.scene)
        bonus += np.float32(knobs.in_scene) * (index.scenes() == here)
    return bonus


def _why(evidence: Evidence, row: int, weights: Weights, lift: float) -> tuple[str, ...]:
    """The kinds of evidence that make up a tenth of the whole or more, the strongest first.

    `lift` is what the passage has for standing beside the best.
    """
    measured = {name: float(it[row]) for name, it in evidence.measures.items()}
    window = weights.lexical_window * measured["lexical_window"]
    own = min(weights.lexical_window * float(evidence.alone[row]), window)
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


def _distinct(index: Index, rows: np.ndarray, limit: int) -> list[int]:
    """The first `limit` rows that do not repeat an earlier one."""
    chosen: list[int] = []
    seen: list[frozenset[str]] = []
    for row in map(int, rows):
        content = _content(index, row)
        if not any(_same(content, other) for other in seen):
            chosen.append(row)
            seen.append(content)
            if len(chosen) == limit:
                break
    return chosen


def _content(index: Index, row: int) -> frozenset[str]:
    """What a passage says, to be compared: its terms, or its text if it has none."""
    ends = index._starts[row + 1] if row + 1 < len(index) else len(index.parts)
    terms = {term for part in range(index._starts[row], ends) for term in index.lexical.terms(part)}
    return frozenset(terms or {normal(index.passages[row].text).strip()})


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    common = len(one & other)
    return common >= SAME * (len(one) + len(other) - common)
