"""Narrator or character: `decide(turn)`, a pure function that says why.

Order of authority: `respond_as` in the request, a directive in the message, the weighted evidence.
Nothing is drawn at random and nothing is remembered between turns, so the same request gets the
same answer: a regenerate, which is the same request again, keeps the narrator.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from routing import names
from routing.directives import Directive, parse_directive
from routing.evidence import WINDOW, Evidence, measure
from routing.exemplars import NEUTRAL_VOTE, Exemplars
from routing.turn import Speaker, Turn

WEIGHTS = Path(__file__).parent / "weights.toml"


class Contribution(NamedTuple):
    """One piece of evidence: `contribution` = value x weight, in log-odds for the narrator."""

    name: str
    value: float
    weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Weights:
    """One column of `weights.toml`: the log-odds that each piece of evidence adds."""

    bias: float
    by_name: dict[str, float]
    about: dict[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers; `confidence` (.5 to 1) is the decision's, `message` lacks the directive."""

    speaker: Speaker
    confidence: float
    evidence: list[Contribution]
    addressed: str | None
    reason: str
    message: str
    narrator_probability: float
    directive: Directive | None = field(default=None)

    @property
    def next_speaker(self) -> str | None:
        """Whom the message speaks to among several; the narrator is nobody's partner."""
        return self.addressed if self.speaker == "character" else None

    def overruled(self, speaker: Speaker, why: str, confidence: float) -> Decision:
        """The same, decided by what counts for more than the evidence, which stays to be read."""
        return replace(self, speaker=speaker, confidence=confidence, reason=f"{speaker}: {why}")

    def probability(self, speaker: Speaker) -> float:
        """Probability of a speaker by the evidence."""
        chance = self.narrator_probability
        return chance if speaker == "narrator" else 1 - chance


@cache
def load_weights(column: str = "weight", path: Path = WEIGHTS) -> Weights:
    """A column of the table: `weight`, or `game_master` for narrators who play people."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = {name: float(row[column]) for name, row in table.items()}
    about = {name: row["about"] for name, row in table.items()}
    return Weights(rows.pop("bias"), rows, about)


def decide(
    turn: Turn, exemplars: Exemplars | None = None, weights: Weights | None = None
) -> Decision:
    """Who answers this turn, with what decided it. Without `exemplars` their vote is neutral."""
    cast = [turn.character, *turn.aliases, *turn.others]
    directive = parse_directive(turn.message, cast)
    message = directive.message if directive else turn.message
    addressed = directive.next_speaker if directive else None
    turn = replace(turn, message=message)
    if turn.respond_as != "auto":
        return _by_order(turn.respond_as, "respond_as in the request", turn, directive, addressed)
    if directive and directive.speaker:
        why = f"directive ({directive.form})"
        return _by_order(directive.speaker, why, turn, directive, addressed)
    return _by_evidence(turn, exemplars, weights, directive)


def _by_order(
    speaker: Speaker, why: str, turn: Turn, directive: Directive | None, addressed: str | None
) -> Decision:
    """A decision that somebody took: certain, without evidence."""
    return Decision(
        speaker=speaker,
        confidence=1.0,
        evidence=[],
        addressed=addressed or _addressed(turn),
        reason=f"{speaker}: {why}",
        message=turn.message,
        narrator_probability=float(speaker == "narrator"),
        directive=directive,
    )


def _by_evidence(
    turn: Turn, exemplars: Exemplars | None, weights: Weights | None, directive: Directive | None
) -> Decision:
    """Log-odds are summed; the narrator speaks where they are above 0."""
    narrated = any(line[0] == "narrator" for line in turn.history[-WINDOW:])
    column = "game_master" if turn.narrator_plays_people and narrated else "weight"
    weights = weights or load_weights(column)
    vote = exemplars.vote(turn.vector) if exemplars else NEUTRAL_VOTE
    found = contributions(measure(turn, exemplar_vote=vote), weights)
    odds = weights.bias + sum(c.contribution for c in found)
    probability = 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))
    speaker: Speaker = "narrator" if odds > 0 else "character"
    confidence = max(probability, 1 - probability)
    return Decision(
        speaker=speaker,
        confidence=confidence,
        evidence=found,
        addressed=_addressed(turn),
        reason=_reason(speaker, confidence, found, weights),
        message=turn.message,
        narrator_probability=probability,
        directive=directive,
    )


def contributions(evidence: Evidence, weights: Weights) -> list[Contribution]:
    """What counts in this turn, the heaviest first (by name where equal)."""
    found = (
        Contribution(name, value, weights.by_name[name], value * weights.by_name[name])
        for name, value in evidence.items()
        if value
    )
    return sorted(found, key=lambda c: (-abs(c.contribution), c.name))


def _reason(
    speaker: Speaker, confidence: float, found: list[Contribution], weights: Weights
) -> str:
    """One line: the decision and the three pieces of evidence that speak most for it."""
    sign = 1 if speaker == "narrator" else -1
    because = [c for c in found if c.contribution * sign > 0][:3]
    parts = [f"{weights.about[c.name]} ({c.contribution:+.1f})" for c in because]
    return f"{speaker} {confidence:.2f}: " + ("; ".join(parts) or "nothing calls for the narrator")


def _addressed(turn: Turn) -> str | None:
    """Whom the message speaks to, where there are several; an alias stands for the character."""
    if not turn.others:
        return None
    if other := names.first_addressed(turn.message, turn.others):
        return other
    is_character = names.first_addressed(turn.message, [turn.character, *turn.aliases])
    return turn.character if is_character else None
