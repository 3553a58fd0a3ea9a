"""Story progress: has this turn reached the next event? A pure function over plain numbers.

The story is a line of events by `order`. The one after the position is looked at, and no other, so
nothing is skipped and nothing can be reached twice; the position never moves back. One call reaches
at most one event. Events without a trigger happen by themselves: they are passed on the way to the
next one that has a trigger and are named in `passed`.

    score = .50 words + .15 the trigger's words + .25 meaning of the trigger + .25 of the event
            + .14 told as a deed - .20 as far as it asks, .35 as it supposes
            - what an event that has happened scores more than this one
            + .30 the score of the turn before

A player may tell what comes after an event that was never noticed. The story does not wait for ever
then: the event is reached, and those up to the one that was told are `due`, one in each of the next
turns, as one turn reaches one event.

Pacing: after an event, the turns of `REST` must pass, unless the user asks to move on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from routing.happening import is_told, split
from schemas.rag import Likeness

REACH = 0.32
"""Score that reaches an event. Of 1,683 pairs of a mock message and a trigger that is not its own
31 score this, of 1,530 Korean ones 10; docs/routing.md has the trade against lateness."""
ASKED = 0.20
"""Score that suffices when the user tells the narrator what happens, or asks to move on."""
CARRY = 0.3
"""Share of the score of the turn before that counts again: an event may take two turns to tell."""
OVERTAKEN = 0.40
"""Score of a later event from which those before it are taken for granted."""
AHEAD = 3
"""Later events that a message is compared with."""
PAST = 12
"""Events that have happened that it is compared with: people speak of them, too."""
HERE = 0.12
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


@dataclass(frozen=True, slots=True)
class Beat:
    """A story event as far as progress needs it."""

    id: str
    order: int
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of the story. `distance` of the next trigger: 0 here, 1 nowhere near; `due`: the
    order up to which the story was told, where it is behind that."""

    position_before: int
    position_after: int
    event_id: str | None
    passed: tuple[str, ...]
    next_id: str | None
    score: float
    distance: float
    why: str
    due: int | None = None


def next_beat(beats: Sequence[Beat], position: int) -> Beat | None:
    """The first event after the position that waits for something to happen."""
    return next(
        (b for b in sorted(beats, key=lambda b: b.order) if b.order > position and b.trigger), None
    )


def advance(
    beats: Sequence[Beat],
    position: int,
    message: str,
    likeness: Likeness,
    *,
    later: Sequence[tuple[int, Likeness]] = (),
    past: Sequence[Likeness] = (),
    score_before: float = 0.0,
    turns_since: int | None = None,
    due: int | None = None,
    asked: bool = False,
) -> Progress:
    """Whether the next event is reached in this turn.

    Args:
        message: the user's, without a directive.
        likeness: of the message to the next event that has a trigger.
        later: order of, and likeness of the message to, events that come after it (`AHEAD`).
        past: likeness of the message to events that have happened (`PAST`).
        score_before: the score of the turn before against the same event, 0 if there was none.
        turns_since: turns since an event was last reached, None if never.
        due: how far the story was told before (`Progress.due`).
        asked: the user tells the narrator what happens, or asks for what comes next.
    """
    beat = next_beat(beats, position)
    if beat is None:
        return Progress(
            position, position, None, (), None, 0.0, 1.0, "no event is left to wait for"
        )
    parts = score_parts(message, likeness)
    own = sum(parts.values())
    told_again = max((sum(score_parts(message, near).values()) for near in past), default=0.0)
    parts["has happened"] = -round(max(0.0, told_again - own), 3)
    here = own + parts["has happened"]
    parts["before"] = round(CARRY * score_before, 3)
    total = round(max(0.0, min(1.0, sum(parts.values()))), 3)
    resting = turns_since is not None and turns_since < REST and not asked
    needed = ASKED if asked else REACH
    tells = total >= needed and here >= HERE  # then what is like it and comes later is not told
    by_itself = tells and not resting
    told, beyond = _told_beyond(message, [] if tells else later, here)
    behind = due is not None and due >= beat.order
    reached = by_itself or behind or told is not None
    why = _why(parts, total, needed, resting=resting)
    if behind and not by_itself:
        why = "it was told before"
    elif told and not by_itself:
        why = f"what comes after it is told ({beyond:.2f}); {why}"
    due = max(due or 0, told or 0)
    earlier = [b for b in sorted(beats, key=lambda b: b.order) if position < b.order < beat.order]
    return Progress(
        position_before=position,
        position_after=beat.order if reached else position,
        event_id=beat.id if reached else None,
        passed=tuple(b.id for b in earlier) if reached else (),
        next_id=beat.id,
        score=total,
        distance=round(1 - total, 3),
        why=f"{beat.id} {'reached' if reached else 'not reached'}: {why}",
        due=due if due > beat.order else None,
    )


def _told_beyond(
    message: str, later: Sequence[tuple[int, Likeness]], here: float
) -> tuple[int | None, float]:
    """The order of the later event that is told, if one is and more so than the next; its score."""
    scores = [(sum(score_parts(message, near).values()), order) for order, near in later]
    score, order = max(scores, default=(0.0, 0))
    return (order, score) if score >= OVERTAKEN and score > here else (None, score)


def _why(parts: dict[str, float], total: float, needed: float, *, resting: bool) -> str:
    """The score with its parts, or that it is too soon."""
    shown = ", ".join(f"{name} {value:+.2f}" for name, value in parts.items() if value)
    verdict = (
        "an event was reached just before" if resting else f"{total:.2f} of {needed:.2f} needed"
    )
    return f"{verdict} ({shown or 'nothing of it'})"


def score_parts(message: str, likeness: Likeness) -> dict[str, float]:
    """The parts of the score, each already weighted; empty where nothing happens."""
    happens, talk = split(message)
    if not happens:
        return {}
    trigger = _meaning(likeness.trigger, likeness.trigger_others)
    event = _meaning(likeness.event, likeness.event_others)
    heed = likeness.trust * min(1.0, len(happens.split()) / SPEAKS)
    words = min(1.0, max(0.0, likeness.words - likeness.words_others) / WORDS)
    parts = {
        "words": 0.50 * words,
        "trigger's words": 0.15 * likeness.trigger_words,
        "meaning": heed * (0.25 * trigger + 0.25 * event),
        "told as a deed": 0.14 * is_told(message),
        "talk": -talk,
    }
    return {name: round(value, 3) for name, value in parts.items()}


def _meaning(cosine: float, others: float) -> float:
    """0 for a cosine as unrelated texts have it, 1 for that of a paraphrase."""
    floor = max(MEANING_FLOOR, others)
    span = max(MEANING_SPAN, MEANING_CEILING - floor)
    return max(0.0, min(1.0, (cosine - floor) / span))
