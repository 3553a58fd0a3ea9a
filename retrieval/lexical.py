"""BM25 over single passages and over windows of neighbours, in an index that grows.

A part of a passage is scored in its *window*: its own terms and, weighted by `KERNEL`, those of the
parts around it in the same scene. What is remembered is often said in answer to a line that names
it ("Where did you learn it?" "At my grandmother's."), so what came before counts more than what
comes after.

BM25 is our own here because the index of a library is built once and for all: every turn adds
messages, and a window's term counts are weighted sums, not counts (`docs/retrieval.md` has the
times). Formula: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with
Lucene's idf, which is never negative.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

K1, B = 1.2, 0.75  # Lucene's defaults; .9 to 1.6 and .2 to .75 differ by less than .01 here
KERNEL = {-2: 0.49, -1: 0.7, 0: 1.0, 1: 0.3, 2: 0.09}
"""Weight of the part so many places away: .7 a step back, .3 a step ahead."""
REACH = 3
"""Places in a query between two terms that belong together."""
MAX_QUERY_TERMS = 48  # those that weigh most; keeps the cost of a long chat as query bounded


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """How much of the query's information is found, 0 to 1."""

    window: np.ndarray  # (parts,) in the part and around it
    own: np.ndarray  # (passages,) in the passage as a whole
    alone: np.ndarray  # (parts,) in the part by itself: why a hit was found, not how good it is


@dataclass(slots=True)
class _Posting:
    """Where a term occurs: parts in ascending order, and how often in each."""

    parts: array[int] = field(default_factory=lambda: array("i"))
    counts: array[float] = field(default_factory=lambda: array("f"))


@dataclass(frozen=True, slots=True)
class _Layout:
    """The index as arrays, made anew after it has grown."""

    owner: np.ndarray  # (parts,) passage of each part
    norms: np.ndarray  # (passages,) BM25's norm by the number of terms
    richness: np.ndarray  # (passages,) distinct terms
    windows: np.ndarray  # (parts,) the same by the weighted terms in the window
    targets: dict[int, np.ndarray]  # offset: (parts,) the part that sees this one there, or -1


