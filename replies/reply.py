"""A model's raw reply, read: cleaned, cut where it leaves its role, and split into pieces."""

from __future__ import annotations

from replies.agency import acts_for_user
from replies.guard import Guard, Rules, rules_of
from replies.names import Cast
from replies.segments import segments
from replies.tidy import readable, tidy, without_rule, wrapping
from replies.tokens import opening_end
from replies.trim import trim
from schemas.response import Cut, FinishReason, ParsedReply


def read_reply(
    raw: str,
    cast: Cast,
    *,
    stops: tuple[str, ...] = (),
    finish_reason: FinishReason = "stop",
    unwrap: bool = True,
) -> ParsedReply:
    """Reads a whole reply; `nodes.parse_reply` describes the arguments."""
    rules = rules_of(cast, stops)
    text, cuts = _from_opening(readable(raw))
    text = _to_whole_words(text, rules, finish_reason, cuts)
    guard = Guard(rules)
    guard.advance(text, final=True)
    cuts += guard.cuts
    text = tidy(without_rule(guard.kept.rstrip()) if guard.ended else guard.kept)
    wrapped = unwrap and cast.speaker == "character" and wrapping(text) == "whole"
    if wrapped:
        text = text[1:-1].strip()
        cuts.append("quotes")
    elif finish_reason == "length" and not guard.ended and text != (text := trim(text)):
        cuts.append("unfinished")
    contents = segments(text, cast, quotes=not wrapped)
    return ParsedReply(
        text=text,
        contents=contents,
        regenerate=guard.regenerate or not text,
        next_speaker=guard.next_speaker,
        speaks_for_user=acts_for_user(contents, cast),
        cuts=tuple(cuts),
    )


def _from_opening(text: str) -> tuple[str, list[Cut]]:
    """The text behind the prompt format's header and hidden reasoning."""
    end, thought = opening_end(text)
    if not end:
        return text.lstrip(), []
    return text[end:].lstrip(), ["thinking" if thought else "turn_header"]


def _to_whole_words(text: str, rules: Rules, reason: FinishReason, cuts: list[Cut]) -> str:
    """The text without a torn token, stop string or tag at its end."""
    end = rules.stops.whole(text, at_limit=reason == "length", tags=rules.tags)
    if end == len(text):
        return text
    cuts.append("partial_stop")
    return text[:end]
