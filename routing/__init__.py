"""Who answers a turn, and whether the story has moved on: decisions without a language model."""

from routing.decide import Contribution, Decision, decide
from routing.directives import Directive, parse_directive
from routing.evidence import Line, RouterInput
from routing.exemplars import Exemplars, LazyExemplars, embed_exemplars
from routing.progress import Beat, Progress, advance

__all__ = [
    "Beat",
    "Contribution",
    "Decision",
    "Directive",
    "Exemplars",
    "LazyExemplars",
    "Line",
    "Progress",
    "RouterInput",
    "advance",
    "decide",
    "embed_exemplars",
    "parse_directive",
]
