"""Fit the weights of the router: `python -m lab.fit_router DATA... [--check FILE...]`.

DATA are `*.route.jsonl`, `*.chat.jsonl` and `*.txt` files as `benchmarks/routing.py` reads them. A
ridge-penalised logistic regression is fitted on six kinds of turns, each balanced between narrator
and character and weighted:

- judged turns (readers said who should answer), weight 2;
- scenes written for the fit (`lab/scenes.ko.txt`, the marks of its lines), weight 1;
- transcripts (who spoke next). A game master's next line that is a person's speech is relabelled
  "character" where the next line can be read off a later item's history; weight .2;
- scripts of novels (who speaks next; the narrator plays nobody), weight .2;
- ordinary chat, always "character", weight 1;
- our own exemplars (`routing/exemplars.toml`) in small scenes, weight .12.

The column `weight` is fitted on all turns but Korean ones; `korean` on Korean ones, drawn towards
`weight`, so what Korean data do not speak of (dice, persons in the narration) counts as elsewhere.
The column `game_master` is fitted on the transcripts alone, with the labels as they are.
Shown is what leaving one source out (an episode, a whole Korean script, a fifth of the scenes)
gives; `--write` then puts the weights of all data into `routing/weights.toml`. Rows with
`set = true` stay as they are.
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

from benchmarks.routing import Learned, area_under_curve, read_items, scenes
from language.script import Script
from routing import Line, RouterInput
from routing.decide import WEIGHTS, column_of
from routing.evidence import measure
from routing.exemplars import Exemplars, labelled_texts
from routing.reading import quoted_share

Array = NDArray[np.float64]
RIDGE = 2.0
RIDGE_GAME_MASTER = 2.0
MASS = {
    "judged": 2.0, "scene": 1.0, "transcript": 0.2, "script": 0.2, "chat": 1.0, "exemplar": 0.12
}  # fmt: skip
PERSON_QUOTED = 0.2
"""Share in quotation marks from which a game master's line counts as a person's speech."""
FIFTHS = 5
"""Parts that the scenes and the exemplars are left out by."""


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
    values: dict[str, Array]
    """Of the fixed ones, by the column of the table. Every fit sees those of `weight`: what is set
    for one column alone is meant to shift it, and a fit would make up for it."""

    def fit(self, data: Data) -> Callable[[Data], Array]:
        """Log-odds of a model for who should answer, fitted on `data`."""
        b, korean = self.solve(data)
        return lambda d: np.where(d.korean, self._odds(d, korean, "korean"), self._odds(d, b))

    def fit_game_master(self, data: Data) -> Callable[[Data], Array]:
        """Log-odds of a model for who speaks next at a game master's table."""
        b = self.solve_game_master(data)
        return lambda d: self._odds(d, b, "game_master")

    def solve(self, data: Data) -> tuple[Array, Array]:
        """[bias, weights of the fitted rows...] for Korean turns, and for all others before."""
        others, korean = data.pick(~data.korean), data.pick(data.korean)
        b = self._solve(others, others.y, RIDGE, np.zeros(len(self.fitted) + 1))
        return b, self._solve(korean, korean.y, RIDGE, b)

    def solve_game_master(self, data: Data) -> Array:
        """[bias, weights of the fitted rows...] of the column `game_master`."""
        played = data.pick(data.kind == "transcript")
        return self._solve(played, played.spoken, RIDGE_GAME_MASTER, np.zeros(len(self.fitted) + 1))

    def _solve(self, data: Data, y: Array, ridge: float, towards: Array) -> Array:
        offset = self._odds(data, towards)
        return towards + fit_logistic(data.x[:, self.fitted], y, masses(data, y), ridge, offset)

    def _odds(self, data: Data, b: Array, column: str = "weight") -> Array:
        fixed = data.x[:, self.fixed] @ self.values[column]
        odds: Array = b[0] + data.x[:, self.fitted] @ b[1:] + fixed
        return odds


