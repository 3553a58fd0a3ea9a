"""The one way out of a job: what leaves is JSON of a size that the platform carries.

The SDK hangs a job on what it cannot write, loses what is too large, and sends tracebacks of what
it catches. So nothing leaves that was not checked here, and nothing is raised to it.
"""

from __future__ import annotations

import json
import logging
import math
import uuid
from typing import Any

from schemas.errors import BadRequest, IyagiError, TooLarge

log = logging.getLogger(__name__)

Output = dict[str, Any] | str

CHUNK = 1_000_000
"""Bytes of one event: the platform takes 1 MB in a stream."""

TOTAL = 10_000_000
"""Bytes of all events of a job together: the platform keeps 10 MB of a result."""


class Gate:
    """The way out of one job."""

    def __init__(self) -> None:
        self._left = TOTAL

    def passed(self, output: Output) -> Output:
        """The output as it may leave: NaN becomes null, half a character the replacement sign.

        Raises:
            TypeError: it holds what JSON does not know: a fault of ours.
            TooLarge: one event or all of them are too large.
        """
        size = json_size(output)
        if size is None:
            output = cleaned(output)
            size = json_size(output)
            if size is None:
                raise TypeError("an output cannot be written as JSON")
        if size > CHUNK:
            raise TooLarge("the answer is larger than 1 MB; ask for fewer memories, without debug")
        self._left -= size + 2
        if self._left < 0:
            raise TooLarge("the job's answers are larger than 10 MB together; ask for less")
        return output


def json_size(value: object) -> int | None:
    """Bytes of the value as strict JSON in UTF-8; None where it cannot be written.

    Raises:
        TypeError: it holds what JSON does not know.
    """
    try:
        return len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8"))
    except (ValueError, RecursionError):  # NaN, half a character, a circle
        return None


def cleaned(value: Any) -> Any:
    """The value without NaN, infinity and half characters."""
    match value:
        case str():
            return whole(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {cleaned(key): cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [cleaned(item) for item in value]
        case _:
            return value


def whole(text: str) -> str:
    """The text with a replacement sign for every half character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def failure(error: Exception) -> dict[str, str]:
    """The error as the job's last output, by which Runpod calls the job failed.

    Returns:
        `{"error": "<JSON: code, message, field, retryable>"}`. What was not foreseen is told
        without its words, by a reference to the log.
    """
    if isinstance(error, IyagiError):
        field = error.field if isinstance(error, BadRequest) else None
        told = {
            "code": error.code,
            "message": whole(error.message)[:1000],  # a field's name may be of any length
            "field": whole(field)[:200] if field else None,
            "retryable": error.retryable,
        }
    else:
        reference = uuid.uuid4().hex[:12]
        log.error("a job failed, reference %s", reference, exc_info=error)
        told = {
            "code": "internal",
            "message": f"something went wrong inside; the log has it as {reference}",
            "field": None,
            "retryable": True,
        }
    return {"error": json.dumps(told, ensure_ascii=False)}
