"""Runpod's entry point, and `python -m handler` for one turn in the terminal.

A job's `input` is one of these:

    {"message": "...", "persona": {"name": "..."}, "history": [...], "stream": false, ...}
    {"openai_route": "/v1/chat/completions", "openai_input": {"model": "...", "messages": [...]}}
    {"openai_route": "/v1/models"}
    {"route": "/schema"}    {"route": "/health"}
    {"route": "/forget", "body": {"user_id": "...", "session_id": "..."}}

The first is a ChatRequest (`docs/schema/request.json`). Without `stream` the job yields one
ChatResponse (`docs/schema/response.json`). With `"stream": true` it yields what happens, numbered;
the last event is enough by itself, should others be lost on the way:

    {"seq": 0, "type": "status", "step": "embed"}           also retrieve, route, build_prompt, ...
    {"seq": 1, "type": "token", "text": "Good "}            more of the reply
    {"seq": 2, "type": "segment", "content": {...}}         a ResponseContent that is complete
    {"seq": 9, "type": "final", "response": {...}}          the ChatResponse
    {"seq": 9, "type": "error", "code": "llm", ...}         or what went wrong, as below

The second yields a chat completion, or with `stream` in its body the text of server-sent events; of
these, the last one before a failure tells it to OpenAI's clients.

A job that cannot be answered yields `{"error": "<JSON>"}` last, by which Runpod reports it as
failed; the JSON is `{"code", "message", "field", "retryable"}`. A model that failed is told apart:
- Nothing readable was written: the job fails so, with the code `llm`.
- The reply broke off: the job is completed with what there is, `model_info.finish_reason` is
  `error` and `meta.error` is `{"code", "message", "retryable"}`. `error` itself holds the message
  in a `final` event only: at the top of an output the SDK takes it out and drops everything else.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.dispatch import Dispatcher


async def handler(event: dict[str, Any]) -> AsyncGenerator[dict[str, Any] | str, None]:
    """Answers one job; whatever goes wrong is said in its last output and never raised."""
    from openai_api.answer import error_event
    from worker.dispatch import hears_events
    from worker.output import OutputCheck, failure

    check, sent = OutputCheck(), 0
    try:
        async with aclosing(dispatcher().answer(event)) as outputs:
            async for output in outputs:
                yield check.checked(output)
                sent += 1
        return
    except Exception as error:  # noqa: BLE001 - the SDK would send it with its traceback
        failed = failure(error)
    if hears_events(event):
        yield error_event(failed)
    elif _hears_turn(event):  # flat: an `error` at the top would end the job for the SDK
        yield {"seq": sent, "type": "error", **failed}
    # Last and outside of all: the SDK leaves the generator here without closing it.
    yield {"error": json.dumps(failed, ensure_ascii=False)}


def _hears_turn(event: object) -> bool:
    """Whether the job's outputs are read as the events of a turn."""
    asked = event.get("input") if isinstance(event, dict) else None
    return (
        isinstance(asked, dict)
        and asked.get("stream") is True
        and not asked.keys() & {"route", "openai_route", "openai_input"}
    )


@functools.cache
def dispatcher() -> Dispatcher:
    """What answers the jobs of this process."""
    from graph.app import pipeline, settings
    from worker.dispatch import Dispatcher

    return Dispatcher(pipeline, settings.characters_dir, settings.job_deadline)


def main(argv: list[str]) -> int:
    """Serves where Runpod's environment says so, else answers one job or turn in the terminal."""
    from schemas.errors import SettingsError

    names = {arg.partition("=")[0] for arg in argv}
    try:
        if "--test_input" in names:
            from scripts.try_out import try_out

            return try_out(handler, argv)
        if "RUNPOD_WEBHOOK_GET_JOB" in os.environ or any(n.startswith("--rp_") for n in names):
            from worker.serve import serve

            serve(handler, dispatcher, argv)
    except SettingsError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    from scripts.turn import main as turn

    return turn(argv)


if __name__ == "__main__":
    from graph.logs import set_up
    from schemas.terminal import in_terminal

    set_up()
    sys.exit(in_terminal(lambda: main(sys.argv[1:])))
