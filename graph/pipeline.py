"""One turn from payload to response: validate, run the graph, remember afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from typing import Any, cast
from weakref import WeakKeyDictionary

from langgraph.types import StreamMode
from pydantic import ValidationError

from graph.build import Services, build_graph
from language.script import SCRIPTS
from retrieval.chat import running_chat
from retrieval.index import PART_SIZE
from retrieval.text import parts
from schemas.base import Identifier, Strict
from schemas.errors import BadRequest, IyagiError
from schemas.request import ChatRequest, Message
from schemas.response import ChatResponse, Timing
from schemas.state import Context, State, request_of

log = logging.getLogger(__name__)


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
    "request": "embed",
}
"""What is written when a step begins; the latest first. The two retrievals are one step."""


PREPARING = 4
"""Turns at once between request and prompt. More keep the event loop busy without a pause: where 64
come at once, everything else on it waits 60 to 80 ms (p99) and not 25."""


class Pipeline:
    """The compiled graph with its live objects, and what happens around a run of it."""

    def __init__(self, services: Services) -> None:
        """Compiles the graph; nothing is loaded before the first turn."""
        self.services = services
        self.graph = build_graph(services)
        self._may_ask = any(model.second_opinion for model in services.models.offered)
        self._afterwards: set[asyncio.Task[None]] = set()
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()  # a semaphore belongs to one loop
        )

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
        modes: list[StreamMode] = ["custom", "values"] if live or self._may_ask else ["values"]
        parts = self.graph.astream(state, context=Context(), stream_mode=modes, version="v2")
        loop = asyncio.get_running_loop()
        async with (
            AsyncExitStack() as place,
            aclosing(cast("AsyncGenerator[Any, None]", parts)),  # leaving ends the work
        ):
            await place.enter_async_context(
                self._places.setdefault(loop, asyncio.Semaphore(PREPARING))
            )
            async for part in parts:
                if part["type"] == "custom":
                    if part["data"]["type"] == "status":  # the model is asked who answers
                        await place.aclose()
                    if live:
                        yield part["data"]
                elif part["type"] == "values":
                    state = part["data"]
                    if "prompt" in state:
                        await place.aclose()
                    if "response" not in state:
                        step = next(step for key, step in _STEPS.items() if key in state)
                        yield {"type": "status", "step": step}
        response = _timed(state, 1000 * (time.perf_counter() - started))
        task = asyncio.create_task(self._remember(state))
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)
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
        memory = self.services.readers["latin"].memory  # knows those of all embedders
        if memory is None:
            raise BadRequest("no memory is kept here (IYAGI_STANDING_MEMORY is off)")
        await self.drain()  # a turn that is just being remembered would bring it back
        for script in SCRIPTS:
            self.services.indexes.forget((found.user_id, found.session_id, script))
        return await asyncio.to_thread(memory.forget, found.user_id, found.session_id)

    async def _remember(self, state: State) -> None:
        """Writes what the next turn can use, after the reply and never in its path: vectors of what
        has none yet and of the running chat as that turn will ask for it, and the new messages of a
        chat whose memory stands here.

        Where the past was searched, what has no vector is what the search left unread, and the
        verbatim lines; of a story, what is left unread. A failure costs the memory and not the
        reply: it is logged, without any of the words.
        """
        request, response, readers = request_of(state), state["response"], self.services.readers
        if response.error or not response.response_contents:
            return
        now = datetime.now(UTC)
        said = Message(role="user", name=request.user_name, content=request.message, timestamp=now)
        reply = Message(
            role=response.responded_as,
            name=state["prompt"].speaker_name or None,
            content="".join(piece.text for piece in response.response_contents),
            timestamp=now,
        )
        messages = [*request.history, said, reply]
        unread = state.get("unread")
        new = messages if unread is None else messages[state["chat"].verbatim_from :]
        texts = [part for message in new for part in parts(message.content, PART_SIZE)]
        embedder, _, memory = readers[state["script"]]
        try:
            # First, as the next turn asks for it first; alone, as a batch would pad the rest to it.
            if chat := running_chat(messages):
                await embedder.aencode_passages([chat])
            await embedder.aencode_passages([*(unread or ()), *texts])
            if left := state.get("unread_story"):
                await readers[state["story_script"]].embedder.aencode_passages(left)
            if memory and request.user_id and request.session_id:
                await asyncio.to_thread(
                    memory.remember, request.user_id, request.session_id, messages
                )
        except IyagiError as error:
            log.warning("the turn was not remembered: %s", error.message)

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
