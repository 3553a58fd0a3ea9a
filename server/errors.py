"""Failures as HTTP: a status by code, and the body that OpenAI's clients read, for all routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from openai_api.answer import error_body
from schemas.errors import IyagiError
from worker.output import failure

_STATUS = {
    "bad_request": 400,
    "invalid_api_key": 401,
    "forbidden": 403,
    "not_found": 404,
    "model_not_found": 404,
    "method_not_allowed": 405,
    "body_timeout": 408,
    "too_large": 413,
    "rate_limit_exceeded": 429,
    "llm": 502,
    "ending": 503,
    "deadline": 504,
}
"""By the code of a failure; 500 for all others."""


class HttpError(IyagiError):
    """A request that the server refuses before any job.

    Args:
        code: one of the table above.
        headers: more of the response.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.code = code
        self.headers = dict(headers or {})


class Ending(HttpError):
    """The server takes no turn any more, or could not finish one."""

    def __init__(self, message: str = "the server is ending; send the request again") -> None:
        super().__init__("ending", message, headers={"Retry-After": "1"}, retryable=True)


def error_response(error: Exception, scope: Scope) -> Response:
    """The response to a request that failed before anything was sent; notes its code for the log.

    `x-should-retry` tells OpenAI's clients, which try again whatever has a status of 429 or 5xx.
    """
    told = note(error, scope)
    headers = {"x-should-retry": str(told["retryable"]).lower(), **getattr(error, "headers", {})}
    return JSONResponse(_body(told), _STATUS.get(told["code"], 500), headers)


def note(error: Exception, scope: Scope) -> dict[str, Any]:
    """The failure, `{code, message, field, retryable}`, whose code the log and the metrics have."""
    told = failure(error)
    scope.setdefault("state", {})["code"] = told["code"]
    return told


def _body(told: dict[str, Any]) -> dict[str, Any]:
    body = error_body(told)
    return {"error": {**body["error"], "retryable": told["retryable"]}}
