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

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

K1, B = 1.2, 0.75  # Lucene's defaults; .9 to 1.6 and .2 to .75 differ by less than .01 here
KERNEL = {-2: 0.49, -1: 0.7, 0: 1.0, 1: 0.3, 2: 0.09}
"""Weight of the part so many places away: .7 a step back, .3 a step ahead."""
_OFFSETS = np.array([*KERNEL])[:, None]
_KERNEL = np.array([*KERNEL.values()], dtype=np.float32)[:, None]
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
    passages: int = 0  # to which the parts belong


_NOWHERE = _Posting()


class _Asked(NamedTuple):
    """The terms of a query."""

    terms: list[str]
    postings: list[_Posting]
    weights: np.ndarray  # (terms,) in the query
    idf: np.ndarray  # (terms,) among parts


class _Occurrences(NamedTuple):
    """Where the terms of a query occur, one after the other."""

    terms: np.ndarray  # (found,) which term
    parts: np.ndarray  # (found,) in which part
    counts: np.ndarray  # (found,) how often there


@dataclass(frozen=True, slots=True)
class _Layout:
    """The index as arrays, made anew after it has grown."""

    owner: np.ndarray  # (parts,) passage of each part
    norms: np.ndarray  # (passages,) BM25's norm by the number of terms
    richness: np.ndarray  # (passages,) distinct terms
    windows: np.ndarray  # (parts + 1,) the norm by the weighted terms in the window; 1 for no part
    around: np.ndarray  # (offsets, parts) the part that stands there, or `parts` for none


class LexicalIndex:
    """Terms to parts; grows by `add`, shrinks from its end by `truncate`."""

    def __init__(self) -> None:
        self._postings: defaultdict[str, _Posting] = defaultdict(_Posting)
        self._terms: list[tuple[str, ...]] = []  # of each part
        self._lengths = array("f")
        self._distinct = array("f")
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
            posting = self._postings[term]
            if not posting.parts or self._owner[posting.parts[-1]] != passage:
                posting.passages += 1
            posting.parts.append(part)
            posting.counts.append(count)
        self._terms.append(tuple(counts))
        self._lengths.append(len(terms))
        self._distinct.append(len(counts))
        self._owner.append(passage)
        self._scenes.append(self._scene_numbers.setdefault(scene, len(self._scene_numbers)))
        self._layout = None

    def truncate(self, length: int) -> None:
        """Forget all parts from `length` on: postings end with them, as parts ascend."""
        for part in range(len(self) - 1, length - 1, -1):
            for term in self._terms[part]:
                posting = self._postings[term]
                posting.parts.pop()
                posting.counts.pop()
                if not posting.parts:
                    del self._postings[term]
                elif self._owner[posting.parts[-1]] != self._owner[part]:
                    posting.passages -= 1
        del self._terms[length:], self._lengths[length:], self._distinct[length:]
        del self._owner[length:], self._scenes[length:]
        self._layout = None

    def terms(self, part: int) -> tuple[str, ...]:
        """The distinct terms of a part."""
        return self._terms[part]

    def owner(self) -> np.ndarray:
        """(parts,) the passage of each part."""
        return self._arrays().owner

    def scenes(self) -> np.ndarray:
        """(parts,) the number of the scene of each part."""
        return np.array(self._scenes)

    def scene_number(self, scene: str) -> int:
        """What it has in `scenes`, -1 if no part is of it."""
        return self._scene_numbers.get(scene, -1)

    def richness(self) -> np.ndarray:
        """(passages,) distinct terms of the parts, summed."""
        return self._arrays().richness

    def scores(self, query: Mapping[str, float], around: np.ndarray | None = None) -> LexicalScores:
        """BM25 of weighted query terms as a share of the most that any text could reach.

        The share makes long and short queries comparable; terms that occur nowhere count as
        missed. A term's idf is that among parts for windows, among passages for whole passages.
        Windows are all of a scene, or `around` (from `around`).
        """
        layout, asked = self._arrays(), self._heaviest(query)
        around = layout.around if around is None else around
        found = _occurrences(asked.postings)
        in_parts = (asked.weights * asked.idf).astype(np.float32)
        of_passages = np.array([posting.passages for posting in asked.postings], dtype=np.float32)
        in_passages = (asked.weights * _idf(of_passages, len(layout.norms))).astype(np.float32)
        in_windows = _Occurrences(
            np.tile(found.terms, len(KERNEL)),
            around[::-1, found.parts].ravel(),  # by whom it is seen at an offset
            (_KERNEL * found.counts).ravel(),
        )
        window = _weighted(in_windows, in_parts, layout.windows)[:-1]
        own = _weighted(found._replace(parts=layout.owner[found.parts]), in_passages, layout.norms)
        alone = np.zeros(len(self), dtype=np.float32)
        np.add.at(alone, found.parts, in_parts[found.terms])
        most, most_own = in_parts.sum() + 1e-9, in_passages.sum() + 1e-9
        return LexicalScores(window / most, own / most_own, alone / most)

    def near(self, query: Mapping[str, float]) -> np.ndarray:
        """(parts,) how near terms stand that are near in the query, 0 to 1.

        A pair's idf counts whole where a part has the one right after the other, half in the other
        order, and less by their distance in distinct terms (the sequential dependence of Metzler
        and Croft, 2005).
        """
        found = np.zeros(len(self), dtype=np.float32)
        asked = self._heaviest(query)
        idf = dict(zip(asked.terms, asked.idf.tolist(), strict=True))
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
        nearness: np.ndarray = found / np.float32(most)
        return nearness

    def _heaviest(self, query: Mapping[str, float]) -> _Asked:
        """The `MAX_QUERY_TERMS` that weigh most."""
        terms, weights = [*query], np.array([*query.values()], dtype=np.float64)
        postings = [self._postings.get(term, _NOWHERE) for term in terms]
        idf = _idf(np.array([len(posting.parts) for posting in postings]), len(self))
        if len(terms) <= MAX_QUERY_TERMS:
            return _Asked(terms, postings, weights, idf)
        lightness = (-weights * idf).tolist()
        rows = sorted(range(len(terms)), key=lambda row: (lightness[row], terms[row]))
        rows = rows[:MAX_QUERY_TERMS]
        kept = [terms[row] for row in rows], [postings[row] for row in rows]
        return _Asked(*kept, weights[rows], idf[rows])

    def _arrays(self) -> _Layout:
        if self._layout is None:
            owner = np.array(self._owner, dtype=np.intp)
            lengths = np.array(self._lengths, dtype=np.float32)
            around = _around(self.scenes())
            self._layout = _Layout(
                owner=owner,
                norms=_norms(np.bincount(owner, lengths).astype(np.float32)),
                richness=np.bincount(owner, self._distinct).astype(np.float32),
                windows=np.append(_norms(_windowed(lengths, around)), np.float32(1)),
                around=around,
            )
        return self._layout

    def around(self, groups: np.ndarray) -> np.ndarray:
        """Windows in which only parts of the same group lend to each other.

        Args:
            groups: (parts,) the number of each part's.

        Returns:
            (offsets, parts) the part that stands there in the window, or `parts` for none.
        """
        around = self._arrays().around
        if (groups == groups[0]).all():
            return around
        return np.where(np.append(groups, -1)[around] == groups, around, len(groups))

    def smooth(self, values: np.ndarray, around: np.ndarray | None = None) -> np.ndarray:
        """(parts,) each value averaged over its window by `KERNEL`; NaN is left out, or stays.

        Windows are all of a scene, or `around` (from `around`).
        """
        around, known = self._arrays().around if around is None else around, ~np.isnan(values)
        total = _windowed(np.where(known, values, np.float32(0)), around)
        with np.errstate(invalid="ignore"):
            average: np.ndarray = total / _windowed(known, around)
        return average


