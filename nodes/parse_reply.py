"""Node `parse_reply`: from the model's raw words to what the user reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from langgraph.runtime import Runtime

from replies.reply import read_reply
from replies.response import respond
from replies.tags import Cast
from schemas.models import Models
from schemas.request import Role, Speaker
from schemas.response import FinishReason, ParsedReply
from schemas.state import Context, State, request_of

NAMES = 50
"""Participants of each role whose tags are known, the newest of a chat."""


def parse_reply(
    raw: str,
    *,
    speaker: Speaker,
    persona_names: Sequence[str],
    user_name: str | Sequence[str] | None = None,
    others: Iterable[str] = (),
    stops: Iterable[str] = (),
    finish_reason: FinishReason = "stop",
) -> ParsedReply:
    """Cleans a reply, cuts it where it leaves its role and splits it into typed pieces.

    Args:
        raw: the model's words, whatever they are.
        speaker: who was asked: the character or the narrator.
        persona_names: the character's name, then its aliases.
        user_name: what the user is called, one name or several; "User", "You" and their like are
            known anyway.
        others: further participants by name; from their tag on the reply is cut.
        stops: the stop strings of the request; a torn one at the end is removed, too.
        finish_reason: `length` lets an unfinished last sentence be removed.

    Returns:
        The text, its pieces and what was done. The text is empty only with `regenerate`.
    """
    cast = cast_of(speaker, persona_names, user_name, others)
    return read_reply(raw, cast, stops=tuple(stops), finish_reason=finish_reason)


def cast_of(
    speaker: Speaker,
    persona_names: Sequence[str],
    user_name: str | Sequence[str] | None = None,
    others: Iterable[str] = (),
) -> Cast:
    """The voices of a chat, for `parse_reply` and for a `StreamReader`; arguments as above."""
    user = (user_name,) if isinstance(user_name, str) else tuple(user_name or ())
    return Cast(speaker, tuple(persona_names), user, tuple(others))


def cast_of_turn(state: State) -> Cast:
    """The voices of a turn, as the request and its history name them."""
    request = request_of(state)
    named = request.voices
    persona = (request.persona.name, *request.persona.aliases)
    user = dict.fromkeys([request.user_name or "", *_names(named, "user")])
    others = [name for name in _names(named, "character") if name not in (*persona, *user)]
    return Cast(
        speaker=state["route"].responded_as,
        persona=persona,
        user=tuple(name for name in user if name),
        others=tuple(others),
        narrator=tuple(_names(named, "narrator")),
    )


def _names(named: Iterable[tuple[Role, str | None]], role: Role) -> list[str]:
    """The names that lines of this role bear, the newest `NAMES` of them, sorted: the rules that
    are made of them stay the same while nobody joins."""
    found = (name for of, name in named if of == role and name)
    return sorted(islice(found, NAMES))


def stops_of(state: State) -> tuple[str, ...]:
    """The strings that end the reply: the prompt's, then the request's."""
    return (*state["prompt"].stop, *request_of(state).gen.stop)


async def node(state: State, runtime: Runtime[Context], *, models: Models) -> dict[str, object]:
    """Reads all that the turn has written; writes `response`."""
    request = request_of(state)
    model = models.choose(request.model.name)
    return {"response": respond(state, request, model, reply_of(state))}


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
        finish_reason=generation.finish_reason,
    )
