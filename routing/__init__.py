"""Who answers a turn, and whether the story has moved on: decisions without a language model."""

from routing.decide import Contribution, Decision, decide
from routing.directives import Directive, parse_directive
from routing.evidence import Line, RouterInput
from routing.exemplars import Exemplars, LazyExemplars, exemplars_of
from routing.progress import advance

__all__ = [
    "Contribution",
    "Decision",
    "Directive",
    "Exemplars",
    "LazyExemplars",
    "Line",
    "RouterInput",
    "advance",
    "decide",
    "exemplars_of",
    "parse_directive",
]
