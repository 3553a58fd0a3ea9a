"""Fit the weights of the router: `python -m lab.fit_router DATA... [--check FILE...]`.

DATA are `*.route.jsonl` and `*.chat.jsonl` files. A ridge-penalised logistic regression is fitted
on five kinds of turns, each balanced between narrator and character and weighted:

- judged turns (readers said who should answer), weight 1;
- transcripts (who spoke next). A game master's next line that is a person's speech is relabelled
  "character" where the next line can be read off a later item's history; weight .2;
- scripts of novels (who speaks next; the narrator plays nobody), weight .2;
- ordinary chat, always "character", weight 1;
- our own exemplars (`routing/exemplars.toml`) in three small scenes, weight .12.

The column `game_master` is fitted on the transcripts alone, with the labels as they are.
Shown is what leaving one source out (an episode, a stretch of a script) gives; `--write` then puts
the weights of all data into `routing/weights.toml`. Rows with `set = true` stay as they are.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing import area_under_curve, read_items
from embedding.onnx import OnnxEmbeddings
from routing import Exemplars, Line, RouterInput, embed_exemplars
from routing.decide import WEIGHTS
from routing.evidence import measure
from routing.reading import quoted_share

Array = NDArray[np.float64]
RIDGE = 2.0
RIDGE_GAME_MASTER = 2.0
MASS = {"judged": 1.0, "transcript": 0.2, "script": 0.2, "chat": 1.0, "exemplar": 0.12}
PERSON_QUOTED = 0.2
"""Share in quotation marks from which a game master's line counts as a person's speech."""
SCRIPT_BLOCK = 140
"""Lines of one script that count as one source."""


@dataclass
class Data:
    """Turns as a matrix: evidence (n, features), labels 0/1, kind, source and id of each."""

    x: Array
    y: Array
    spoken: Array
    kind: NDArray[np.str_]
    source: NDArray[np.str_]
    korean: NDArray[np.bool_]
    names: list[str]

    def pick(self, mask: NDArray[np.bool_]) -> Data:
        """The rows of `mask`."""
        return Data(
            self.x[mask],
            self.y[mask],
            self.spoken[mask],
            self.kind[mask],
            self.source[mask],
            self.korean[mask],
            self.names,
        )


def fit_logistic(x: Array, y: Array, mass: Array, ridge: float, offset: Array) -> Array:
    """Newton's method; returns [bias, weights...]. The bias is not penalised."""
    a = np.hstack([np.ones((len(x), 1)), x])
    b, penalty = np.zeros(a.shape[1]), np.full(a.shape[1], ridge)
    penalty[0] = 1e-6
    for _ in range(25):
        p = 1 / (1 + np.exp(-(a @ b + offset)))
        slope = np.maximum(p * (1 - p), 1e-6) * mass
        step = np.linalg.solve(
            (a * slope[:, None]).T @ a + np.diag(penalty), a.T @ (mass * (p - y)) + penalty * b
        )
        b -= step
        if np.abs(step).max() < 1e-7:
            break
    return b


def masses(data: Data, y: Array) -> Array:
    """Each kind gets its mass times its size, shared equally by narrator and character turns."""
    out = np.zeros(len(y))
    for kind in np.unique(data.kind):
        for label in (0, 1):
            rows = (data.kind == kind) & (y == label)
            both = len(np.unique(y[data.kind == kind])) == 2
            size = (data.kind == kind).sum()
            out[rows] = (
                MASS[str(kind)] * (size / 2 / rows.sum() if both else 1.0) if rows.any() else 0.0
            )
    return out


@dataclass(frozen=True)
class Rows:
    """Which evidence is fitted and which is set by hand, as columns of the matrix."""

    fitted: list[int]
    fixed: list[int]
    values: Array

    def fit(self, data: Data) -> Callable[[Data], Array]:
        """Log-odds of a model for who should answer, fitted on `data`."""
        return self._model(data, data.y, RIDGE)

    def fit_game_master(self, data: Data) -> Callable[[Data], Array]:
        """Log-odds of a model for who speaks next at a game master's table."""
        played = data.pick(data.kind == "transcript")
        return self._model(played, played.spoken, RIDGE_GAME_MASTER)

    def _model(self, data: Data, y: Array, ridge: float) -> Callable[[Data], Array]:
        b = self.solve(data, y, ridge)
        return lambda d: b[0] + d.x[:, self.fitted] @ b[1:] + d.x[:, self.fixed] @ self.values

    def solve(self, data: Data, y: Array, ridge: float) -> Array:
        """[bias, weights of the fitted rows...]."""
        offset = data.x[:, self.fixed] @ self.values
        return fit_logistic(data.x[:, self.fitted], y, masses(data, y), ridge, offset)


