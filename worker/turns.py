"""Turns and plain work of a pipeline, within the deadline of a job."""

from __future__ import annotations

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
        self._deadline = deadline

    async def events(self, payload: object, *, live: bool = True) -> AsyncGenerator[Event, None]:
        """The turn's events, gathered for the network."""
        turn = self.pipeline.stream(payload, live=live)
        async with aclosing(paced(turn, self._deadline)) as events:
            async for event in events:
                if event["type"] == "final":
                    event = {**event, "response": self._checked(event["response"])}
                yield event

    async def work(self, payload: dict[str, Any]) -> AsyncGenerator[Event, None]:
        """Plain work of the model; what failed before it wrote anything is raised."""
        async with aclosing(paced(self.pipeline.complete(payload), self._deadline)) as events:
            async for event in events:
                if event["type"] == "final" and (error := event["response"].get("error")):
                    if not event["response"]["text"]:
                        raise LLMError(error, retryable=event["response"]["retryable"])
                    self.on_failure()
                yield event

    async def response(self, payload: object) -> dict[str, Any]:
        """The turn's response, at once."""
        return self._checked(await self.in_time(self.pipeline.chat(payload)))

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
