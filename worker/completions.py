"""OpenAI's completions, answered by turns and plain work of a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from language.normal import nfc
from openai_api.answer import chunks, completion, model_entry, text_of
from openai_api.errors import UnknownModel
from openai_api.read import Asked, ChatBody, PromptBody, read_chat, read_prompt
from openai_api.translate import ANY_MODEL, Work, chat_work, prompt_work, unknown_model
from schemas.errors import BadRequest
from schemas.request import CONTINUE
from worker import characters
from worker.events import Event, merged
from worker.output import Output
from worker.turns import Turns

T = TypeVar("T")

_SHARE = 4
"""Of a model's context, one part of so many is the most that a reply may take where a client asks
for more: the rest is for the chat. Clients ask for 16,000 tokens of any model."""


class Completions:
    """What OpenAI's clients ask for.

    Args:
        turns: answers.
        folder: the characters that a client can name as its model.
    """

    def __init__(self, turns: Turns, folder: Path) -> None:
        self._turns, self._folder = turns, folder

    def listed(self) -> list[dict[str, Any]]:
        """What a client can name as its model."""
        folder = [model_entry(name, text) for name, text in characters.listed(self._folder)]
        taken = {entry["id"] for entry in folder}
        models = [name for name in (*self._turns.offered, ANY_MODEL) if name not in taken]
        return [*folder, *map(model_entry, dict.fromkeys(models))]

    def entry(self, name: str) -> dict[str, Any]:
        """One of them, whatever the case of its name."""
        listed = self.listed()
        folded = nfc(nfc(name).casefold())
        for known in (nfc(name), folded):
            for entry in listed:
                if known in (entry["id"], nfc(entry["id"].casefold())):
                    return entry
        raise unknown_model([entry["id"] for entry in listed])

    async def chat(self, body: dict[str, Any]) -> AsyncGenerator[Output, None]:
        """A chat completion: turns of a chat, or plain work."""

        def reading() -> tuple[ChatBody, Work]:
            asked = read_chat(body)
            user = str(asked.beside.get("user_id") or asked.user_id or "")
            narrated = partial(self._turns.pipeline.services.conversations.narrated, user_id=user)
            return asked, chat_work(asked, self._turns.offered, self._find, narrated)

        asked, work = await self._read(reading)
        outputs = self._answers([work], asked)
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    async def prompts(self, body: dict[str, Any]) -> AsyncGenerator[Output, None]:
        """A completion of texts."""

        def reading() -> tuple[PromptBody, list[Work]]:
            asked = read_prompt(body)
            return asked, prompt_work(asked, self._turns.offered, self._find)

        asked, works = await self._read(reading)
        echoed = [text if asked.echo else "" for text in asked.prompts for _ in range(asked.n)]
        outputs = self._answers(works, asked, echoed)
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    async def _read(self, reading: Callable[[], T]) -> T:
        """What a request asks for, which may block on the disk, or be long."""

        def read() -> T:
            try:
                return reading()
            except UnknownModel:
                raise unknown_model([entry["id"] for entry in self.listed()]) from None

        return await self._turns.in_time(asyncio.to_thread(read))

    async def _answers(
        self, works: Sequence[Work], asked: Asked, prompts: Sequence[str] | None = None
    ) -> AsyncGenerator[Output, None]:
        """The choices of one completion, at once or as events."""
        model = asked.model
        each = [(work, self._bounded(payload)) for work in works for payload in work.payloads()]
        replies = [self._reply(*one, live=asked.stream) for one in each]
        async with aclosing(merged(replies)) as events:
            if asked.stream:
                told = chunks(
                    events,
                    model,
                    choices=len(each),
                    include_usage=asked.include_usage,
                    prompts=prompts,
                )
                async for text in told:
                    yield text
                return
            finals = {row: event async for row, event in events if event["type"] == "final"}
        yield completion([finals[row]["response"] for row in range(len(each))], model, prompts)

    async def _reply(
        self, work: Work, payload: dict[str, Any], *, live: bool
    ) -> AsyncGenerator[Event, None]:
        """The events of one reply, refusals in the client's words."""
        try:
            events_of = self._turns.work if work.plain else partial(self._chat_turn, live=live)
            async with aclosing(events_of(payload)) as events:
                async for event in events:
                    yield event
        except BadRequest as error:
            raise work.in_words_of_the_client(error) from None

    async def _chat_turn(
        self, payload: dict[str, Any], *, live: bool
    ) -> AsyncGenerator[Event, None]:
        """A turn of a client that names no chat: it is known again by what was said."""
        payload = await self._turns.in_time(asyncio.to_thread(self._recognised, payload))
        async with aclosing(self._turns.events(payload, live=live)) as events:
            async for event in events:
                if event["type"] == "final" and event["response"]["responded_as"] == "narrator":
                    await asyncio.to_thread(self._heard_narration, payload, event["response"])
                yield event

    def _bounded(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload with a reply that leaves the model room for the chat."""
        wanted = payload.get("gen", {}).get("max_new_tokens")
        name = payload.get("model", {}).get("name")
        if wanted is None:
            return payload
        layout = self._turns.pipeline.services.models.choose(name).layout
        most = max(layout.max_new_tokens, layout.context_length // _SHARE)
        if wanted <= most:
            return payload
        return {**payload, "gen": {**payload["gen"], "max_new_tokens": most}}

    def _recognised(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload with the id of the chat that it goes on with, where memory is kept for the
        user and the client names no chat. Blocks on the disk."""
        services, user_id = self._turns.pipeline.services, payload.get("user_id")
        kept = services.readers["latin"].memory
        if kept is None or payload.get("session_id") is not None or not isinstance(user_id, str):
            return payload
        lines = [(line["role"], line["content"]) for line in payload["history"]]
        if payload["message"] != CONTINUE:
            lines.append(("user", payload["message"]))
        character = str(payload["persona"]["name"])
        session_id = services.conversations.session_of(user_id, character, lines)
        return {**payload, "session_id": session_id}

    def _heard_narration(self, payload: dict[str, Any], response: dict[str, Any]) -> None:
        """Remembers that a reply is the narrator's: a client sends it back as the character's."""
        start = payload.get("reply_start") or ""
        self._turns.pipeline.services.conversations.heard_narration(
            f"{start}{text_of(response)}", payload.get("user_id") or "", continued=bool(start)
        )

    def _find(self, name: str) -> characters.Character | None:
        return characters.find(name, self._folder)