def load(paths: Sequence[Path], learned: Learned) -> Data:
    """All turns of the files and the exemplars, measured."""
    turns: list[RouterInput] = []
    rows: list[tuple[float, float, str, str]] = []
    seen: set[str] = set()
    for path in sorted(
        paths, key=lambda p: not _is_judged(p)
    ):  # a judged turn hides its transcript
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.suffix == ".txt":
            for number, scene in enumerate(scenes(lines)):
                turns += [turn for turn, _ in scene]
                rows += [(y, y, "scene", f"scenes-{number % FIFTHS}") for _, y in scene]
            continue
        records = [json.loads(line) for line in lines]
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
            rows.append((should, float(narrator), held, record["id"].rsplit("-", 1)[0]))
    votes = [exemplars.vote(turn.vector) for turn, exemplars in learned.with_vectors(turns)]
    own_turns, own_votes, own_rows = _exemplar_turns(learned)
    return _matrix(turns + own_turns, votes + own_votes, rows + own_rows)


def _matrix(
    turns: list[RouterInput], votes: list[float], rows: list[tuple[float, float, str, str]]
) -> Data:
    evidence = [measure(turn, exemplar_vote=vote) for turn, vote in zip(turns, votes, strict=True)]
    y, spoken, kind, source = (np.array(column) for column in zip(*rows, strict=True))
    x = np.array([list(e.values()) for e in evidence])
    korean = np.array(
        [column_of(replace(turn, narrator_plays_people=False)) == "korean" for turn in turns]
    )
    return Data(x, y, spoken, kind, source, korean, list(evidence[0]))


