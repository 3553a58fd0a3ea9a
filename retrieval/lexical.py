"""BM25 over single passages and over windows of neighbours, in an index that grows.

A part of a passage is scored in its *window*: its own terms and, weighted by `KERNEL`, those of the
parts around it in the same scene. What is remembered is often said in answer to a line that names
it ("Where did you learn it?" "At my grandmother's."), so what came before counts more than what
comes after.

BM25 is our own here because the index of a library is built once and for all: every turn adds
messages, and a window's term counts are weighted sums, not counts (`lab/retrieval.md` has the
times). Every count (document frequency, average length, windows) is taken over the passages that
may be found, so what is masked moves no score. Formula: Robertson and Zaragoza, "The Probabilistic
Relevance Framework" (2009), with Lucene's idf, which is never negative.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from schemas.rag import Corpus

K1, B = 1.2, 0.75  # Lucene's defaults; .9 to 1.6 and .2 to .75 differ by less than .01 here
KERNEL = {-2: 0.49, -1: 0.7, 0: 1.0, 1: 0.3, 2: 0.09}
"""Weight of the part so many places away: .7 a step back, .3 a step ahead."""
WIDE = {-3: 0.51, -2: 0.64, -1: 0.8, 0: 1.0, 1: 0.4, 2: 0.16, 3: 0.064}
"""The same in Korean, Japanese and Chinese, which leave out what was named before: a subject or an
object stands lines above the answer."""
REACH = 3
"""Places in a query between two terms that belong together."""
BYTES_OF_TERM, BYTES_OF_PART = 170, 160  # a text in a dict; a part's rows here and in `Candidates`
MAX_QUERY_TERMS = 48  # those that weigh most; keeps the cost of a long chat as query bounded


@dataclass(frozen=True, slots=True)
class Candidates:
    """The n passages that may be found and their p parts, counted as if there were no others but
    those of `corpus`.

    A number of a passage or part is its place among these, unless it is said to be of the index.
    """

    rows: np.ndarray  # (n,) the number in the index of each passage
    parts: np.ndarray  # (p,) the number in the index of each part
    place: np.ndarray  # (parts of the index,) the number of each here, -1 for those left out
    owner: np.ndarray  # (p,) passage of each part
    starts: np.ndarray  # (n,) first part of each passage
    scenes: np.ndarray  # (n,) the same number for those of one scene
    kernel: np.ndarray  # (offsets, 1) the weights of the places in a window
    windows: np.ndarray  # (offsets, p) the part that stands there in the scene, or p for none
    norms: np.ndarray  # (n,) BM25's norm by the number of terms
    window_norms: np.ndarray  # (p + 1,) the norm by the weighted terms in the window; 1 for no part
    richness: np.ndarray  # (n,) distinct terms of the parts, summed
    corpus: Corpus | None  # what they were chosen from, where they are few of many

    def idf(self, terms: Sequence[str], found: np.ndarray, total: int) -> np.ndarray:
        """(terms,) how rare each is that was `found` (terms,) so often in so many texts."""
        if self.corpus:
            found = np.maximum(found, [self.corpus.found.get(term, 0) for term in terms])
            total = max(total, self.corpus.messages)
        return _idf(found, total)

    def best_of_parts(self, values: np.ndarray) -> np.ndarray:
        """(n,) the highest of each passage's parts' (p,) values."""
        if len(self.starts) == len(values):
            return values
        best: np.ndarray = np.maximum.reduceat(values, self.starts)
        return best

    def before(self, values: np.ndarray) -> np.ndarray:
        """(n,) the value of the passage before, 0 where a scene begins."""
        moved = np.zeros_like(values)
        moved[1:] = np.where(self.scenes[1:] == self.scenes[:-1], values[:-1], 0)
        return moved

    def beside(self, passage: int) -> list[int]:
        """The passages right before and after, in its scene."""
        around = (at for at in (passage - 1, passage + 1) if 0 <= at < len(self.rows))
        return [at for at in around if self.scenes[at] == self.scenes[passage]]

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """(p,) each value averaged over its window by the kernel; NaN is left out, or stays."""
        known = ~np.isnan(values)
        total = self.windowed(np.where(known, values, np.float32(0)))
        with np.errstate(invalid="ignore"):
            average: np.ndarray = total / self.windowed(known)
        return average

    def windowed(self, values: np.ndarray) -> np.ndarray:
        """(p,) float32 the values in each window, weighted and summed."""
        return _windowed(values, self.windows, self.kernel)


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """How much of the query's information is found, 0 to 1."""

    window: np.ndarray  # (p,) in the part and around it
    own: np.ndarray  # (n,) in the passage as a whole
    alone: np.ndarray  # (p,) in the part by itself: why a hit was found, not how good it is


