"""Node `parse_reply`: from the model's raw words to what the user reads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from langgraph.runtime import Runtime

from replies.reply import read_reply
from replies.response import respond
from replies.tags import Cast
from schemas.base import done
from schemas.models import Models
from schemas.request import Role
from schemas.response import ParsedReply
from schemas.state import Context, State, request_of

LONG = 4_096
"""Characters of a reply that are read within 20 ms."""

NAMES = 50
"""Participants of each role whose tags are known, the newest of a chat."""


def cast_of_turn(state: State) -> Cast:
    """The voices of a turn, as the request and its history name them."""
    request = request_of(state)
    named = request.voices
    persona = (request.persona.name, *request.persona.aliases)
    user = dict.fromkeys([request.user_name or "", *_names(named, "user")])
    others = [name for name in _names(named, "character") if name not in (*persona, *user)]
    names = tuple(name for name in user if name)
    writer = state["route"].responded_as
    if writer == "user":  # the guard turned round
        own = dict.fromkeys((*names, state["prompt"].speaker_name, *USER_WORDS))
        writer, persona, names = "character", tuple(own), persona
    return Cast(
        speaker=writer,
        persona=persona,
        user=names,
        others=tuple(others),
        narrator=tuple(_names(named, "narrator")),
    )


USER_WORDS = ("User", "You", "유저")
"""Under which a model may write the user's line, beside the name."""


def _names(named: Iterable[tuple[Role, str | None]], role: Role) -> list[str]:
    """The names that lines of this role bear, the newest `NAMES` of them, sorted: the rules that
    are made of them stay the same while nobody joins."""
    found = (name for of, name in named if of == role and name)
    return sorted(islice(found, NAMES))


def stops_of(state: State) -> tuple[str, ...]:
    """The strings that end the reply: the prompt's, then the request's."""
    return (*state["prompt"].stop, *request_of(state).gen.stop)


def headings_of(state: State) -> tuple[str, ...]:
    """What a reply begins to say when it copies its prompt."""
    return tuple(state["prompt"].headings)


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads all that the turn has written; writes `response`."""
    request = request_of(state)
    model = models.choose(request.model.name)
    long = len(state["generation"].text) > LONG
    return {
        "response": await done(lambda: respond(state, request, model, reply_of(state)), aside=long)
    }


def reply_of(state: State) -> ParsedReply:
    """The reply as it was read while it was written. A run that goes on from a checkpoint reads it
    anew: it is not written there."""
    if reply := state.get("reply"):
        return reply
    generation = state["generation"]
    return read_reply(
        generation.text,
        cast_of_turn(state),
        stops=stops_of(state),
        headings=headings_of(state),
        before=request_of(state).reply_start or "",
        finish_reason=generation.finish_reason,
    )
