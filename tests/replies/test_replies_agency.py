"""Narration that acts for the user is reported, and left as it is."""

from __future__ import annotations

import pytest

from schemas.request import Speaker
from schemas.response import ParsedReply
from tests.replies.reading import parse_reply


def read(raw: str, speaker: Speaker = "character") -> ParsedReply:
    return parse_reply(
        raw,
        speaker=speaker,
        persona_names=("세라피나",),
        user_name=("민준", "Bart"),
        others=("Elara",),
    )


@pytest.mark.parametrize(
    "raw",
    [
        'You walk over and sit. "Hi."',
        '"Hi." Slowly, you nod.',
        '"Hi." {{user}} nods.',
        '"Hi." Bart replied that he was tired.',
        '"Hi," she says as you step closer.',
        "“왔네.” 민준은 천천히 고개를 끄덕였다.",
        "“왔네.” 당신은 그녀에게 다가간다.",
        "“왔네.” 민준이가 문을 열었다.",
        "*당신이 손을 내밀었다* 고마워.",
    ],
)
def test_reports_acts_of_the_user(raw: str) -> None:
    reply = read(raw)
    assert reply.speaks_for_user
    assert (reply.text, reply.cuts) == (raw, ())


@pytest.mark.parametrize(
    "raw",
    [
        "You walk over there every day, you say.",  # the character speaks
        '"You nod too much." She sighed.',
        'You see a door. You feel cold. "Hm."',
        'If you follow her, she waits. Do you nod? "Hm."',
        'She watches you. You take five points of damage. "Ha."',
        "“왔네.” 당신 앞에 문이 있다. 민준은 춥다.",
        "“왔네.” 당신이 말하자 세라피나는 고개를 끄덕였다.",
        "“왔네.” 세라피나는 고개를 끄덕였다.",
        "“당신은 고개를 끄덕였다.” 그녀가 읽었다.",
    ],
)
def test_leaves_senses_conditions_and_speech_alone(raw: str) -> None:
    assert not read(raw).speaks_for_user


def test_the_narrator_is_watched_too() -> None:
    assert read("비가 내린다. 당신은 우산을 꺼냈다.", "narrator").speaks_for_user
    assert not read("비가 내린다. 우산이 젖는다.", "narrator").speaks_for_user
