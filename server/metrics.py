"""What Prometheus reads at `/metrics`: counts and times, and nothing of any chat.

    iyagi_turns_total{door, outcome}   ok, failed, refused, hung_up; those of the pages, too
    iyagi_turn_seconds{door}           from the request to the end of its reply
    iyagi_first_token_seconds          of streams, from the turn's begin to the first token
    iyagi_prompt_tokens_total, iyagi_cached_tokens_total, iyagi_completion_tokens_total
    iyagi_cached_share                 of the prompt's tokens, turn by turn
    iyagi_errors_total{code}
    iyagi_running                      turns that are being answered
    iyagi_event_loop_lag_seconds       how late it is, at most in 99 of 100 cases

and the process's own memory, files and processor time.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from worker.dispatch import Dispatcher

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FIRST = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60, 300)
_WHOLE = (0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600)
_SHARE = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """The counts of one server."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._turns = Counter(
            "iyagi_turns", "Turns, by how they ended", ["door", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "iyagi_turn_seconds", "Whole turns", ["door"], buckets=_WHOLE, registry=registry
        )
        self._first = Histogram(
            "iyagi_first_token_seconds", "To the first token", buckets=_FIRST, registry=registry
        )
        self._tokens = {
            kind: Counter(f"iyagi_{kind}_tokens", f"Tokens: {kind}", registry=registry)
            for kind in ("prompt", "cached", "completion")
        }
        self._share = Histogram(
            "iyagi_cached_share", "Share of the prompt that was cached", buckets=_SHARE,
            registry=registry,
        )  # fmt: skip
        self._errors = Counter("iyagi_errors", "Failures, by code", ["code"], registry=registry)
        Gauge("iyagi_running", "Turns that are answered now", registry=registry).set_function(
            lambda: dispatcher.busy
        )
        Gauge(
            "iyagi_event_loop_lag_seconds", "Lag of the event loop, p99", registry=registry
        ).set_function(lambda: dispatcher.lag.milliseconds(0.99) / 1000)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)

    def request(self, state: dict[str, Any], seconds: float) -> None:
        """Counts a request that is over, by what was noted of it."""
        if code := state.get("code"):
            self._errors.labels(code).inc()
        if door := state.get("door"):
            self._turns.labels(door, state.get("outcome", "refused")).inc()
            self._seconds.labels(door).observe(seconds)

    def observe(self, event: dict[str, Any], seconds: float) -> None:
        """Counts the wait for a first token, or the tokens of a reply that is complete."""
        if event["type"] == "token":
            self._first.observe(seconds)
        else:
            self._response(event["response"])

    def _response(self, response: dict[str, Any]) -> None:
        usage = response.get("usage") or {}
        prompt, cached = usage.get("prompt_tokens") or 0, usage.get("cached_tokens") or 0
        counted = {"prompt": prompt, "cached": cached}
        for kind, count in (counted | {"completion": usage.get("completion_tokens") or 0}).items():
            self._tokens[kind].inc(count)
        if prompt and usage.get("cached_tokens") is not None:
            self._share.observe(min(1.0, cached / prompt))
