"""What a turn leaves for the next one, written when the reply has gone out."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from graph.build import Services
from retrieval.chat import running_chat
from retrieval.index import PART_SIZE
from retrieval.text import parts
from schemas.errors import IyagiError
from schemas.request import Message
from schemas.state import State, request_of

log = logging.getLogger(__name__)


async def remember(state: State, live: Services) -> None:
    """Embeds what has no vector yet, and the running chat as the next turn will ask for it; adds
    the new messages to the chat's standing memory if there is one.

    Where the past was searched, that is what the search left unread, and the verbatim lines; of a
    story, what is left unread.

    A failure costs the memory and not the reply: it is logged, without any of the words.
    """
    request, response = request_of(state), state["response"]
    if response.error or not response.response_contents:
        return
    now = datetime.now(UTC)
    said = [
        Message(role="user", name=request.user_name, content=request.message, timestamp=now),
        Message(
            role=response.responded_as,
            name=state["prompt"].speaker_name or None,
            content="".join(piece.text for piece in response.response_contents),
            timestamp=now,
        ),
    ]
    messages = [*request.history, *said]
    unread = state.get("unread")
    new = messages if unread is None else messages[state["chat"].verbatim_from :]
    texts = [part for message in new for part in parts(message.content, PART_SIZE)]
    try:
        left = [*(unread or ()), *state.get("unread_story", ())]
        if chat := running_chat(messages):  # first: the next turn asks for it first
            await live.embedder.aencode_passages([chat])  # alone: a batch would pad the rest to it
        await live.embedder.aencode_passages([*left, *texts])
        if live.memory and request.user_id and request.session_id:
            await live.memory.aremember(request.user_id, request.session_id, messages)
    except IyagiError as error:
        log.warning("the turn was not remembered: %s", error.message)
