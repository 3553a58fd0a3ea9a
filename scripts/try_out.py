"""`--test_input`: one job in the terminal, through the same handler.

The SDK's own way runs no line of a handler that streams, and reports success.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(prog="python -m handler", allow_abbrev=False)
    parse.add_argument("--test_input", required=True, help='the job, as JSON: {"input": {...}}')
    return parse


def try_out(handler: Callable[[Any], AsyncIterator[Any]], argv: Sequence[str]) -> int:
    """Prints what the job yields, a line each. 0 answered, 1 the job failed, 2 not a job."""
    text = flags().parse_args(argv).test_input
    try:
        job = json.loads(text)
    except (ValueError, RecursionError):
        print("error: --test_input is not JSON", file=sys.stderr)
        return 2
    if not isinstance(job, dict) or "input" not in job:
        print('error: --test_input must be {"input": {...}}', file=sys.stderr)
        return 2
    return asyncio.run(_run(handler, {"id": "local_test", **job}))


async def _run(handler: Callable[[Any], AsyncIterator[Any]], job: dict[str, Any]) -> int:
    failed = False
    async for output in handler(job):
        print(json.dumps(output, ensure_ascii=False), flush=True)
        failed = isinstance(output, dict) and bool(output.get("error"))
    return int(failed)
