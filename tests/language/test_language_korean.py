"""Korean writing: scripts, final consonants, and one answer to which particle follows a name."""

from __future__ import annotations

import re
import time
import tomllib
import unicodedata
from pathlib import Path

import pytest

from cards.macros import Scope, expand
from graph.settings import ROOT
from language.korean import (
    PAIRS,
    agree,
    final_consonant,
    is_korean,
    is_particles,
    josa,
    last_sound,
    syllables_ending_in,
)
from tests.support import MakePipeline, RecordingLLM, ask

WRITTEN = tomllib.loads(Path(__file__).with_name("particles.toml").read_text(encoding="utf-8"))
READINGS = {
    "closed": "민준 밝음 Jack Jane Anne Bob Scott Sam Ian Kim Wang 3 GM Agent10 ケン 민준♡ Philip",
    "open": "Sera 세라 Kate Robert Mark Alex NPC AI 2 K9 さくら Zoë 김.철수 세라(聖羅) Mia Chloe",
    "ㄹ": "하늘 '별' Nicole Paul Angel 1 A7 Belle Bell Kyle 8 R",
}
READINGS = {sound: f"{names} {WRITTEN['names'][sound]}" for sound, names in READINGS.items()}
UNREADABLE = ["聖羅", "Иван", "😀", "", "?!"]


@pytest.mark.parametrize(
    ("name", "sound"), [(n, sound) for sound, names in READINGS.items() for n in names.split()]
)
def test_how_a_name_ends(name: str, sound: str) -> None:
    assert last_sound(name) == sound
    assert last_sound(unicodedata.normalize("NFD", name)) == sound


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_name_that_cannot_be_read_leaves_what_the_author_wrote(name: str) -> None:
    assert last_sound(name) is None
    assert agree(name, "", "은(는) 왔다") == "은(는) 왔다"
    assert [josa(name, pair) for pair in ("은는", "으로")] == [f"{name}은(는)", f"{name}(으)로"]


@pytest.mark.parametrize(("text", "expected"), WRITTEN["written"].items())
def test_particles_as_cards_write_them(text: str, expected: str) -> None:
    assert expand(text, Scope(char="도겸", user="유나")) == expected


def test_a_long_text_behind_a_name_takes_no_time() -> None:
    """In processor time, of 100 KB of what could be particles."""
    started = time.process_time()
    for run in ("는", "라고", "(", "이", "였어", '"*'):
        agree("민준", run * 50_000, run * 50_000)
        last_sound(run * 50_000)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("은는", "민준은 세라는 하늘은"),
        ("이가", "민준이 세라가 하늘이"),
        ("을를", "민준을 세라를 하늘을"),
        ("과와", "민준과 세라와 하늘과"),
        ("아야", "민준아 세라야 하늘아"),
        ("으로", "민준으로 세라로 하늘로"),
    ],
)
def test_the_six_pairs(pair: str, expected: str) -> None:
    assert " ".join(josa(name, pair) for name in ("민준", "세라", "하늘")) == expected


@pytest.mark.parametrize("pair", sorted(PAIRS))
@pytest.mark.parametrize("name", [name for names in READINGS.values() for name in names.split()])
def test_templates_and_macros_agree(name: str, pair: str) -> None:
    """`josa` is the filter of the prompt's templates, `agree` stands behind the card's macros."""
    right = josa(name, pair).removeprefix(name)
    closed, open_ = PAIRS[pair]
    both = (f"{closed}({open_})", f"({closed}/{open_})", f"({open_}/{closed})", f"{closed}/{open_}")
    for written in (closed, open_, *both):
        assert agree(name, "", f"{written} 왔다") == f"{right} 왔다"


def test_every_particle_of_a_template_is_known() -> None:
    templates = [file.read_text(encoding="utf-8") for file in (ROOT / "prompts").rglob("*.j2")]
    used = {pair for text in templates for pair in re.findall(r'josa\("(.*?)"\)', text)}
    assert used and used <= PAIRS.keys()


FORMS = [form for pair in PAIRS.values() for form in pair]
CARD = " ".join(f"{{{{char}}}}{form} {{{{user}}}}{form}" for form in FORMS)


@pytest.mark.parametrize(
    ("char", "user"), [("Jack", "Jane"), ("Belle", "하늘🌙"), ("민준♥", "Kate"), ("Scott", "세라")]
)
async def test_a_prompt_gives_one_answer(
    char: str, user: str, make_pipeline: MakePipeline, scripted: RecordingLLM
) -> None:
    persona = {"name": char, "description": f"사람이다. {CARD}", "language": "ko"}
    await make_pipeline(scripted).chat(ask(message="안녕", persona=persona, user_name=user))
    prompt = scripted.prompts[-1]
    forms = "|".join(sorted(set(FORMS), key=len, reverse=True))
    for name in (char, user):
        right = {josa(name, pair).removeprefix(name) for pair in PAIRS}
        said = re.findall(rf"{re.escape(name)}({forms})(?![가-힣])", prompt)
        assert set(said) == right
        assert len(said) > 2 * len(PAIRS), "of the templates too, not of the card alone"


def test_final_consonants() -> None:
    said = {"가": "", "간": "ㄴ", "갈": "ㄹ", "갔": "ㅆ", "힣": "ㅎ", "a": "", "": "", "ㄱ": ""}
    assert {syllable: final_consonant(syllable) for syllable in said} == said
    for consonant in "ㄱㄴㄹㅆㅎ":
        ending = syllables_ending_in(consonant)
        assert len(ending) == 19 * 21
        for syllable in (ending[0], ending[-1]):
            assert final_consonant(syllable) == consonant


def test_particles_behind_a_word() -> None:
    assert is_particles("에서는") and not is_particles("이었습니다")


@pytest.mark.parametrize(
    ("text", "korean"),
    [
        ("안녕", True),
        ("ㅋㅋㅋ", True),
        ("Sera와 Min의 이야기", True),
        ("Hi there, 세라", False),
        ("12!", False),
    ],
)
def test_script(text: str, korean: bool) -> None:
    assert is_korean(text) == korean
