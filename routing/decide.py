"""Narrator or character: `decide(turn)`, a pure function that says why.

Order of authority: `respond_as` in the request, a directive in the message, the weighted evidence.
Nothing is drawn at random and nothing is remembered between turns, so the same request gets the
same answer: a regenerate, which is the same request again, keeps the narrator.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from language.korean import has_syllables
from routing import reading
from routing.commands import command_in
from routing.directives import Directive, parse_directive
from routing.evidence import LINES_READ, RouterInput, measure
from routing.exemplars import NEUTRAL_VOTE, Exemplars
from schemas.request import Speaker

WEIGHTS = Path(__file__).parent / "weights.toml"


class Contribution(NamedTuple):
    """One feature that counts: `contribution` = value x weight, in log-odds for the narrator;
    `about` is a sentence that is true of the turn."""

    name: str
    value: float
    weight: float
    contribution: float
    about: str


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
    directive: Directive | None

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
def load_weights() -> dict[str, dict[str, Any]]:
    """The rows of the table by feature, and `bias`."""
    return tomllib.loads(WEIGHTS.read_text(encoding="utf-8"))


def decide(turn: RouterInput, exemplars: Exemplars | None = None) -> Decision:
    """Who answers this turn, with what decided it. Without `exemplars` their vote is neutral."""
    directive = parse_directive(turn.message, [turn.character, *turn.aliases, *turn.others])
    if directive and directive.form == "command" and _answers(turn):
        directive = None
    if directive:
        turn = replace(turn, message=directive.message)
    if turn.respond_as != "auto":
        return _by_order(turn.respond_as, "respond_as in the request", turn, directive)
    if directive and directive.speaker:
        return _by_order(directive.speaker, f"directive ({directive.form})", turn, directive)
    return _by_evidence(turn, exemplars, directive)


def _answers(turn: RouterInput) -> bool:
    """Whether a character has just asked, and the message names a time: "잠시 후." """
    last = turn.history[-1] if turn.history else None
    if last is None or last.role != "character" or not last.text.rstrip().endswith(("?", "？")):
        return False
    command = command_in(turn.message)
    return command is not None and command.kind == "time" and turn.message.strip()[0].isalnum()


def _by_order(
    speaker: Speaker, why: str, turn: RouterInput, directive: Directive | None
) -> Decision:
    """A decision that somebody took: certain, without evidence."""
    return Decision(
        speaker=speaker,
        confidence=1.0,
        evidence=[],
        addressed=(directive.next_speaker if directive else None) or _addressed(turn),
        reason=f"{speaker}: {why}",
        message=turn.message,
        narrator_probability=float(speaker == "narrator"),
        directive=directive,
    )


def _by_evidence(
    turn: RouterInput, exemplars: Exemplars | None, directive: Directive | None
) -> Decision:
    """Log-odds are summed; the narrator speaks where they are above 0."""
    column = column_of(turn)
    found = _contributions(turn, exemplars, column)
    odds = load_weights()["bias"][column] + sum(c.contribution for c in found)
    probability = 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))
    speaker: Speaker = "narrator" if odds > 0 else "character"
    confidence = max(probability, 1 - probability)
    return Decision(
        speaker=speaker,
        confidence=confidence,
        evidence=found,
        addressed=_addressed(turn),
        reason=_reason(speaker, confidence, found),
        message=turn.message,
        narrator_probability=probability,
        directive=directive,
    )


def column_of(turn: RouterInput) -> str:
    """Which of the weights count: a game master's, those for Korean, or the others."""
    before = turn.history[-LINES_READ:]
    if turn.narrator_plays_people and any(line.role == "narrator" for line in before):
        return "game_master"
    spoken = (turn.message, *(line.text for line in before[-1:]))  # "..." is of no language
    return "korean" if any(map(has_syllables, spoken)) else "weight"


def _contributions(
    turn: RouterInput, exemplars: Exemplars | None, column: str
) -> list[Contribution]:
    """What counts in this turn, the heaviest first (by name where equal)."""
    vote = exemplars.vote(turn.vector) if exemplars else NEUTRAL_VOTE
    rows, found = load_weights(), []
    for name, value in measure(turn, exemplar_vote=vote).items():
        if value:
            row = rows[name]
            about = row["about"] if value > 0 else row["about_below_0"]
            found.append(Contribution(name, value, row[column], value * row[column], about))
    return sorted(found, key=lambda c: (-abs(c.contribution), c.name))


def _reason(speaker: Speaker, confidence: float, found: list[Contribution]) -> str:
    """One line: the decision and the three pieces of evidence that speak most for it."""
    sign = 1 if speaker == "narrator" else -1
    because = [c for c in found if c.contribution * sign > 0][:3]
    parts = [f"{c.about} ({c.contribution:+.1f})" for c in because]
    return f"{speaker} {confidence:.2f}: {'; '.join(parts) or 'too little calls for the narrator'}"


def _addressed(turn: RouterInput) -> str | None:
    """Whom the message speaks to, where there are several; an alias stands for the character."""
    names = [*turn.others, turn.character, *turn.aliases] if turn.others else []
    found = next((name for name in names if reading.addresses(turn.message, name)), None)
    return found if found is None or found in turn.others else turn.character