def load(paths: Sequence[Path], embedder: OnnxEmbeddings, exemplars: Exemplars) -> Data:
    """All turns of the files and the exemplars, measured."""
    turns: list[RouterInput] = []
    rows: list[tuple[float, float, str, str]] = []
    seen: set[str] = set()
    for path in sorted(
        paths, key=lambda p: not _is_judged(p)
    ):  # a judged turn hides its transcript
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        items = read_items(path)
        if "messages" in records[0]:
            turns += [turn for turn, _ in items]
            rows += [(0.0, 0.0, "chat", path.stem)] * len(items)
            continue
        following = _following_lines(records)
        kind = "judged" if "transcript" in records[0] else _kind(records[0])
        for record, (turn, narrator) in zip(records, items, strict=True):
            person = quoted_share(following.get(record["id"], "")) > PERSON_QUOTED
            should = float(narrator and not (kind != "judged" and person))
            held = "held" if kind == "transcript" and record["id"] in seen else kind
            if kind == "script" and record["id"] in seen:
                continue
            seen.add(record["id"])
            turns.append(turn)
            rows.append((should, float(narrator), held, _source(record)))
    votes = [exemplars.vote(v) for v in embedder.encode([turn.message for turn in turns])]
    own_turns, own_votes, own_rows = _exemplar_turns(exemplars)
    return _matrix(turns + own_turns, votes + own_votes, rows + own_rows)


def _matrix(
    turns: list[RouterInput], votes: list[float], rows: list[tuple[float, float, str, str]]
) -> Data:
    evidence = [measure(turn, exemplar_vote=vote) for turn, vote in zip(turns, votes, strict=True)]
    y, spoken, kind, source = (np.array(column) for column in zip(*rows, strict=True))
    x = np.array([list(e.values()) for e in evidence])
    korean = np.array([bool(re.search("[가-힣]", turn.message)) for turn in turns])
    return Data(x, y, spoken, kind, source, korean, list(evidence[0]))


