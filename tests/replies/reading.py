"""Replies read in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from replies.reply import read_reply
from replies.tags import Cast
from schemas.request import Speaker
from schemas.response import FinishReason, ParsedReply


def parse_reply(
    raw: str,
    *,
    stops: Iterable[str] = (),
    finish_reason: FinishReason = "stop",
    speaker: Speaker,
    persona_names: Sequence[str],
    user_name: str | Sequence[str] | None = None,
    others: Iterable[str] = (),
) -> ParsedReply:
    """The reply of a chat with such voices."""
    cast = cast_of(speaker, persona_names, user_name, others)
    return read_reply(raw, cast, stops=tuple(stops), finish_reason=finish_reason)


def cast_of(
    speaker: Speaker,
    persona_names: Sequence[str],
    user_name: str | Sequence[str] | None = None,
    others: Iterable[str] = (),
) -> Cast:
    """The voices of a chat; the user may have several names."""
    user = (user_name,) if isinstance(user_name, str) else tuple(user_name or ())
    return Cast(speaker, tuple(persona_names), user, tuple(others))
