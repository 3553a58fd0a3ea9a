"""What a turn shows: named measures, each between -1 and 1, in one flat dictionary.

`scene_*` come from the lines before, `says_*` from the message, `both_*` from the two together.
What each means is written beside its weight in `weights.toml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from language.korean import has_syllables
from routing import reading
from schemas.request import Role

LINES_READ = 12
"""Lines before the message that are read: who narrates, and whether a game is on."""
NEAR = 5
"""Lines that set the scene: what two human readers were given to judge from."""

LONG = 250
"""Characters from which a line of narration is long."""
PERSON_FADES = (1.0, 0.5, 0.5, 0.25, 0.25)
"""How much a person who spoke in the narration still holds the floor, by lines since."""
TRIGGER_FLOOR = 0.5
"""Cosine below which a message says nothing about a story event, in English and in Korean."""

Features = dict[str, float]


class Line(NamedTuple):
    """One line of the running scene."""

    role: Role
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class RouterInput:
    """A message with what surrounds it. `history` is oldest first; its last lines are read."""

    message: str
    history: Sequence[Line] = ()
    character: str = ""
    aliases: Sequence[str] = ()
    user_name: str = ""
    others: Sequence[str] = ()
    """Names of further characters in the scene."""
    respond_as: Literal["auto", "narrator", "character"] = "auto"
    narrator_plays_people: bool = False
    """The narrator is a game master who also speaks for minor persons: to answer one is then the
    narrator's turn. Otherwise a person who speaks inside the narration counts as a character."""
    trigger_similarity: float | None = None
    """Cosine between the message and the next story event's trigger, where a story runs."""
    vector: NDArray[np.float32] | None = field(default=None, compare=False)
    """Unit vector of the message, from the embedder that also embedded the exemplars."""


class _Signs(NamedTuple):
    """What one line of the scene shows."""

    person: bool
    acts: bool
    rules: bool
    to_you: bool
    korean: bool
    asks: bool


def _signs(text: str) -> _Signs:
    bare = reading.unquoted(reading.plain(text))
    tail = bare[-300:]
    return _Signs(
        person=reading.is_person_speaking(text),
        acts=reading.acts(bare),
        rules=reading.shows("rules", tail),
        to_you=reading.shows("second_person", tail),
        korean=has_syllables(tail),
        asks=bare.rstrip().endswith(("?", "？")),
    )


def measure(turn: RouterInput, *, exemplar_vote: float) -> Features:
    """All features of a turn. `exemplar_vote`: -1 (like talk) to 1 (like a call for narration)."""
    scene, message = _scene(turn.history[-LINES_READ:]), _message(turn)
    like = {"says_like_exemplars": exemplar_vote}
    return scene | message | like | _both(scene, message, turn)


def _scene(window: Sequence[Line]) -> Features:
    """Who spoke, how the narrator spoke, and whether the last line waits for somebody."""
    signs = [_signs(line.text) for line in window]
    near, near_signs = window[-NEAR:], signs[-NEAR:]
    narrated = [s for line, s in zip(window, signs, strict=True) if line.role == "narrator"]
    acted = [s.acts for line, s in zip(near, near_signs, strict=True) if line.role != "narrator"]
    gap = next((i for i, line in enumerate(reversed(near)) if line.role == "narrator"), None)
    role, text = (near[-1].role, near[-1].text) if near else (None, "")
    last = near_signs[-1] if near else _Signs(*[False] * 6)
    person = role == "narrator" and last.person
    master = role == "narrator" and not last.person
    return {
        "scene_narrator_recent": 0.0 if gap is None else 1 / (1 + gap),
        "scene_narrator_share": len(narrated) / LINES_READ,
        "scene_narrator_to_you": float(master and last.to_you),
        "scene_narrator_long": float(role == "narrator" and len(text) > LONG),
        "scene_person_last": float(person),
        "scene_person_asks": float(person and "?" in text[-160:]),
        "scene_person_near": float(gap is not None and near_signs[-1 - gap].person)
        * PERSON_FADES[gap or 0],
        "scene_character_asks": float(role == "character" and last.asks),
        "scene_character_to_you": float(role == "character" and last.to_you),
        # Korean prose often speaks to "you", and no game is meant
        "scene_game": _mean([(s.to_you and not s.korean) or s.rules for s in narrated]),
        "scene_rules": sum(s.rules for s in near_signs) / NEAR,
        "scene_actions": sum(acted) / NEAR,
        "scene_voices": len({line.speaker for line in near if line.role == "character"}) / NEAR,
        "scene_user_share": sum(line.role == "user" for line in near) / NEAR,
        "scene_user_then_narrator": float(
            [line.role for line in near[-2:]] == ["user", "narrator"]
        ),
        "scene_user_answered_by_narrator": _answered_by(window, signs),
    }


