"""How good a ranking is: recall, NDCG, MRR, hits, and times. Ids in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

CUTOFFS = (1, 3, 5, 10, 20)


def measures(ranking: Sequence[str], gold: set[str]) -> dict[str, float]:
    """Everything about one ranking, best first, against the relevant ids."""
    found = [at for at, item in enumerate(ranking) if item in gold]
    result = {"mrr": 1 / (found[0] + 1) if found else 0.0, "ndcg@10": _ndcg(found, len(gold), 10)}
    for cutoff in CUTOFFS:
        within = sum(at < cutoff for at in found)
        result[f"recall@{cutoff}"] = within / len(gold)
        result[f"hit@{cutoff}"] = float(within > 0)
    return result


def _ndcg(found: Iterable[int], gold: int, cutoff: int) -> float:
    """Gain 1 per relevant item, discount log2 of its rank + 1, against the ideal order."""
    gain = sum(1 / math.log2(at + 2) for at in found if at < cutoff)
    return gain / sum(1 / math.log2(at + 2) for at in range(min(cutoff, gold)))


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The average of each measure, rounded; of rows that lack it, those that have it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: round(_average([row[key] for row in rows if key in row]), 4) for key in keys}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def table(results: Mapping[str, Mapping[str, object]], columns: Sequence[str]) -> str:
    """Results as lines of text: one row per name, the given columns."""
    width = max(map(len, results), default=4)
    lines = [" " * width + "".join(f"{column:>14}" for column in columns)]
    for name, result in results.items():
        values = [result.get(column) for column in columns]
        cells = [
            f"{value:>14.3f}" if isinstance(value, float) else f"{value!s:>14}" for value in values
        ]
        lines.append(f"{name:<{width}}" + "".join(cells))
    return "\n".join(lines)
