"""One turn from payload to response: validate, run the graph, remember afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from langgraph.types import StreamMode
from pydantic import ValidationError

from graph.build import Services, build_graph
from graph.remember import remember
from schemas.base import Identifier, Strict
from schemas.errors import BadRequest
from schemas.request import ChatRequest
from schemas.response import ChatResponse, Timing
from schemas.state import Context, State


class Chat(Strict):
    """A chat by its ids."""

    user_id: Identifier
    session_id: Identifier


def read_request(payload: object) -> ChatRequest:
    """The payload as a request.

    Raises:
        BadRequest: names the field and the cure.
    """
    if not isinstance(payload, dict):
        raise BadRequest("must be a JSON object with `message` and `persona`", field="input")
    try:
        return ChatRequest.model_validate(payload)
    except ValidationError as error:
        raise BadRequest.from_validation(error, ChatRequest) from None


_STEPS = {
    "generation": "parse_reply",
    "prompt": "generate",
    "route": "build_prompt",
    "story": "route",
    "query": "retrieve",
}
"""What is written when a step begins; the latest first. The two retrievals are one step."""


def step_of(state: State) -> str:
    """The step that a turn has reached."""
    return next((step for key, step in _STEPS.items() if key in state), "embed")


class Pipeline:
    """The compiled graph with its live objects, and what happens around a run of it."""

    def __init__(self, services: Services) -> None:
        """Compiles the graph; nothing is loaded before the first turn."""
        self.services = services
        self.graph = build_graph(services)
        self._afterwards: set[asyncio.Task[None]] = set()

    async def stream(
        self, payload: object, *, live: bool = True
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one turn.

            {"type": "status", "step": "embed"}          which step is reached; "second_opinion"
                                                         while the model is asked who answers
            {"type": "token", "text": ...}               more of the reply, as it may be shown
            {"type": "segment", "content": {...}}        a ResponseContent that is complete
            {"type": "final", "response": {...}}         last: the ChatResponse as JSON data

        Args:
            payload: a ChatRequest as JSON data.
            live: whether tokens and segments are wanted.

        Raises:
            BadRequest: the payload is at fault.
            IyagiError: a part of the pipeline failed for good.
        """
        started = time.perf_counter()
        state: State = {"request": read_request(payload)}
        modes: list[StreamMode] = ["custom", "values"] if live else ["values"]
        parts = self.graph.astream(state, context=Context(), stream_mode=modes, version="v2")
        async with aclosing(cast("AsyncGenerator[Any, None]", parts)):  # leaving ends the work
            async for part in parts:
                if part["type"] == "custom":
                    yield part["data"]
                elif part["type"] == "values":
                    state = part["data"]
                    if "response" not in state:
                        yield {"type": "status", "step": step_of(state)}
        response = _timed(state, 1000 * (time.perf_counter() - started))
        self._remember(state)
        yield {"type": "final", "response": response.model_dump(mode="json")}

    async def chat(self, payload: object) -> dict[str, Any]:
        """One turn without streaming: a ChatResponse as JSON data. Raises as `stream` does."""
        async for event in self.stream(payload, live=False):
            if event["type"] == "final":
                response: dict[str, Any] = event["response"]
        return response

    async def forget(self, chat: object) -> bool:
        """Deletes the standing memory of a chat; whether there was any.

        Args:
            chat: `{"user_id": ..., "session_id": ...}`.

        Raises:
            BadRequest: an id is missing, or this server keeps no memory.
            StoreError: the memory failed; nothing can be said of what is left.
        """
        try:
            found = Chat.model_validate(chat)
        except ValidationError as error:
            raise BadRequest.from_validation(error, Chat) from None
        if self.services.memory is None:
            raise BadRequest("no memory is kept here (IYAGI_STANDING_MEMORY is off)")
        self.services.indexes.forget((found.user_id, found.session_id))
        return await asyncio.to_thread(self.services.memory.forget, found.user_id, found.session_id)

    def _remember(self, state: State) -> None:
        """Writes what the next turn can use, after the reply and never in its path."""
        task = asyncio.create_task(remember(state, self.services))
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)

    async def drain(self) -> None:
        """Waits until everything that was to be remembered is written."""
        await asyncio.gather(*self._afterwards)


def _timed(state: State, total: float) -> ChatResponse:
    """The response with its milliseconds and, if the model failed, with `meta.error`."""
    response, generation = state["response"], state["generation"]
    update: dict[str, Any] = {"timing": Timing(total=total, nodes=state["timing"])}
    if response.error:
        retryable = generation.retryable if generation.error else True
        told = {"code": "llm", "message": response.error, "retryable": retryable}
        update["meta"] = {**response.meta, "error": told}
    return response.model_copy(update=update)