class LexicalIndex:
    """Terms to parts; grows by `add`, shrinks from its end by `truncate`."""

    def __init__(self) -> None:
        self._postings: dict[str, _Posting] = {}
        self._terms: list[tuple[str, ...]] = []  # of each part
        self._lengths = array("f")
        self._owner = array("i")
        self._scenes = array("i")
        self._scene_numbers: dict[str, int] = {}
        self._layout: _Layout | None = None

    def __len__(self) -> int:
        """How many parts it holds."""
        return len(self._terms)

    def add(self, terms: Sequence[str], *, passage: int, scene: str) -> None:
        """Append one part. Parts of a passage, and passages, come in order."""
        part = len(self._terms)
        counts = Counter(terms)
        for term, count in counts.items():
            posting = self._postings.setdefault(term, _Posting())
            posting.parts.append(part)
            posting.counts.append(count)
        self._terms.append(tuple(counts))
        self._lengths.append(len(terms))
        self._owner.append(passage)
        self._scenes.append(self._scene_numbers.setdefault(scene, len(self._scene_numbers)))
        self._layout = None

    def truncate(self, length: int) -> None:
        """Forget all parts from `length` on: postings end with them, as parts ascend."""
        for terms in reversed(self._terms[length:]):
            for term in terms:
                posting = self._postings[term]
                posting.parts.pop()
                posting.counts.pop()
                if not posting.parts:
                    del self._postings[term]
        del self._terms[length:], self._lengths[length:]
        del self._owner[length:], self._scenes[length:]
        self._layout = None

    def terms(self, part: int) -> tuple[str, ...]:
        """The distinct terms of a part."""
        return self._terms[part]

    def richness(self) -> np.ndarray:
        """(passages,) distinct terms of the parts, summed."""
        return self._arrays().richness

    def scores(self, query: Mapping[str, float], usable: np.ndarray | None = None) -> LexicalScores:
        """BM25 of weighted query terms as a share of the most that any text could reach.

        The share makes long and short queries comparable; terms that occur nowhere count as
        missed. A term's idf is that among parts for windows, among passages for whole passages.
        Parts that are not `usable`, (parts,) bool, score nothing and lend nothing to a window.
        """
        layout = self._arrays()
        window = np.zeros(len(self), dtype=np.float32)
        alone = np.zeros_like(window)
        own = np.zeros(len(layout.norms), dtype=np.float32)
        most = most_own = 1e-9
        for term, weight, idf in self._heaviest(query):
            most += weight * idf
            posting = self._postings.get(term)
            if posting is None:
                most_own += weight * _idf(0, len(own))
                continue
            parts = np.array(posting.parts, dtype=np.intp)
            counts = np.array(posting.counts, dtype=np.float32)
            idf_own = _idf(len(np.unique(layout.owner[parts])), len(own))
            if usable is not None:
                parts, counts = parts[usable[parts]], counts[usable[parts]]
            window += weight * idf * _saturated(_windowed(parts, counts, layout), layout.windows)
            alone[parts] += weight * idf
            in_passages = np.bincount(layout.owner[parts], counts, len(own))
            own += weight * idf_own * _saturated(in_passages, layout.norms)
            most_own += weight * idf_own
        return LexicalScores(window / most, own / most_own, alone / most)

    def near(self, query: Mapping[str, float], usable: np.ndarray | None = None) -> np.ndarray:
        """(parts,) how near terms stand that are near in the query, 0 to 1.

        A pair's idf counts whole where a part has the one right after the other, half in the other
        order, and less by their distance in distinct terms (the sequential dependence of Metzler
        and Croft, 2005). Parts that are not `usable`, (parts,) bool, score nothing.
        """
        found = np.zeros(len(self), dtype=np.float32)
        idf = {term: idf for term, _, idf in self._heaviest(query)}
        terms = [term for term in query if term in idf]
        parts = {term: set(self._postings[term].parts) for term in terms if term in self._postings}
        most = 1e-9
        for at, first in enumerate(terms):
            for second in terms[at + 1 : at + 1 + REACH]:
                most += idf[first] + idf[second]
                for part in parts.get(first, set()) & parts.get(second, set()):
                    order = self._terms[part]
                    gap = order.index(second) - order.index(first)
                    found[part] += (idf[first] + idf[second]) * (1 / gap if gap > 0 else -0.5 / gap)
        if usable is not None:
            found[~usable] = 0
        nearness: np.ndarray = found / np.float32(most)
        return nearness

    def _heaviest(self, query: Mapping[str, float]) -> list[tuple[str, float, float]]:
        """Terms, weights and idf; the `MAX_QUERY_TERMS` that weigh most."""
        found = {term: self._postings.get(term) for term in query}
        idf = {
            term: _idf(len(posting.parts) if posting else 0, len(self))
            for term, posting in found.items()
        }
        heaviest = sorted(query, key=lambda term: (-query[term] * idf[term], term))
        return [(term, query[term], idf[term]) for term in heaviest[:MAX_QUERY_TERMS]]

    def _arrays(self) -> _Layout:
        if self._layout is None:
            owner = np.array(self._owner, dtype=np.intp)
            lengths = np.array(self._lengths, dtype=np.float32)
            targets = _targets(np.array(self._scenes, dtype=np.intp))
            window_lengths = np.zeros_like(lengths)
            for offset, target in targets.items():
                seen = target >= 0
                window_lengths[target[seen]] += KERNEL[offset] * lengths[seen]
            distinct = np.array([len(terms) for terms in self._terms], dtype=np.float32)
            self._layout = _Layout(
                owner=owner,
                norms=_norms(np.bincount(owner, lengths).astype(np.float32)),
                richness=np.bincount(owner, distinct).astype(np.float32),
                windows=_norms(window_lengths),
                targets=targets,
            )
        return self._layout

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """(parts,) each value averaged over its window by `KERNEL`; NaN is left out, or stays."""
        total = np.zeros_like(values)
        weight = np.zeros_like(values)
        known = ~np.isnan(values)
        for offset, target in self._arrays().targets.items():
            seen = (target >= 0) & known
            total[target[seen]] += KERNEL[offset] * values[seen]
            weight[target[seen]] += KERNEL[offset]
        with np.errstate(invalid="ignore"):
            average: np.ndarray = total / weight
        return average


def _targets(scenes: np.ndarray) -> dict[int, np.ndarray]:
    """For each offset the part whose window holds this one at that offset, or -1."""
    here = np.arange(len(scenes))
    targets = {}
    for offset in KERNEL:
        target = here - offset
        inside = (target >= 0) & (target < len(scenes))
        inside[inside] = scenes[target[inside]] == scenes[inside]
        targets[offset] = np.where(inside, target, -1)
    return targets


def _windowed(parts: np.ndarray, counts: np.ndarray, layout: _Layout) -> np.ndarray:
    """(parts,) a term's weighted count in each window."""
    found = np.zeros(len(layout.owner), dtype=np.float32)
    for offset, target in layout.targets.items():
        at = target[parts]
        seen = at >= 0
        found[at[seen]] += KERNEL[offset] * counts[seen]
    return found


def _norms(lengths: np.ndarray) -> np.ndarray:
    """What BM25 adds to a count in a text of this length: it is longer than others, so it says
    less."""
    norms: np.ndarray = K1 * (1 - B + B * lengths / max(1.0, float(lengths.mean())))
    return norms


def _saturated(counts: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """BM25's factor of a term from its counts and the norms of the texts, 0 to 1."""
    factor = np.zeros(len(counts), dtype=np.float32)
    at = np.flatnonzero(counts)
    factor[at] = counts[at] / (counts[at] + norms[at])
    return factor


def _idf(found: int, total: int) -> float:
    return math.log(1 + (total - found + 0.5) / (found + 0.5))