def _is_judged(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        return '"transcript"' in next(lines)


def _kind(record: dict[str, Any]) -> str:
    """A game's transcript, or a script whose narrator plays nobody."""
    return "transcript" if record["dataset"].startswith("crd3") else "script"


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


SMALL: dict[Script, tuple[str, tuple[tuple[Line, ...], ...]]] = {
    "latin": (
        "Mira",
        (
            (),
            (
                Line("user", "Robin", "Hello."),
                Line("character", "Mira", "There you are. It took you long enough."),
            ),
            (
                Line("character", "Mira", "Stay close."),
                Line("narrator", "", "The lamp flickers and the hall grows dark."),
            ),
        ),
    ),
    "cjk": (
        "하늘",
        (
            (),
            (
                Line("user", "지안", "나 왔어."),
                Line("character", "하늘", "이제 왔어? 한참 기다렸잖아."),
            ),
            (
                Line("character", "하늘", "내 옆에 붙어 있어."),
                Line("narrator", "", "등불이 흔들리고 복도가 어두워진다."),
            ),
            (
                Line("user", "지안", "*문을 연다*"),
                Line("narrator", "", "복도는 어둡다. 안쪽에서 바람이 분다."),
            ),
            (
                Line("narrator", "", "당신은 비를 피해 처마 밑에 선다."),
                Line("character", "하늘", "너 어디서 왔어? 이름이 뭐야?"),
            ),
        ),
    ),
}
"""Whom an exemplar is said to, and after what."""


def _exemplar_turns(
    learned: Learned,
) -> tuple[list[RouterInput], list[float], list[tuple[float, float, str, str]]]:
    """Every exemplar in each small scene of its script; the vote is learned from the four fifths
    that it is not of."""
    turns, votes, rows = [], [], []
    for script, (character, before) in SMALL.items():
        texts, labels = labelled_texts(script)
        vectors = learned.embedders[script].encode_queries(texts)
        fifth = np.arange(len(texts)) % FIFTHS
        for part in range(FIFTHS):
            known = Exemplars(vectors[fifth != part], labels[fifth != part])
            for i in np.flatnonzero(fifth == part):
                label = float(labels[i] > 0)
                for scene in before:
                    turns.append(RouterInput(texts[i], scene, character=character))
                    votes.append(known.vote(vectors[i]))
                    rows.append((label, label, "exemplar", f"exemplar-{part}"))
    return turns, votes, rows


def balanced_accuracy(odds: Array, y: Array) -> float:
    """Mean of both recalls at log-odds 0."""
    return float(((odds > 0)[y == 1].mean() + (odds <= 0)[y == 0].mean()) / 2)


def show(name: str, odds: Array, y: Array) -> None:
    """A line of figures; of one label alone, its narrator rate."""
    if 0 < y.mean() < 1:
        balanced, auc = balanced_accuracy(odds, y), area_under_curve(list(odds), list(y > 0)) or 0.0
        figures = f"balanced {balanced:.3f}  AUC {auc:.3f}"
    else:
        figures = f"narrator rate {(odds > 0).mean():.4f}"
    sys.stdout.write(f"{name:52s} n {len(y):5d}  {figures}\n")


def report(data: Data, rows: Rows) -> None:
    """Figures from models that never saw the source they are measured on."""
    odds, played = np.zeros(len(data.y)), np.zeros(len(data.y))
    for source in np.unique(data.source):
        out = data.source == source
        odds[out] = rows.fit(data.pick(~out & (data.kind != "held")))(data.pick(out))
        if (data.kind[out] == "transcript").any():
            rest = replace(data, kind=np.where(data.kind == "held", "transcript", data.kind)).pick(
                ~out
            )
            played[out] = rows.fit_game_master(rest)(data.pick(out))
    judged, korean = data.kind == "judged", data.korean
    spoken = np.isin(data.kind, ["transcript", "held"])
    for name, part in {
        "judged, one source left out": judged,
        "  English": judged & ~korean,
        "  Korean": judged & korean,
        "Korean scenes, one fifth left out": data.kind == "scene",
        "  lines of speech": (data.kind == "scene") & ~(data.x[:, rows.fixed] > 0).any(axis=1),
        "exemplars, English, one fifth left out": (data.kind == "exemplar") & ~korean,
        "exemplars, Korean, one fifth left out": (data.kind == "exemplar") & korean,
    }.items():
        show(name, odds[part], data.y[part])
    for source in np.unique(data.source[judged]):
        part = judged & (data.source == source)
        show(f"  judged, {source}", odds[part], data.y[part])
    for source in np.unique(data.source[data.kind == "script"]):
        part = (data.kind == "script") & (data.source == source)
        show(f"  who spoke next, {source}", odds[part], data.y[part])
    show("transcripts as game master, one source left out", played[spoken], data.spoken[spoken])
    unjudged = rows.fit(data.pick(~judged & (data.kind != "held")))
    show("not fitted on judged turns -> judged", unjudged(data.pick(judged)), data.y[judged])


def check(files: Sequence[Path], data: Data, rows: Rows, learned: Learned) -> None:
    """Figures of files that no model was fitted on."""
    model = rows.fit(data.pick(data.kind != "held"))
    for file in files:
        own = load([file], learned)
        own = own.pick(own.kind != "exemplar")
        show(f"not fitted on: {file.name}", model(own), own.y)


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
    b, korean = rows.solve(data.pick(data.kind != "held"))
    columns = {"weight": b, "korean": korean, "game_master": rows.solve_game_master(every)}
    text = WEIGHTS.read_text(encoding="utf-8")
    for column, solved in columns.items():
        for name, value in zip(
            ["bias", *(data.names[i] for i in rows.fitted)], solved, strict=True
        ):
            number = rf"(\[{name}\]\n(?:[^\[]*\n)?{column} = )\S+"
            text = re.sub(number, rf"\g<1>{value:.2f}", text, count=1)
    WEIGHTS.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, show, and with --write keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument(
        "--check", nargs="*", type=Path, default=[], help="files that are only measured"
    )
    parser.add_argument("--ablate", action="store_true", help="show what each group is worth")
    parser.add_argument("--write", action="store_true", help="write routing/weights.toml")
    options = parser.parse_args(arguments)
    learned = Learned()
    data = load(options.data, learned)
    table = tomllib.loads(WEIGHTS.read_text(encoding="utf-8"))
    fixed = [i for i, name in enumerate(data.names) if table[name].get("set")]
    values = {
        column: np.array([table[data.names[i]][column] for i in fixed])
        for column in ("weight", "game_master", "korean")
    }
    rows = Rows([i for i in range(len(data.names)) if i not in fixed], fixed, values)
    report(data, rows)
    check(options.check, data, rows, learned)
    if options.ablate:
        ablation(data, rows)
    if options.write:
        write(data, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