def _answered_by(window: Sequence[Line], signs: Sequence[_Signs]) -> float:
    """Who answered this user's earlier lines: 1 always the narrator, -1 always a person."""
    answers = [
        1.0 if answer.role == "narrator" and not sign.person else -1.0
        for line, answer, sign in zip(window, window[1:], signs[1:], strict=False)
        if line.role == "user" != answer.role
    ]
    return _mean(answers)


def _message(turn: RouterInput) -> Features:
    """What the message itself says; quotations count as speech, not as what the user does."""
    whole = reading.plain(turn.message)
    only_action = reading.is_only_action(turn.message)
    speech = "" if only_action else reading.without_actions(whole)
    text = reading.unquoted(speech or whole)  # *waves* hello: what is said decides
    acts = reading.acts(text)
    aloud = reading.shows("says", text) or text != (speech or whole) or ": " in text
    asks = reading.shows("asks_telling", text) or (
        reading.shows("asks_scene", text) and reading.is_asked(text)
    )
    korean, later = has_syllables(text), reading.is_put_off(text)
    asked = "?" in text or "？" in text
    called, politely = _calls_somebody(turn, text), reading.shows("politely", text)
    talk = reading.count("talk", text, 2)
    to_you = politely or reading.shows("second_person", text)
    to_somebody = called or to_you
    near_trigger = ((turn.trigger_similarity or 0.0) - TRIGGER_FLOOR) / (1 - TRIGGER_FLOOR)
    return {
        "says_nothing": float(reading.is_continue(whole)),
        "says_only_action": float(only_action),
        "says_prose": float(reading.is_prose(text) and not (aloud or to_you)),
        "says_acts": float(acts),
        "says_act_and_speech": float(acts and aloud),
        "says_asks_scene": float(asks),
        "says_asks_scene_not_you": float(asks and not to_you),
        "says_asks_scene_last": float(reading.asks_scene(reading.last_question(text) or text)),
        "says_third_person": float(reading.shows("third_person", text)),
        "says_question": float(asked),
        "says_rules": reading.count("rules", text, 2),
        "says_score": float(reading.shows("score", text)),
        "says_you": reading.count("second_person", text, 3),
        "says_name": float(called),
        "says_plans": float(reading.shows("plans", text)),
        "says_talk": talk,
        "says_moves": float(reading.shows("moves", text) and not later),
        "says_exclaims": float("!" in text or "！" in text),
        "says_politely": float(politely),
        "says_to_nobody": float(korean and not (asked or to_somebody)),
        "says_to_oneself": float(reading.shows("to_oneself", text) and not to_somebody),
        "says_cries": float(reading.shows("cries", text) and not (to_somebody or talk)),
        "says_sets_out": float(reading.shows("sets_out", text) and not later),
        "says_takes_leave": float(reading.shows("takes_leave", text) and not asked),
        "says_near_trigger": max(0.0, near_trigger),
    }


def _calls_somebody(turn: RouterInput, text: str) -> bool:
    """Somebody in the scene is spoken to: by a known name, as a company, or by some other name."""
    known = {turn.character, *turn.aliases, *turn.others, *_speakers(turn, "character")}
    return (
        any(reading.addresses(turn.message, name) for name in known - {turn.user_name})
        or reading.shows("company", text)
        or (reading.shows("calls", text) and not reading.addresses(text, turn.user_name))
        or reading.addresses_someone(turn.message)
    )


def _both(scene: Features, message: Features, turn: RouterInput) -> Features:
    """Where the message means something else in another scene."""
    person, narrators = scene["scene_person_near"], _speakers(turn, "narrator")
    asks = message["says_asks_scene"] or message["says_asks_scene_last"]
    return {
        "both_nobody_narrates": (0.5 if asks else 1.0) * (bool(turn.history) and not narrators),
        "both_names_narrator": float(any(reading.mentions(turn.message, n) for n in narrators)),
        "both_question_to_person": person * message["says_question"],
        "both_you_to_person": person * float(message["says_you"] > 0),
    }


def _speakers(turn: RouterInput, role: Role) -> set[str]:
    """The names that the lines of a role carry."""
    return {line.speaker for line in turn.history[-LINES_READ:] if line.role == role}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