def _is_judged(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        return "transcript" in json.loads(next(lines))


def _kind(record: dict[str, Any]) -> str:
    """A game's transcript, or a script whose narrator plays nobody."""
    return "transcript" if record["dataset"].startswith("crd3") else "script"


def _source(record: dict[str, Any]) -> str:
    """The episode; of a script, the stretch of lines."""
    name, line = record["id"].rsplit("-", 1)
    return f"{name}-{int(line) // SCRIPT_BLOCK}" if record["language"] == "ko" else name


def _following_lines(records: list[dict[str, Any]]) -> dict[str, str]:
    """The line after each message, found in the history of a later item of the same source."""
    by_source = defaultdict(list)
    for record in records:
        by_source[record["id"].rsplit("-", 1)[0]].append(record)
    found = {}
    for group in by_source.values():
        group.sort(key=lambda r: int(r["id"].rsplit("-", 1)[1]))
        for i, record in enumerate(group):
            for later in group[i + 1 : i + 14]:
                texts = [h["text"] for h in later["history"]] + [later["message"]]
                if record["message"] in texts[:-1]:
                    found[record["id"]] = texts[texts.index(record["message"]) + 1]
                    break
    return found


def _exemplar_turns(
    exemplars: Exemplars,
) -> tuple[list[RouterInput], list[float], list[tuple[float, float, str, str]]]:
    """Every exemplar alone, after a character and after a narrator; it has no vote on itself."""
    scenes = (
        (),
        (
            Line("user", "Robin", "Hello."),
            Line("character", "Mira", "There you are. It took you long enough."),
        ),
        (
            Line("character", "Mira", "Stay close."),
            Line("narrator", "", "The lamp flickers and the hall grows dark."),
        ),
    )
    turns, votes, rows = [], [], []
    for i, text in enumerate(exemplars.texts):
        others = np.arange(len(exemplars.texts)) != i
        rest = replace(
            exemplars, vectors=exemplars.vectors[others], labels=exemplars.labels[others]
        )
        vote = rest.vote(exemplars.vectors[i])
        label = float(exemplars.labels[i] > 0)
        for scene in scenes:
            turns.append(RouterInput(text, scene, character="Mira"))
            votes.append(vote)
            rows.append((label, label, "exemplar", f"exemplar-{i % 5}"))
    return turns, votes, rows


def balanced_accuracy(odds: Array, y: Array) -> float:
    """Mean of both recalls at log-odds 0."""
    return float(((odds > 0)[y == 1].mean() + (odds <= 0)[y == 0].mean()) / 2)


def report(data: Data, rows: Rows, check: Data | None) -> None:
    """Figures from models that never saw the source they are measured on."""

    def show(name: str, odds: Array, y: Array) -> None:
        if 0 < y.mean() < 1:
            balanced = balanced_accuracy(odds, y)
            auc = area_under_curve(list(odds), list(y > 0)) or 0.0
            sys.stdout.write(f"{name:52s} n {len(y):5d}  balanced {balanced:.3f}  AUC {auc:.3f}\n")

    judged = data.kind == "judged"
    odds, played = np.zeros(len(data.y)), np.zeros(len(data.y))
    for source in np.unique(data.source):
        out = data.source == source
        odds[out] = rows.fit(data.pick(~out & (data.kind != "held")))(data.pick(out))
        if (data.kind[out] == "transcript").any():
            rest = replace(data, kind=np.where(data.kind == "held", "transcript", data.kind)).pick(
                ~out
            )
            played[out] = rows.fit_game_master(rest)(data.pick(out))
    show("judged, one source left out", odds[judged], data.y[judged])
    for name, part in (("  English", ~data.korean), ("  Korean", data.korean)):
        show(name, odds[judged & part], data.y[judged & part])
    spoken = np.isin(data.kind, ["transcript", "held"])
    show("transcripts as game master, one source left out", played[spoken], data.spoken[spoken])
    for source in np.unique(data.source[judged]):
        part = judged & (data.source == source)
        show(f"  judged, {source}", odds[part], data.y[part])
    kinds = np.isin(data.kind, ["transcript", "script", "exemplar", "chat"])
    show("transcripts -> judged", rows.fit(data.pick(kinds))(data.pick(judged)), data.y[judged])
    english = rows.fit(data.pick(~data.korean & (data.kind != "held")))
    show(
        "English -> judged Korean",
        english(data.pick(judged & data.korean)),
        data.y[judged & data.korean],
    )
    korean = rows.fit(data.pick(data.korean & (data.kind != "held")))
    show(
        "Korean -> judged English",
        korean(data.pick(judged & ~data.korean)),
        data.y[judged & ~data.korean],
    )
    own = data.kind == "exemplar"
    show("exemplars, one fifth left out", odds[own], data.y[own])
    if check is not None:
        rate = float(
            (rows.fit(data.pick(data.kind != "held"))(check.pick(check.kind == "chat")) > 0).mean()
        )
        sys.stdout.write(f"ordinary chat not fitted on: narrator rate {rate:.4f}\n")


ABLATIONS = {
    "who spoke, and how (scene_*)": r"scene_(?!person)",
    "persons in the narration": r"(scene|both)_\w*person",
    "actions": r"says_act",
    "questions": r"says_(asks|question)",
    "rules and numbers": r"says_(rules|score)|scene_rules",
    "you, names, plans": r"says_(you|name|plans)",
    "exemplars": r"says_like",
    "all but scene_*": r"(says|both)_",
}


def ablation(data: Data, rows: Rows) -> None:
    """Judged turns, one source left out, with a group of evidence taken away."""
    kept = data.pick(data.kind != "held")
    judged = kept.kind == "judged"
    for name, pattern in ABLATIONS.items():
        left = [i for i in rows.fitted if not re.match(pattern, data.names[i])]
        smaller, odds = replace(rows, fitted=left), np.zeros(len(kept.y))
        for source in np.unique(kept.source[judged]):
            out = kept.source == source
            odds[out] = smaller.fit(kept.pick(~out))(kept.pick(out))
        auc = area_under_curve(list(odds[judged]), list(kept.y[judged] > 0)) or 0.0
        balanced = balanced_accuracy(odds[judged], kept.y[judged])
        sys.stdout.write(f"without {name:44s} balanced {balanced:.3f}  AUC {auc:.3f}\n")


def write(data: Data, rows: Rows) -> None:
    """Replace the numbers in the table, row by row; texts and comments stay."""
    every = replace(data, kind=np.where(data.kind == "held", "transcript", data.kind))
    played = every.pick(every.kind == "transcript")
    columns = {
        "weight": rows.solve(data.pick(data.kind != "held"), data.y[data.kind != "held"], RIDGE),
        "game_master": rows.solve(played, played.spoken, RIDGE_GAME_MASTER),
    }
    text = WEIGHTS.read_text(encoding="utf-8")
    for column, b in columns.items():
        for name, value in zip(["bias", *(data.names[i] for i in rows.fitted)], b, strict=True):
            number = rf"(\[{name}\]\n(?:[^\[]*\n)?{column} = )\S+"
            text = re.sub(number, rf"\g<1>{value:.2f}", text, count=1)
    WEIGHTS.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, show, and with --write keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument(
        "--check", nargs="*", type=Path, default=[], help="chat files that are only measured"
    )
    parser.add_argument("--ablate", action="store_true", help="show what each group is worth")
    parser.add_argument("--write", action="store_true", help="write routing/weights.toml")
    options = parser.parse_args(arguments)
    embedder = OnnxEmbeddings()
    exemplars = embed_exemplars(embedder.encode)
    data = load(options.data, embedder, exemplars)
    table = tomllib.loads(WEIGHTS.read_text(encoding="utf-8"))
    fixed = [i for i, name in enumerate(data.names) if table[name].get("set")]
    values = np.array([table[data.names[i]]["weight"] for i in fixed])
    rows = Rows([i for i in range(len(data.names)) if i not in fixed], fixed, values)
    report(data, rows, load(options.check, embedder, exemplars) if options.check else None)
    if options.ablate:
        ablation(data, rows)
    if options.write:
        write(data, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
