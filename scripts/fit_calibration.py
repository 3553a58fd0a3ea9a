"""Fit what turns evidence into a probability: `slope` and `intercept` of `retrieval.hybrid`.

    python -m scripts.fit_calibration --chat FILE.chat.jsonl... --story FILE.story.jsonl...

A logistic regression on every pair of a question and a passage. Prints the two numbers for `CHAT`
and for `STORY`, and beside each range of scores the share of pairs that were in fact relevant.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.corpus import Case, read_chats, read_stories
from embedding.onnx import OnnxEmbeddings
from retrieval.hybrid import CHAT, STORY, Knobs, Weights, gather, probability

BINS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
STEPS = 50  # of Newton's method; it stands still after ten


def pairs(
    cases: Iterable[Case], weights: Weights, embeddings: OnnxEmbeddings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Evidence and relevance of all passages, (passages,) each, for question after question."""
    for case in cases:
        vectors = embeddings.encode(case.index.parts)
        for question in case.questions:
            evidence = gather(
                case.index,
                question.query,
                vectors=vectors,
                query_vectors=embeddings.encode(question.query.texts),
                knobs=Knobs(weights=weights),
            )
            relevant = np.array([passage in question.gold for passage in case.ids])
            yield evidence.total(weights), relevant


def fit(evidence: np.ndarray, relevant: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic regression, by Newton's method."""
    inputs = np.stack([evidence.astype(np.float64), np.ones(len(evidence))], axis=1)
    solution = np.zeros(2)
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-inputs @ solution))
        spread = inputs.T @ (inputs * (likely * (1 - likely))[:, None])
        solution += np.linalg.solve(spread, inputs.T @ (relevant - likely))
    return float(solution[0]), float(solution[1])


def report(name: str, weights: Weights, evidence: np.ndarray, relevant: np.ndarray) -> None:
    """Print the fit, and how true the scores are."""
    slope, intercept = fit(evidence, relevant)
    print(f"{name}: slope={slope:.1f}, intercept={intercept:.1f}")
    scores = probability(evidence, replace(weights, slope=slope, intercept=intercept))
    for low, high in pairwise(BINS):
        inside = (scores >= low) & (scores < high)
        if inside.any():
            print(f"  score {low:4.2f} to {high:4.2f}: {relevant[inside].mean():.3f} relevant")


def main() -> None:
    """Fit both kinds of text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chat", nargs="*", type=Path, default=[])
    parser.add_argument("--story", nargs="*", type=Path, default=[])
    arguments = parser.parse_args()
    embeddings = OnnxEmbeddings()
    kinds = (
        ("CHAT", CHAT, [case for path in arguments.chat for case in read_chats(path)]),
        ("STORY", STORY, [case for path in arguments.story for case in read_stories(path)]),
    )
    for name, weights, cases in kinds:
        if cases:
            evidence, relevant = zip(*pairs(cases, weights, embeddings), strict=True)
            report(name, weights, np.concatenate(evidence), np.concatenate(relevant))


if __name__ == "__main__":
    main()