class _Found(NamedTuple):
    """The terms of a query, and where they occur among the candidates, one after the other."""

    names: list[str]
    weights: np.ndarray  # (names,) float32, that in the query times the idf among parts
    asked: np.ndarray  # (names,) that in the query
    terms: np.ndarray  # (found,) which term
    parts: np.ndarray  # (found,) in which part
    counts: np.ndarray  # (found,) float32, how often there


class LexicalIndex:
    """Which terms stand in which part; grows by `add`, shrinks from its end by `truncate`.

    A term is a number, and all that occur stand one part after the other. A query looks through
    the numbers (1 ms for 1,000,000), which take a tenth of the memory of lists for each term.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # of each term, by its first occurrence
        self._occurring = array("i")  # the distinct terms of each part
        self._how_often = array("f")  # how often each
        self._starts = array("i")  # of each part, its first in the two above
        self._known = array("i")  # of each part, how many terms there were before it
        self._lengths = array("f")
        self._owner = array("i")
        self._scenes = array("i")
        self._elliptic = array("b")
        self._scene_numbers: dict[str, int] = {}
        self._all: Candidates | None = None

    def __len__(self) -> int:
        """How many parts it holds."""
        return len(self._owner)

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        terms, occurring = len(self._numbers), len(self._occurring)
        return BYTES_OF_TERM * terms + 8 * occurring + BYTES_OF_PART * len(self)

    def add(
        self, terms: Sequence[str], *, passage: int, scene: str, elliptic: bool = False
    ) -> None:
        """Append one part. Parts of a passage, and passages, come in order.

        Args:
            terms: its words.
            passage: of which it is a part.
            scene: that the passage is in.
            elliptic: whether it is in a language of `WIDE` windows.
        """
        numbers = self._numbers
        self._starts.append(len(self._occurring))
        self._known.append(len(numbers))
        counts = Counter(terms)
        self._occurring.extend([numbers.setdefault(term, len(numbers)) for term in counts])
        self._how_often.extend(counts.values())
        self._lengths.append(len(terms))
        self._owner.append(passage)
        self._scenes.append(self._scene_numbers.setdefault(scene, len(self._scene_numbers)))
        self._elliptic.append(elliptic)
        self._all = None

    def truncate(self, length: int) -> None:
        """Forget all parts from `length` on, and the terms that came with them."""
        if length >= len(self):
            return
        while len(self._numbers) > self._known[length]:
            self._numbers.popitem()  # the one that came last
        first = self._starts[length]
        del self._occurring[first:], self._how_often[first:]
        del self._starts[length:], self._known[length:], self._lengths[length:]
        del self._owner[length:], self._scenes[length:], self._elliptic[length:]
        self._all = None

    def terms(self, part: int) -> array[int]:
        """The distinct terms of a part of the index, as numbers."""
        ends = self._starts[part + 1] if part + 1 < len(self) else len(self._occurring)
        return self._occurring[self._starts[part] : ends]

    def scene_number(self, scene: str) -> int:
        """What it has in `Candidates.scenes`, -1 if no part is of it."""
        return self._scene_numbers.get(scene, -1)

    def candidates(
        self, allowed: np.ndarray | None = None, corpus: Corpus | None = None
    ) -> Candidates:
        """The passages that may be found: all, or those of a mask (passages of the index,)."""
        everything = allowed is None or bool(allowed.all())
        if everything and not corpus and self._all:
            return self._all
        if allowed is None:
            allowed = np.ones(self._owner[-1] + 1 if self._owner else 0, dtype=bool)
        among = self._among(allowed, corpus)
        if everything and not corpus:
            self._all = among
        return among

    def _among(self, allowed: np.ndarray, corpus: Corpus | None) -> Candidates:
        of_parts = np.array(self._owner, dtype=np.intp)
        parts, rows = np.flatnonzero(allowed[of_parts]), np.flatnonzero(allowed)
        place = np.full(len(self), -1)
        place[parts] = np.arange(len(parts))
        owner = (np.cumsum(allowed) - 1)[of_parts[parts]]
        scenes = np.array(self._scenes)[parts]
        starts = np.searchsorted(owner, np.arange(len(rows)))
        lengths = np.array(self._lengths, dtype=np.float32)[parts]
        ends = np.append(np.array(self._starts)[1:], len(self._occurring))
        distinct = (ends - np.array(self._starts))[parts].astype(np.float32)
        wide = 2 * np.array(self._elliptic)[parts].sum() > len(parts)
        offsets, kernel = _WIDE if wide else _NARROW
        windows, of_passages = _windows(scenes, offsets), np.bincount(owner, lengths, len(rows))
        in_windows, mean, mean_window = _windowed(lengths, windows, kernel), None, None
        if corpus and corpus.messages:
            mean = corpus.terms / corpus.messages
            mean_window = mean * float(in_windows.sum() / max(1.0, lengths.sum()))
        return Candidates(
            rows=rows,
            parts=parts,
            place=place,
            owner=owner,
            starts=starts,
            scenes=scenes[starts],
            kernel=kernel,
            windows=windows,
            norms=_norms(of_passages.astype(np.float32), mean),
            window_norms=np.append(_norms(in_windows, mean_window), np.float32(1)),
            richness=np.bincount(owner, distinct, len(rows)).astype(np.float32),
            corpus=corpus,
        )

    def scores(self, query: Mapping[str, float], among: Candidates) -> LexicalScores:
        """BM25 of weighted query terms as a share of the most that any text could reach.

        The share makes long and short queries comparable; terms that occur nowhere count as
        missed. A term's idf is that among parts for windows, among passages for whole passages.
        """
        found = self._find(query, among)
        size, owner = len(found.names), among.owner[found.parts]
        in_windows = _factors(
            np.tile(found.terms, len(among.kernel)),
            among.windows[::-1, found.parts].ravel(),  # by whom it is seen at an offset
            (among.kernel * found.counts).ravel(),
            among.window_norms,
            size,
        )
        window = _weighted(in_windows, found.weights)[:-1]
        new = (np.diff(found.terms, prepend=-1) != 0) | (np.diff(owner, prepend=-1) != 0)
        passages = np.bincount(found.terms[new], minlength=size)
        idf = among.idf(found.names, passages, len(among.rows))
        of_passages = (found.asked * idf).astype(np.float32)
        own = _weighted(_factors(found.terms, owner, found.counts, among.norms, size), of_passages)
        alone = np.zeros(len(among.parts), dtype=np.float32)
        np.add.at(alone, found.parts, found.weights[found.terms])
        most, most_own = found.weights.sum() + 1e-9, of_passages.sum() + 1e-9
        return LexicalScores(window / most, own / most_own, alone / most)

    def near(self, query: Mapping[str, float], among: Candidates) -> np.ndarray:
        """(p,) how near terms stand that are near in the query, 0 to 1.

        A pair's idf counts whole where a part has the one right after the other, half in the other
        order, and less by their distance in distinct terms (the sequential dependence of Metzler
        and Croft, 2005).
        """
        nearness = np.zeros(len(among.parts), dtype=np.float32)
        found = self._find(query, among)
        idf = dict(zip(found.names, (found.weights / found.asked).tolist(), strict=True))
        parts: defaultdict[str, set[int]] = defaultdict(set)
        for term, part in zip(found.terms.tolist(), found.parts.tolist(), strict=True):
            parts[found.names[term]].add(part)
        terms = [term for term in query if term in idf]
        most = 1e-9
        for at, first in enumerate(terms):
            for second in terms[at + 1 : at + 1 + REACH]:
                most += idf[first] + idf[second]
                for part in parts[first] & parts[second]:
                    order = self.terms(among.parts[part])
                    gap = order.index(self._numbers[second]) - order.index(self._numbers[first])
                    share = 1 / gap if gap > 0 else -0.5 / gap
                    nearness[part] += (idf[first] + idf[second]) * share
        nearness /= np.float32(most)
        return nearness

    def _find(self, query: Mapping[str, float], among: Candidates) -> _Found:
        """The `MAX_QUERY_TERMS` that weigh most."""
        names, asked = [*query], np.array([*query.values()], dtype=np.float64)
        wanted = np.full(len(self._numbers), -1, dtype=np.int32)
        for at, name in enumerate(names):
            if name in self._numbers:
                wanted[self._numbers[name]] = at
        terms = wanted[np.array(self._occurring)]
        hits = np.flatnonzero(terms >= 0)
        hits = hits[np.argsort(terms[hits], kind="stable")]  # term by term, parts ascending
        terms = terms[hits]
        places = among.place[np.searchsorted(np.array(self._starts), hits, side="right") - 1]
        inside = places >= 0
        terms, places = terms[inside], places[inside]
        occurring = np.array(self._how_often)[hits[inside]]
        occurs_in = np.bincount(terms, minlength=len(names))
        weights = asked * among.idf(names, occurs_in, len(among.parts))
        if len(names) > MAX_QUERY_TERMS:
            heaviest = sorted(range(len(names)), key=lambda at: (-weights[at], names[at]))
            kept = np.array(heaviest[:MAX_QUERY_TERMS])
            number = np.full(len(names), -1)
            number[kept] = np.arange(len(kept))
            terms = number[terms]
            stays = terms >= 0
            terms, places, occurring = terms[stays], places[stays], occurring[stays]
            names, asked, weights = [names[at] for at in kept], asked[kept], weights[kept]
        return _Found(names, weights.astype(np.float32), asked, terms, places, occurring)


def _columns(kernel: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """(offsets, 1) the places of a window, as many on each side, and their weights."""
    return np.array([*kernel])[:, None], np.array([*kernel.values()], dtype=np.float32)[:, None]


_NARROW, _WIDE = _columns(KERNEL), _columns(WIDE)


def _windows(scenes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(offsets, p) the part that stands there in the same scene, or p for none."""
    here = np.arange(len(scenes))
    there = here + offsets
    inside = (there >= 0) & (there < len(scenes))
    same = inside & (scenes[np.where(inside, there, here)] == scenes)
    return np.where(same, there, len(scenes))


