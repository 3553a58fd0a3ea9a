"""The job server's answer to the poll: a job that is malformed costs no other, nor the worker.

The SDK hands on whatever the list holds, and fails on it later, when the rest is lost.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

log = logging.getLogger(__name__)

Job = dict[str, Any]

_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""A string, which may have no end, or a mark outside of strings."""

LONGEST_ID = 200
"""Characters; the platform's ids have about 40."""


async def take(session: Any, count: int) -> list[Job] | None:
    """Asks for jobs once, as the SDK's `get_job` does.

    Args:
        session: aiohttp's.
        count: how many there is place for.

    Raises:
        ValueError: the answer is no list of jobs at all.
        Exception: no answer, or a status that says so; `TooManyRequests` for 429.
    """
    from runpod.http_client import TooManyRequests
    from runpod.serverless.modules import rp_job
    from runpod.serverless.modules.worker_state import JobsProgress

    async with session.get(rp_job._job_get_url(count)) as answer:
        if answer.status in (204, 400):  # none
            return None
        if answer.status == 429:
            raise TooManyRequests(answer.request_info, answer.history, status=429)
        answer.raise_for_status()
        text = (await answer.read()).decode("utf-8", "replace")
    held = JobsProgress()
    return [job for job in read_jobs(text) if held.get(job["id"]) is None]


def read_jobs(text: str) -> list[Job]:
    """The jobs that can be answered, `{"id", "input"}` each; of several with one id, the first.

    Of a job that is no JSON, the id may still be read: then it has no input, and is answered so.

    Raises:
        ValueError: the text is neither a JSON list nor a JSON object.
    """
    text = text.strip()
    if not text:
        return []
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):  # not only what is no JSON: huge numbers, deep nesting
        told = [_element(part) for part in _parts(text)] if text[0] == "[" else _element(text)
        if not told:
            raise ValueError("no JSON") from None
    if told is None:
        return []
    if not isinstance(told, list | dict):
        raise ValueError("no jobs")
    return _answerable(told if isinstance(told, list) else [told])


def _answerable(elements: Iterable[object]) -> list[Job]:
    """Those with an id, without what else they hold: the SDK makes attributes of it."""
    jobs: dict[str, Job] = {}
    for element in elements:
        name = element.get("id") if isinstance(element, dict) else None
        if not isinstance(element, dict) or not isinstance(name, str) or not _is_id(name):
            log.warning("the job server gave a job without an id that can be used: it is left out")
        elif name in jobs:
            log.warning("the job server gave a job twice: it is answered once")
        else:
            jobs[name] = {"id": name, "input": element.get("input")}
    return list(jobs.values())


def _is_id(name: str) -> bool:
    """Whether it can stand in a URL and in a log: not `..`, no line break, no half character."""
    return len(name) <= LONGEST_ID and name.isprintable() and any(map(str.isalnum, name))


def _element(text: str) -> object:
    """A job that is read by itself; of one that cannot be read, its id."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pairs = (part.partition(":") for part in _parts(text.strip()))
        return {key.strip(' \n\r\t"'): _plain(value) for key, _, value in pairs if '"id"' in key}


def _plain(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parts(text: str) -> Iterator[str]:
    """The texts between the outermost commas of a JSON list or object."""
    depth = start = 0
    for mark in _MARK.finditer(text):
        match mark[0]:
            case "[" | "{":
                depth += 1
                start = mark.end() if depth == 1 else start
            case "]" | "}":
                depth -= 1
                if depth == 0:
                    yield text[start : mark.start()]
                    return
            case "," if depth == 1:
                yield text[start : mark.start()]
                start = mark.end()
