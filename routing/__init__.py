"""Who answers a turn, and whether the story has moved on: decisions without a language model."""

from routing.decide import (
    Contribution,
    Decision,
    Exemplars,
    LazyExemplars,
    decide,
    embed_exemplars,
)
from routing.directives import Directive, parse_directive
from routing.evidence import Line, RouterInput
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
    "embed_exemplars",
    "parse_directive",
]
