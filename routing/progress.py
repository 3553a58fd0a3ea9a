"""Story progress: has this turn reached the next event? A pure function over plain numbers.

The story is a line of events by `order`. The one after the position is looked at, and no other, so
nothing is skipped and nothing can be reached twice; the position never moves back. One call reaches
at most one event. Events without a trigger happen by themselves: they are passed on the way to the
next one that has a trigger and are named in `passed`.

    score = .45 meaning + .35 words + .10 cast + .10 place - .20 if asked, .35 if supposed

Hysteresis: REACH at once, or LEAN in two turns running (`score_before`, as the last turn returned
it). Pacing: after an event, the turns of `REST` must pass, unless the user asks to move on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from routing import names, reading
from routing.turn import Line

REACH = 0.53
"""Score that reaches an event at once. On the English mock story a paraphrase of a trigger
scores .53 to 1 (17 tried); of 1,683 messages that are none, four score this."""
LEAN = 0.47
"""Score that reaches it when the turn before had it too."""
ASKED = 0.35
"""Score that suffices when the user asks to move on ("what happens next?")."""
REST = 1
"""Full turns that must lie between two events."""
MEANING_FLOOR, MEANING_CEILING = 0.20, 0.65
"""Cosine between unrelated texts, and between a trigger and its paraphrase (all-MiniLM-L6-v2)."""
MEANING_SPAN = 0.25
"""Least room between both where the floor is raised: models and languages differ in their range."""
SUPPOSED, ASKS = 0.35, 0.20
"""Taken off where the message remembers, supposes or puts off; and where it asks."""
BLIND = 0.50
"""Background from which an embedder is not heard alone: all texts are alike to it."""
RECENT = 4
"""Lines of history in which a place or a person still counts as there."""
STOP = frozenset(
    """
    a an the and or of to in on at by for with from into up out down over is are was were be
    been it its his her their he she they them him who that this somebody someone something
    about has have had as and not
    """.split()  # noqa: SIM905
)
TALKED_ABOUT = re.compile(
    r"(?<!\w)(?:if|maybe|someday|one day|tomorrow|later|not yet|never|don't|didn't|won't"
    r"|used to|ever|remember|imagine|what about|tell me about|hope|wish|afraid"
    r"|before you|until)(?!\w)"
    r"|아직|나중에|언젠가|내일|만약|했으면|텐데|기억|얘기해|이야기해|같으면|싶어|싶다|말자|않았"
)


@dataclass(frozen=True, slots=True)
class Beat:
    """A story event as far as progress needs it."""

    id: str
    order: int
    trigger: str = ""
    characters: Sequence[str] = ()
    place: str = ""
    keywords: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What has just been said: the user's message, the reply to it, and the lines before."""

    message: str
    reply: str = ""
    history: Sequence[Line] = ()
    present: Sequence[str] = ()
    """Who takes part without being named: the character, the user."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of the story. `distance` of the next trigger: 0 here, 1 nowhere near."""

    position_before: int
    position_after: int
    event_id: str | None
    passed: tuple[str, ...]
    next_id: str | None
    score: float
    distance: float
    why: str


def next_beat(beats: Sequence[Beat], position: int) -> Beat | None:
    """The first event after the position that waits for something to happen."""
    return next(
        (b for b in sorted(beats, key=lambda b: b.order) if b.order > position and b.trigger), None
    )