def _windowed(values: np.ndarray, windows: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(p,) float32 the values in each window, weighted and summed."""
    total: np.ndarray = (kernel * np.append(values, values.dtype.type(0))[windows]).sum(axis=0)
    return total


def _factors(
    terms: np.ndarray, texts: np.ndarray, counts: np.ndarray, norms: np.ndarray, size: int
) -> np.ndarray:
    """(size, texts) BM25's factor of each term in each text, 0 to 1.

    Args:
        terms: (found,) which term was found,
        texts: (found,) in which text,
        counts: (found,) and how often; what is found twice adds up.
        norms: (texts,) what a count is compared with.
    """
    factors = np.zeros((size, len(norms)), dtype=np.float32)
    np.add.at(factors.reshape(-1), terms * len(norms) + texts, counts)
    factors /= factors + norms
    return factors


def _weighted(factors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(texts,) summed term by term, not as a matrix product: equal texts get equal sums.

    Overwrites the factors.
    """
    factors *= weights[:, None]
    total: np.ndarray = factors.sum(axis=0)
    return total


def _norms(lengths: np.ndarray, mean: float | None) -> np.ndarray:
    """What BM25 adds to a count in a text of this length: a longer one says less by it.

    `mean` is the length of an average text, by default of these.
    """
    if mean is None:
        mean = float(lengths.mean()) if len(lengths) else 0.0
    norms: np.ndarray = K1 * (1 - B + B * lengths / max(1.0, mean))
    return norms


def _idf(found: np.ndarray, total: int) -> np.ndarray:
    idf: np.ndarray = np.log(1 + (total - found + 0.5) / (found + 0.5))
    return idf
