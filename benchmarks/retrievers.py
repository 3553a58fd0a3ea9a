"""The retrievers that the benchmarks compare: the usual build, BM25, and ours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.corpus import Case, Question
from embedding.embedder import scale_for
from embedding.onnx import E5, MINILM, Bundled, OnnxEmbeddings
from language.script import script_of
from retrieval.hybrid import Knobs, Weights, rank
from retrieval.query import view_vectors
from retrieval.vectors import first_to_embed
from schemas.rag import Query

NAMES = ("hybrid", "dense", "bm25")
DEPTH = 20  # how many are asked for

_NOTHING = Weights(
    lexical_window=0, lexical_own=0, dense=0, dense_window=0, speaker=0, richness=0, question=0
)


@dataclass(slots=True)
class Retriever:
    """Ranks a case's passages for its questions.

    Args:
        name: of `NAMES`. `dense` is one vector per part, `bm25` single passages.
        only: the embedder; unset, that of the script of each case.
        cold: embed no more than this share of the parts, chosen anew for each question.
    """

    name: str
    only: Bundled | None = None
    cold: float | None = None
    _loaded: dict[str, OnnxEmbeddings] = field(default_factory=dict)

    def vectors(self, case: Case) -> np.ndarray | None:
        """(parts, d) of all parts, made beforehand."""
        return None if self.name == "bm25" else self._passages(case, case.index.parts)

    def find(
        self,
        case: Case,
        question: Question,
        vectors: np.ndarray | None,
        allowed: np.ndarray | None = None,
    ) -> tuple[list[str], float]:
        """The ids found, best first, and the milliseconds: embedding the message and ranking.

        The running chat is embedded beforehand, as it is after the last reply.
        """
        if self.cold is not None and vectors is not None:
            vectors = self._known(case, question, vectors)
        query = self._query(case, question)
        chat = None if vectors is None else self._passages(case, query.texts[1:])
        start = time.perf_counter()
        hits = rank(
            case.index,
            query,
            limit=DEPTH,
            vectors=vectors,
            query_vectors=None if chat is None else self._views(case, query, chat),
            allowed=allowed,
            knobs=self._knobs(case),
        )
        elapsed = 1000 * (time.perf_counter() - start)
        return [case.index.passages[hit.row].id for hit in hits], elapsed

    def _model(self, case: Case) -> OnnxEmbeddings:
        """The embedder that the product would choose."""
        model = self.only or (E5 if script_of(case.index.parts) == "cjk" else MINILM)
        return self._loaded.setdefault(model.name, OnnxEmbeddings(model))

    def _passages(self, case: Case, texts: Sequence[str]) -> np.ndarray:
        model = self._model(case)
        return model.encode([model.model.passage + text for text in texts])

    def _query(self, case: Case, question: Question) -> Query:
        """With the scale of the embedder's cosines in its language, for ours alone."""
        query = question.query
        if self.name != "hybrid":
            return query
        scale = scale_for(self._model(case).cosine_scales, " ".join(query.texts))
        return replace(query, cosines=scale)

    def _views(self, case: Case, query: Query, chat: np.ndarray) -> np.ndarray:
        """The vectors to search with, from that of the message and those of the running chat."""
        model = self._model(case)
        message = model.encode([model.model.query + text for text in query.texts[:1]])
        return view_vectors(query, np.concatenate([message, chat]))

    def _knobs(self, case: Case) -> Knobs:
        match self.name:
            case "dense":
                return Knobs(weights=_only("dense"))
            case "bm25":
                return Knobs(weights=_only("lexical_own"))
            case _:
                return Knobs(weights=case.weights)

    def _known(self, case: Case, question: Question, vectors: np.ndarray) -> np.ndarray:
        """The vectors that a first turn has the time to make; the others NaN."""
        limit = round((self.cold or 0) * len(vectors))
        parts = np.arange(len(vectors))
        rows = first_to_embed(case.index, question.query, parts, limit, newest=limit // 10)
        known = np.full_like(vectors, np.nan)
        known[rows] = vectors[rows]
        return known


def _only(measure: str) -> Weights:
    return replace(_NOTHING, **{measure: 1.0})