def advance(
    beats: Sequence[Beat],
    position: int,
    scene: Scene,
    similarity: float | None,
    *,
    background: float | None = None,
    score_before: float = 0.0,
    turns_since: int | None = None,
    asked: bool = False,
) -> Progress:
    """Whether the next event is reached in this turn.

    Args:
        similarity: cosine between the next trigger and this turn's text; None without vectors.
        background: mean cosine between the other triggers and this turn's text: what unrelated
            means under this embedder in this language.
        score_before: the score of the turn before against the same event, 0 if there was none.
        turns_since: turns since an event was last reached, None if never.
        asked: the user asks for what comes next.
    """
    beat = next_beat(beats, position)
    if beat is None:
        return Progress(
            position, position, None, (), None, 0.0, 1.0, "no event is left to wait for"
        )
    parts = score_parts(beat, scene, similarity, background)
    total = round(max(0.0, min(1.0, sum(parts.values()))), 3)
    shown = ", ".join(f"{name} {value:+.2f}" for name, value in parts.items() if value)
    resting = turns_since is not None and turns_since < REST and not asked
    needed = ASKED if asked else LEAN if score_before >= LEAN else REACH
    reached = total >= needed and not resting
    state = "reached" if reached else "not reached"
    verdict = (
        "an event was reached just before" if resting else f"{total:.2f} of {needed:.2f} needed"
    )
    passed = tuple(
        b.id for b in sorted(beats, key=lambda b: b.order) if position < b.order < beat.order
    )
    return Progress(
        position_before=position,
        position_after=beat.order if reached else position,
        event_id=beat.id if reached else None,
        passed=passed if reached else (),
        next_id=beat.id,
        score=total,
        distance=round(1 - total, 3),
        why=f"{beat.id} {state}: {verdict} ({shown or 'nothing of it'})",
    )


def score_parts(
    beat: Beat, scene: Scene, similarity: float | None, background: float | None = None
) -> dict[str, float]:
    """The parts of the score, each already weighted."""
    now = f"{scene.message}\n{scene.reply}"
    recent = "\n".join(
        [*(f"{line[1]}: {line[2]}" for line in scene.history[-RECENT:]), now, *scene.present]
    )
    words = heard_share(content_words(beat.trigger), now)
    keywords = sum(_heard(keyword, now) for keyword in beat.keywords) / 2
    floor = max(MEANING_FLOOR, background or 0.0)
    span = max(MEANING_SPAN, MEANING_CEILING - floor)
    meaning = words if similarity is None else max(0.0, min(1.0, (similarity - floor) / span))
    if floor > BLIND:
        meaning = max(meaning, words)
    cast = (
        sum(_heard(name, recent) for name in beat.characters) / len(beat.characters)
        if beat.characters
        else 0.5
    )
    parts = {
        "meaning": 0.45 * meaning,
        "words": 0.35 * min(1.0, max(words, 0.5 * keywords + 0.5 * words)),
        "cast": 0.10 * cast,
        "place": 0.10 * float(bool(beat.place) and _heard_any(beat.place, recent)),
        "only talk": -only_talk(scene.message),
    }
    return {name: round(value, 3) for name, value in parts.items()}


def only_talk(message: str) -> float:
    """How much a message that does nothing takes off: SUPPOSED, ASKS or 0."""
    text = reading.plain(message)
    if reading.is_only_action(message):
        return 0.0
    if TALKED_ABOUT.search(text):
        return SUPPOSED
    return ASKS if text.rstrip(' "”*').endswith(("?", "？")) else 0.0


def content_words(trigger: str) -> list[str]:
    """The words of a trigger that carry its meaning."""
    return [w for w in re.findall(r"\w+", reading.plain(trigger)) if w not in STOP and len(w) > 1]


def heard_share(words: Sequence[str], text: str) -> float:
    """Share of `words` that occur in `text`, endings apart: "opened" in "open it"."""
    if not words:
        return 0.0
    stems = {_stem(w) for w in re.findall(r"\w+", reading.plain(text))}
    return sum(_stem(w) in stems for w in words) / len(words)


def _stem(word: str) -> str:
    """A crude stem: five letters of an English word, two syllables of a Korean one."""
    return (
        word[:2]
        if reading.HANGUL.search(word)
        else re.sub(r"(?:ing|ed|es|s)$", "", word)[:5].rstrip("e")
    )


def _heard(name: str, text: str) -> bool:
    """A full name, or any part of it that is a word of weight: "Finch" for "Mr Aldous Finch"."""
    parts = [p for p in name.split() if p.lower() not in STOP]
    parts = [p for p in parts if len(p) > 2 or reading.HANGUL.search(p)]
    return any(names.mentions(text, part) for part in [name, *parts])


def _heard_any(place: str, text: str) -> bool:
    return any(_heard(part, text) for part in re.split(r"[,，]", place) if part.strip())
