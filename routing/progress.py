"""Story progress: has this turn reached the next event?

The story is a line of events by `order`. The one after the position is looked at, and no other, so
nothing is skipped and nothing can be reached twice; the position never moves back. One call reaches
at most one event. Events without a trigger happen by themselves: they are passed on the way to the
next one that has a trigger and are named in `passed`.

    score = .50 words + .15 the trigger's words + .25 meaning of the trigger + .25 of the event
            + .14 told as a deed (.04 where asked) - .20 as far as it asks, .35 as it supposes
            - what an event that has happened scores more than this one
            + .30 the score of the turn before

A player may tell what comes after an event that was never noticed. The story does not wait for ever
then: the event is reached, and those up to the one that was told are `due`, one in each of the next
turns, as one turn reaches one event.

Pacing: after an event, the turns of `REST` must pass, unless the user asks to move on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from retrieval.story import texts_to_embed
from retrieval.vectors import vectors_of
from routing.directives import parse_directive
from routing.similarity import is_told, similarities, what_happens
from schemas.protocols import PassageVectors
from schemas.rag import EventSimilarity, Upcoming
from schemas.request import StoryEvent
from schemas.state import StoryProgress

REACH = 0.325
"""Score that reaches an event. Of 1,683 pairs of a mock message and a trigger that is not its own
30 score this, of 1,530 Korean ones 15; lab/routing.md has the trade against lateness."""
ASKED = 0.20
"""Score that suffices when the user tells the narrator what happens, or asks to move on."""
DEED, DEED_ASKED = 0.14, 0.04
"""For what is told as a deed; to the narrator all is, an unrelated thing, too. With .14, 29 of 340
such things reached an event in Korean, and 2 with .04, for 2 of 85 that should."""
BEFORE = 0.3
"""Share of the score of the turn before that counts again: an event may take two turns to tell."""
OVERTAKEN = 0.45
"""Score of a later event from which those before it are taken for granted."""
LATER = 3
"""Later events that a message is compared with."""
PAST = 12
"""Events that have happened that it is compared with: people speak of them, too."""
AROUND = 24
"""Events before and after the next one, those without a trigger too, beside which a message's
similarity is read; no longer story makes a turn longer."""
AT_ONCE = 32
"""Unknown texts of these events that a turn embeds before it compares, 0.1 s: those of the next one
first, then of later and of past ones. What is left is compared by words, and embedded after the
reply."""
OWN = 0.12
"""Least score of the message itself; what was said before reaches nothing alone."""
REST = 1
"""Full turns that must lie between two events."""
WORDS = 4.0
"""Words of weight in common with an event, beyond those with any other, that are full evidence."""
MEANING_FLOOR, MEANING_CEILING = 0.20, 0.65
"""Cosine between unrelated texts, and between a trigger and its paraphrase (all-MiniLM-L6-v2)."""
MEANING_SPAN = 0.25
"""Least room between both where the floor is raised: models and languages differ in their range."""
SPEAKS = 5
"""Words from which a message has a meaning of its own: "Oh, Nell." is near whatever has Nell."""


def _awaited(events: Sequence[StoryEvent], position: int | None) -> tuple[int, int | None]:
    """Rows of the first event after the position, and of the first from there on that waits for its
    trigger."""
    if position is None:
        return 0, None
    first = next((row for row, e in enumerate(events) if e.order > position), len(events))
    return first, next((row for row in range(first, len(events)) if events[row].trigger), None)


def around(events: Sequence[StoryEvent], position: int | None) -> range:
    """Rows of the events that `find_upcoming` compares a message with."""
    _, at = _awaited(events, position)
    return range(0) if at is None else range(max(0, at - AROUND), min(len(events), at + 1 + AROUND))


def find_upcoming(
    events: Sequence[StoryEvent],
    position: int | None,
    message: str,
    vector: np.ndarray,
    source: PassageVectors,
    *,
    trust: float = 1.0,
) -> tuple[Upcoming | None, list[str]]:
    """The next event that waits for its trigger, and how near the message is to it. Blocks.

    Args:
        events: in story order: those from the position on, and `AROUND` before it, at least.
        position: the story's clock; without one nothing is awaited.
        message: the user's.
        vector: of the message, (d,) of unit length.
        source: knows and makes vectors.
        trust: how surely it finds what says the same in the message's language, 0 to 1
            (`CosineScale.trust`).

    Returns:
        The event, None where none waits; and the texts without a vector, to embed after the reply.

    Raises:
        EmbeddingError: the embedder failed.
    """
    first, at = _awaited(events, position)
    if at is None:
        return None, []
    before, after = events[max(0, at - AROUND) : at][::-1], events[at + 1 : at + 1 + AROUND]
    later = [event for event in after if event.trigger][:LATER]
    past = [event for event in before if event.trigger][:PAST]
    compared = [events[at], *later, *past]
    ids = {event.id for event in compared}
    around = [*compared, *(event for event in (*before, *after) if event.id not in ids)]
    texts = [texts_to_embed([event]) for event in around]
    vectors, unknown = vectors_of(list(chain(*texts)), source, lambda rows: rows[:AT_ONCE])
    happens, _ = what_happens(_without_directive(message))
    near, *others = similarities(
        happens, vector, around, texts, vectors, first=len(compared), trust=trust
    )
    upcoming = Upcoming(
        event=events[at],
        passing=list(events[first:at]),
        similarity=near,
        later=list(zip((event.order for event in later), others, strict=False)),
        past=others[len(later) :],
    )
    return upcoming, unknown


def advance(
    upcoming: Upcoming,
    position: int,
    message: str,
    *,
    last: StoryProgress | None = None,
    asked: bool = False,
) -> StoryProgress:
    """Whether the next event is reached in this turn.

    Args:
        upcoming: the next event that has a trigger, and how near the message is to it.
        position: the story's clock.
        message: the user's.
        last: what became of the story in the turn before; it paces this one.
        asked: the user tells the narrator what happens, or asks for what comes next.
    """
    event, due = upcoming.event, (last.due if last else None) or 0
    message = _without_directive(message)
    parts = score_parts(message, upcoming.similarity, asked=asked)
    score_alone = sum(parts.values())
    told_again = max((_score(message, near, asked) for near in upcoming.past), default=0.0)
    parts["has happened"] = -round(max(0.0, told_again - score_alone), 3)
    own = score_alone + parts["has happened"]
    if last and last.next == event.id:
        parts["before"] = round(BEFORE * last.score, 3)
    score = round(max(0.0, min(1.0, sum(parts.values()))), 3)
    since = last.turns_since if last else None
    resting = since is not None and since < REST and not asked
    needed = ASKED if asked else REACH
    tells = score >= needed and own >= OWN  # then what is like it and comes later is not told
    by_itself = tells and not resting
    told, beyond = _told_beyond(message, [] if tells else upcoming.later, asked)
    reached = by_itself or due >= event.order or told is not None
    why = _why(parts, score, needed, resting=resting)
    if due >= event.order and not by_itself:
        why = "it was told before"
    elif told and not by_itself:
        why = f"what comes after it is told ({beyond:.2f}); {why}"
    due = max(due, told or 0)
    waited = since + 1 if since is not None else None
    return StoryProgress(
        position_before=position,
        position_after=event.order if reached else position,
        event=event.id if reached else None,
        passed=[passed.id for passed in upcoming.passing] if reached else [],
        next=event.id,
        score=score,
        distance=round(1 - score, 3),
        turns_since=0 if reached else waited,
        due=due if due > event.order else None,
        why=f"{event.id} {'reached' if reached else 'not reached'}: {why}",
    )


def _without_directive(message: str) -> str:
    directive = parse_directive(message)
    return directive.message if directive else message


def _told_beyond(
    message: str, later: Sequence[tuple[int, EventSimilarity]], asked: bool
) -> tuple[int | None, float]:
    """The order of the later event that is told, if one is; its score."""
    scores = [(_score(message, near, asked), order) for order, near in later]
    score, order = max(scores, default=(0.0, 0))
    return (order if score >= OVERTAKEN else None), score


def _why(parts: dict[str, float], score: float, needed: float, *, resting: bool) -> str:
    """The score with its parts, or that it is too soon."""
    shown = ", ".join(f"{name} {value:+.2f}" for name, value in parts.items() if value)
    verdict = (
        "an event was reached just before" if resting else f"{score:.2f} of {needed:.2f} needed"
    )
    return f"{verdict} ({shown or 'nothing of it'})"


def _score(message: str, near: EventSimilarity, asked: bool) -> float:
    return sum(score_parts(message, near, asked=asked).values())


def score_parts(message: str, near: EventSimilarity, *, asked: bool = False) -> dict[str, float]:
    """The parts of the score, each already weighted; empty where nothing happens.

    Whatever is told to the narrator (`asked`) is told as a deed, so that says little there.
    """
    happens, talk = what_happens(message)
    if not happens:
        return {}
    trigger = _meaning(near.trigger, near.trigger_others)
    event = _meaning(near.event, near.event_others)
    trust = near.trust * min(1.0, len(happens.split()) / SPEAKS)
    words = min(1.0, max(0.0, near.words - near.words_others) / WORDS)
    parts = {
        "words": 0.50 * words,
        "trigger's words": 0.15 * near.trigger_words,
        "meaning": trust * (0.25 * trigger + 0.25 * event),
        "told as a deed": (DEED_ASKED if asked else DEED) * is_told(message),
        "talk": -talk,
    }
    return {name: round(value, 3) for name, value in parts.items()}


def _meaning(cosine: float | None, others: float) -> float:
    """0 for a cosine as unrelated texts have it or that is not known, 1 for a paraphrase's."""
    if cosine is None:
        return 0.0
    floor = max(MEANING_FLOOR, others)
    span = max(MEANING_SPAN, MEANING_CEILING - floor)
    return max(0.0, min(1.0, (cosine - floor) / span))
