"""What may leave a job: JSON of a size that the platform carries, and errors in known words.

The SDK hangs a job on what it cannot write, loses what is too large, and sends tracebacks of what
it catches. So nothing leaves that was not checked here, and nothing is raised to it.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import uuid
from collections.abc import Iterator
from typing import Any

from schemas.errors import BadRequest, IyagiError, TooLarge, traced

log = logging.getLogger(__name__)

Output = dict[str, Any] | str

EVENT_BYTES = 1_000_000
"""Of one event: the platform takes 1 MB in a stream."""

JOB_BYTES = 10_000_000
"""Of all events of a job together: the platform keeps 10 MB of a result."""

RESPONSE_BYTES = EVENT_BYTES - 50_000
"""Of a response; the rest is for what is put around it."""

SHORT = 500
"""Characters left of a recalled text where a response is too large."""


class OutputCheck:
    """Checks the outputs of one job."""

    def __init__(self) -> None:
        self._left = JOB_BYTES

    def checked(self, output: Output) -> Output:
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
        if size > EVENT_BYTES:
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
            return without_surrogates(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {cleaned(key): cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [cleaned(item) for item in value]
        case _:
            return value


def without_surrogates(text: str) -> str:
    """The text with a replacement sign for every half character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shortened(response: dict[str, Any], limit: int = RESPONSE_BYTES) -> dict[str, Any]:
    """The response in at most `limit` bytes of JSON: the reply always, its extras as they fit.

    `meta.left_out` says what it is without. The response that is given stays as it is.
    """
    if _size(response) <= limit:
        return response
    short = copy.deepcopy(response)
    left_out: list[str] = []
    for name in _cuts(short):
        left_out.append(name)
        short["meta"]["left_out"] = left_out
        if _size(short) <= limit:
            break
    return short


def _size(response: dict[str, Any]) -> int:
    size = json_size(response)
    return size if size is not None else json_size(cleaned(response)) or 0


def _cuts(response: dict[str, Any]) -> Iterator[str]:
    """Takes one thing after the other out of the response, what is missed least first; names it."""
    meta, recalled = response["meta"], response["retrieved"]
    if meta.get("prompt", {}).pop("text", None):
        yield "meta.prompt.text"
    if meta.get("reply", {}).pop("raw", None):
        yield "meta.reply.raw"
    if recalled:
        for item in recalled:
            item["text"] = item["text"][:SHORT]
        yield f"retrieved.text beyond {SHORT} characters"
    if meta.pop("request", None):
        yield "meta.request"
    if recalled:
        response["retrieved"] = []
        yield "retrieved"
    response["meta"] = {key: meta[key] for key in ("error", "left_out") if key in meta}
    yield "meta"


def failure(error: Exception) -> dict[str, Any]:
    """The error in words that may leave: `{code, message, field, retryable}`; what was not foreseen
    without its own words, by a reference to the log."""
    if isinstance(error, IyagiError):
        field = error.field if isinstance(error, BadRequest) else None
        return {
            "code": error.code,
            "message": without_surrogates(error.message)[:1000],  # a field's name may be long
            "field": without_surrogates(field)[:200] if field else None,
            "retryable": error.retryable,
        }
    reference = uuid.uuid4().hex[:12]
    log.error("a job failed, reference %s\n%s", reference, traced(error))
    return {
        "code": "internal",
        "message": f"something went wrong inside; the log has it as {reference}",
        "field": None,
        "retryable": True,
    }