def _around(scenes: np.ndarray) -> np.ndarray:
    """(offsets, parts) the part that stands there in the same scene, or `parts` for none."""
    here = np.arange(len(scenes))
    there = here + _OFFSETS
    inside = (there >= 0) & (there < len(scenes))
    same = inside & (scenes[np.where(inside, there, here)] == scenes)
    return np.where(same, there, len(scenes))


def _windowed(values: np.ndarray, around: np.ndarray) -> np.ndarray:
    """(parts,) float32 the values in each window, weighted and summed."""
    total: np.ndarray = (_KERNEL * np.append(values, values.dtype.type(0))[around]).sum(axis=0)
    return total


def _occurrences(postings: Sequence[_Posting]) -> _Occurrences:
    """Of the terms of these postings."""
    parts, counts = array("i"), array("f")
    for posting in postings:
        parts += posting.parts
        counts += posting.counts
    return _Occurrences(
        np.repeat(np.arange(len(postings)), [len(posting.parts) for posting in postings]),
        np.array(parts, dtype=np.intp),
        np.array(counts, dtype=np.float32),
    )


def _weighted(found: _Occurrences, weights: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """(texts,) BM25's factors of the terms, each 0 to 1, weighted and summed.

    Args:
        found: terms in texts, which it calls parts; their counts add up.
        weights: (terms,) float32.
        norms: (texts,) what a count is compared with.
    """
    factors = np.zeros((len(weights), len(norms)), dtype=np.float32)
    np.add.at(factors.reshape(-1), found.terms * len(norms) + found.parts, found.counts)
    factors /= factors + norms
    factors *= weights[:, None]
    total: np.ndarray = factors.sum(axis=0)  # term by term: equal texts get equal sums
    return total


def _norms(lengths: np.ndarray) -> np.ndarray:
    """What BM25 adds to a count in a text of this length: it is longer than others, so it says
    less."""
    norms: np.ndarray = K1 * (1 - B + B * lengths / max(1.0, float(lengths.mean())))
    return norms


def _idf(found: np.ndarray, total: int) -> np.ndarray:
    idf: np.ndarray = np.log(1 + (total - found + 0.5) / (found + 0.5))
    return idf
