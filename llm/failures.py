"""Failures that a backend may cure itself, as long as nothing of the reply was heard."""

from __future__ import annotations

from collections.abc import Set

from schemas.errors import LLMError


class Transient(LLMError):
    """A second attempt may succeed; `wait` is the least pause before it, in seconds."""

    def __init__(self, message: str, *, wait: float = 0.0) -> None:
        super().__init__(message, retryable=True)
        self.wait = wait


class Refused(LLMError):
    """The server does not take the request; `fields` are those of it that the refusal names."""

    def __init__(self, message: str, *, fields: Set[str] = frozenset()) -> None:
        super().__init__(message)
        self.fields = fields
