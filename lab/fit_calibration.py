"""Fit what turns evidence into a probability: `slope`, `intercept`, `running_chat`.

    python -m lab.fit_calibration --chat FILE.chat.jsonl... --story FILE.story.jsonl...

A logistic regression on every pair of a question and a passage. Chats are read twice: as they are,
and with every question in a chat that has nothing to do with it, as if it only carried that on.
Prints the numbers for `CHAT` and for `STORY`, and beside each range of scores the share of pairs
that were in fact relevant.
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
from retrieval.hybrid import CHAT, STORY, Weights, beside_best, gather
from retrieval.query import view_vectors

BINS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
STEPS = 50  # of Newton's method; it stands still after ten


def pairs(
    cases: Iterable[Case], weights: Weights, embeddings: OnnxEmbeddings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs (passages, 3) and relevance (passages,) of all passages, question after question.

    The inputs are the evidence, 1, and how far the running chat speaks.
    """
    for case in cases:
        vectors = embeddings.encode(case.index.parts)
        for question in case.questions:
            among = case.index.lexical.candidates()
            evidence = gather(
                case.index,
                question.query,
                among,
                vectors=vectors,
                query_vectors=view_vectors(question.query, embeddings.encode(question.query.texts)),
                weights=weights,
            )
            relevant = np.array([passage in question.gold for passage in case.ids])
            total = beside_best(among, evidence.total(weights), weights)
            total = total.astype(np.float64)
            ones = np.ones_like(total)
            yield np.stack([total, ones, ones - evidence.clarity], axis=1), relevant


def unrelated(path: Path) -> Iterator[Case]:
    """The conversations of a file, with a running chat that leads nowhere."""
    for case in read_chats(path, interrupted=True):
        questions = [
            replace(question, query=replace(question.query, follow_up=1.0))
            for question in case.questions
        ]
        yield replace(case, questions=questions)


def fit(inputs: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The coefficients of the logistic regression, by Newton's method; 0 for an empty column."""
    inputs = inputs[:, inputs.any(axis=0)]
    solution = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-inputs @ solution))
        spread = inputs.T @ (inputs * (likely * (1 - likely))[:, None])
        solution += np.linalg.solve(spread, inputs.T @ (relevant - likely))
    return np.pad(solution, (0, 3 - len(solution)))


def report(name: str, inputs: np.ndarray, relevant: np.ndarray) -> None:
    """Print the fit, and how true the scores are."""
    slope, intercept, chat = fit(inputs, relevant)
    print(f"{name}: slope={slope:.1f}, intercept={intercept:.1f}, running_chat={chat:.1f}")
    scores = 1 / (1 + np.exp(-inputs @ [slope, intercept, chat]))
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
        (
            "CHAT",
            CHAT,
            [case for path in arguments.chat for case in (*read_chats(path), *unrelated(path))],
        ),
        ("STORY", STORY, [case for path in arguments.story for case in read_stories(path)]),
    )
    for name, weights, cases in kinds:
        if cases:
            inputs, relevant = zip(*pairs(cases, weights, embeddings), strict=True)
            report(name, np.concatenate(inputs), np.concatenate(relevant))


if __name__ == "__main__":
    main()
