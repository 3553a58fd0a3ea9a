"""Who answers a turn, and whether the story has moved on: decisions without a language model."""

from routing.decide import Contribution, Decision, decide
from routing.directives import Directive, parse_directive
from routing.exemplars import Exemplars, KeptExemplars, embed_exemplars
from routing.progress import advance
from routing.turn import Line, Turn

__all__ = [
    "Contribution",
    "Decision",
    "Directive",
    "Exemplars",
    "KeptExemplars",
    "Line",
    "Turn",
    "advance",
    "decide",
    "embed_exemplars",
    "parse_directive",
]
