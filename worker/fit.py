"""A response cut down to what the platform carries: the reply always, its extras as they fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worker.gate import CHUNK, cleaned, json_size

Response = dict[str, Any]

ROOM = 50_000
"""Bytes for what is put around a response."""

SHORT = 500
"""Characters left of a recalled text."""


def fitted(response: Response, limit: int = CHUNK - ROOM) -> Response:
    """The response in at most `limit` bytes of JSON; `meta.left_out` says what it is without."""
    if _size(response) <= limit:
        return response
    response = {**response, "meta": dict(response.get("meta", {}))}
    left_out: list[str] = []
    for name, cut in _CUTS:
        if cut(response):
            left_out.append(name)
        response["meta"]["left_out"] = left_out
        if _size(response) <= limit:
            break
    return response


def _size(response: Response) -> int:
    size = json_size(response)
    return size if size is not None else json_size(cleaned(response)) or 0


def _without(part: str, key: str) -> Callable[[Response], bool]:
    def cut(response: Response) -> bool:
        held = response["meta"].get(part)
        if not isinstance(held, dict) or key not in held:
            return False
        response["meta"][part] = {name: item for name, item in held.items() if name != key}
        return True

    return cut


def _request_meta(response: Response) -> bool:
    return response["meta"].pop("request", None) is not None


def _long_texts(response: Response) -> bool:
    items = response.get("retrieved", [])
    response["retrieved"] = [{**item, "text": item["text"][:SHORT]} for item in items]
    return bool(items)


def _all_retrieved(response: Response) -> bool:
    had = bool(response.get("retrieved"))
    response["retrieved"] = []
    return had


def _all_meta(response: Response) -> bool:
    kept = ("error", "left_out")
    response["meta"] = {key: response["meta"][key] for key in kept if key in response["meta"]}
    return True


_CUTS: tuple[tuple[str, Callable[[Response], bool]], ...] = (
    ("meta.prompt.text", _without("prompt", "text")),
    ("meta.reply.raw", _without("reply", "raw")),
    (f"retrieved.text beyond {SHORT} characters", _long_texts),
    ("meta.request", _request_meta),
    ("retrieved", _all_retrieved),
    ("meta", _all_meta),
)
"""What goes first is missed least."""
