"""One turn from payload to response: validate, run the graph, remember afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from langgraph.types import StreamMode
from pydantic import ValidationError

from graph.build import Services, build_graph
from graph.completion import complete
from language.script import SCRIPTS
from retrieval.chat import running_chat
from retrieval.index import PART_SIZE
from retrieval.text import parts
from schemas.base import MAX_TEXT, Identifier, Strict
from schemas.budget import Budget, current, spending
from schemas.errors import BadRequest, IyagiError, traced
from schemas.protocols import Embedder
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
"""Turns at once between request and prompt, of those that ask a store and of those that ask none:
these never wait for a store. More keep the event loop busy without a pause: where 64 come at once,
everything else on it waits 60 to 80 ms (p99) and not 25."""

WAITING = 16_000_000
"""Characters of the chats that wait to be remembered, together: some 100 MB with their requests. A
turn more is not remembered; what its chat said comes with the history of its next one."""


REMEMBERING = 300.0
"""Seconds for what follows a reply: to embed all of the largest request takes minutes."""


@dataclass(eq=False)
class _Turn:
    """A turn, from its request until it is remembered."""

    chat: tuple[str | None, str | None]  # user and session
    forgotten: bool = False  # its chat was, since it began
    remembering: asyncio.Task[None] | None = None


class Pipeline:
    """The compiled graph with its live objects, and what happens around a run of it."""

    def __init__(self, services: Services) -> None:
        """Compiles the graph; nothing is loaded before the first turn."""
        self.services = services
        self.graph = build_graph(services)
        self._memory = services.readers["latin"].memory  # knows the chats of all readers
        self._may_ask = any(model.second_opinion for model in services.models.offered)
        self._turns: set[_Turn] = set()
        self._waiting = 0  # characters to be remembered
        self._places: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[bool, asyncio.Semaphore]
        ] = WeakKeyDictionary()  # a semaphore belongs to one loop
        self._later: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    async def stream(
        self, payload: object, *, live: bool = True
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one turn.

            {"type": "status", "step": "embed"}          which step is reached; "second_opinion"
                                                         while the model is asked who answers;
                                                         "reading" with `percent` while the server
                                                         reads the prompt, where it tells
            {"type": "token", "text": ...}               more of the reply, as it may be shown
            {"type": "segment", "content": {...}}        a ResponseContent that is complete
            {"type": "final", "response": {...}}         last: the ChatResponse as JSON data

        Args:
            payload: a ChatRequest as JSON data.
            live: whether tokens and segments are wanted.

        Raises:
            BadRequest: the payload is at fault.
            DeadlineExceeded: the turn has a deadline (`worker.events.within`) and missed it.
            IyagiError: a part of the pipeline failed for good.
        """
        started, budget = time.perf_counter(), current().anew()
        request = read_request(payload)
        turn = _Turn((request.user_id, request.session_id))
        self._turns.add(turn)
        try:
            state: State = {"request": request}
            modes: list[StreamMode] = ["custom", "values"] if live or self._may_ask else ["values"]
            run = self.graph.astream(state, context=Context(), stream_mode=modes, version="v2")
            parts = cast("AsyncGenerator[Any, None]", run)
            async with AsyncExitStack() as place, aclosing(parts):  # leaving ends the work
                await place.enter_async_context(self._place(request))
                while part := await _next(parts, budget):
                    if part["type"] == "custom":
                        if part["data"]["type"] == "status":  # the model is asked
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
            turn.remembering = asyncio.create_task(self._remember(turn, state))
            turn.remembering.add_done_callback(partial(self._remembered, turn))
        finally:
            if turn.forgotten:  # what was said is in an index again
                self._forget_indexes(*turn.chat)
            if turn.remembering is None:
                self._turns.discard(turn)
        yield {"type": "final", "response": response.model_dump(mode="json")}

    async def chat(self, payload: object) -> dict[str, Any]:
        """One turn without streaming: a ChatResponse as JSON data. Raises as `stream` does."""
        async for event in self.stream(payload, live=False):
            if event["type"] == "final":
                response: dict[str, Any] = event["response"]
        return response

    async def complete(self, payload: object) -> AsyncGenerator[dict[str, Any], None]:
        """Plain work of the model, without a turn: the events of `graph.completion.complete`."""
        async with aclosing(complete(self.services.models, payload)) as events:
            async for event in events:
                yield event

    async def forget(self, chat: object) -> bool:
        """Deletes the standing memory of a chat; whether there was any. A turn of it that began
        before is not remembered, in this process; in another, if it found a memory.

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
        memory, ids = self._memory, (found.user_id, found.session_id)
        if memory is None:
            raise BadRequest("no memory is kept here (IYAGI_STANDING_MEMORY is off)")
        turns = [turn for turn in self._turns if turn.chat == ids]
        for turn in turns:
            turn.forgotten = True
        await _until_remembered(turns)  # one may be writing
        self._forget_indexes(*ids)
        await asyncio.to_thread(self.services.conversations.forget, *ids)
        return await memory.apart(lambda: memory.forget(*ids), writes=True)

    def _forget_indexes(self, user_id: str | None, session_id: str | None) -> None:
        for script in SCRIPTS:
            self.services.indexes.forget((user_id, session_id, script))

    def _place(self, request: ChatRequest) -> asyncio.Semaphore:
        asks_store = request.story_id is not None or self._is_remembered(request)
        places = self._places.setdefault(
            asyncio.get_running_loop(),
            {asks: asyncio.Semaphore(PREPARING) for asks in (False, True)},
        )
        return places[asks_store]

    def _is_remembered(self, request: ChatRequest) -> bool:
        return bool(self._memory and request.user_id and request.session_id)

    async def _remember(self, turn: _Turn, state: State) -> None:
        """Writes what the next turn can use, after the reply and never in its path: vectors of what
        has none yet and of the running chat as that turn will ask for it, and the new messages of a
        chat whose memory stands here.

        Where the past was searched, what has no vector is what the search left unread, and the
        verbatim lines; of a story, what is left unread. A failure costs the memory and not the
        reply: it is logged, without any of the words.
        """
        request, response, readers = request_of(state), state["response"], self.services.readers
        if response.error or not response.response_contents or response.responded_as == "user":
            return
        now = datetime.now(UTC)
        said = Message(role="user", name=request.user_name, content=request.message, timestamp=now)
        reply = Message(
            role=response.responded_as,
            name=state["prompt"].speaker_name or None,
            content=_whole_reply(request, response)[:MAX_TEXT],
            timestamp=now,
        )
        messages = [*request.history, said, reply]
        size = sum(len(message.content) for message in messages)
        if self._waiting and self._waiting + size > WAITING:
            log.warning("the turn was not remembered: too many wait to be")
            return
        unread = state.get("unread")
        new = messages if unread is None else messages[state["chat"].verbatim_from :]
        texts = [part for message in new for part in parts(message.content, PART_SIZE)]
        embedder, _, memory = readers[state["script"]]
        self._waiting += size
        try:
            with spending(Budget(REMEMBERING)):
                # First, as the next turn asks for it first; alone, as a batch would pad the rest.
                if chat := running_chat(messages):
                    for script in {state["script"], state.get("story_script", state["script"])}:
                        await self._embed_later(readers[script].embedder, [chat])
                await self._embed_later(embedder, [*(unread or ()), *texts])
                if left := state.get("unread_story"):
                    await self._embed_later(readers[state["story_script"]].embedder, left)
                if memory and self._is_remembered(request):
                    ids = str(request.user_id), str(request.session_id)
                    # Of a chat that is known by its content alone, what may still be swiped or
                    # rewritten is not remembered; the next request brings it.
                    settled = self.services.conversations.settled
                    kept = await asyncio.to_thread(settled, ids[1], request.history)
                    remember = partial(
                        memory.remember, *ids, messages if kept is None else kept,
                        said_now=2 if kept is None else 0, recalled_from=state.get("recalled_from"),
                    )  # fmt: skip
                    if kept != []:
                        await memory.apart(lambda: turn.forgotten or remember(), writes=True)
        except IyagiError as error:
            log.warning("the turn was not remembered: %s", error.message)
        finally:
            self._waiting -= size

    async def _embed_later(self, embedder: Embedder, texts: Sequence[str]) -> None:
        """Makes vectors known for which nobody waits: of one turn after the other, so that a user's
        message finds at most one batch of them before it at the embedder."""
        async with self._later.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            await embedder.aencode_passages(texts)

    def _remembered(self, turn: _Turn, task: asyncio.Task[None]) -> None:
        """Lets go of the turn; the loop would log what an exception says."""
        self._turns.discard(turn)
        if not task.cancelled() and (error := task.exception()):
            log.error("the turn was not remembered\n%s", traced(error))

    async def drain(self) -> None:
        """Waits until everything that was to be remembered is written, in whichever running loop;
        a loop that has ended writes nothing more."""
        await _until_remembered(self._turns)
        for reader in self.services.readers.values():
            await asyncio.to_thread(reader.embedder.flush)


def _whole_reply(request: ChatRequest, response: ChatResponse) -> str:
    """The reply with what was written of it before."""
    return (request.reply_start or "") + "".join(it.text for it in response.response_contents)


async def _until_remembered(turns: Iterable[_Turn]) -> None:
    """Waits until these turns are remembered, or could not be."""
    loops = {task: task.get_loop() for turn in turns if (task := turn.remembering)}
    waiting = [
        asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.wait({task}), loop))
        for task, loop in loops.items()
        if loop.is_running()
    ]
    await asyncio.gather(*waiting, return_exceptions=True)


async def _next(parts: AsyncGenerator[Any, None], budget: Budget) -> Any:
    """The next part of a run, None behind the last. The budget is set while it is awaited, and not
    while the reader of `stream` has its turn, who may do other work in the same task."""
    with spending(budget):
        return await anext(parts, None)


def _timed(state: State, total: float) -> ChatResponse:
    """The response with its milliseconds and, if the model failed, with `meta.error`."""
    response, generation = state["response"], state["generation"]
    update: dict[str, Any] = {"timing": Timing(total=total, nodes=state["timing"])}
    if response.error:
        retryable = generation.retryable if generation.error else True
        told = {"code": "llm", "message": response.error, "retryable": retryable}
        update["meta"] = {**response.meta, "error": told}
    return response.model_copy(update=update)
