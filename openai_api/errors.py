"""Refusals that OpenAI's clients know by their code: a server answers both with 404."""

from __future__ import annotations

from schemas.errors import BadRequest


class UnknownModel(BadRequest):
    """There is no such model or character."""

    code = "model_not_found"


class NotFound(BadRequest):
    """There is no such endpoint."""

    code = "not_found"
