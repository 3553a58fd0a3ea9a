"""Turns and plain work of a pipeline, within the deadline of a job."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from graph.pipeline import Pipeline
from schemas.errors import LLMError
from worker.events import Event, paced, within
from worker.output import shortened

T = TypeVar("T")


class Turns:
    """What a pipeline gives, as it can be sent.

    Args:
        pipeline: answers the turns.
        deadline: seconds for one job.
        on_failure: called when a turn failed through no fault of its request.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        deadline: float,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.pipeline, self.on_failure = pipeline, on_failure
        self.observe: Callable[[Event, float], None] = lambda event, seconds: None
        """Called with the first token and the end of each reply, and the seconds to it."""
        self._deadline = deadline

    async def events(self, payload: object, *, live: bool = True) -> AsyncGenerator[Event, None]:
        """The turn's events, gathered for the network."""
        async with aclosing(self._heard(self.pipeline.stream(payload, live=live))) as events:
            async for event in events:
                if event["type"] == "final":
                    event = {**event, "response": self._checked(event["response"])}
                yield event

    async def work(self, payload: dict[str, Any]) -> AsyncGenerator[Event, None]:
        """Plain work of the model; what failed before it wrote anything is raised."""
        async with aclosing(self._heard(self.pipeline.complete(payload))) as events:
            async for event in events:
                if event["type"] == "final" and (error := event["response"].get("error")):
                    if not event["response"]["text"]:
                        raise LLMError(error, retryable=event["response"]["retryable"])
                    self.on_failure()
                yield event

    async def response(self, payload: object) -> dict[str, Any]:
        """The turn's response, at once."""
        begun = time.monotonic()
        response = await self.in_time(self.pipeline.chat(payload))
        self.observe({"type": "final", "response": response}, time.monotonic() - begun)
        return self._checked(response)

    async def _heard(self, source: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """The events, gathered for the network, while they are observed."""
        begun, waits = time.monotonic(), True
        async with aclosing(paced(source, self._deadline)) as events:
            async for event in events:
                if event["type"] == "final" or (waits and event["type"] == "token"):
                    waits = False
                    self.observe(event, time.monotonic() - begun)
                yield event

    async def in_time(self, work: Awaitable[T]) -> T:
        """What the work gives, within the deadline of a job."""
        async with within(self._deadline):
            return await work

    def _checked(self, response: dict[str, Any]) -> dict[str, Any]:
        """The response as it can be sent; a failure that left nothing to read is raised."""
        if response["error"]:
            if not response["response_contents"]:
                raise LLMError(response["error"], retryable=response["meta"]["error"]["retryable"])
            self.on_failure()
        return shortened(response)

    @property
    def offered(self) -> list[str]:
        """Names of the language models."""
        return [model.name for model in self.pipeline.services.models.offered]
