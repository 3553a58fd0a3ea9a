"""Names are heard with particles and forms of address, and not inside other words."""

from __future__ import annotations

import unicodedata

import pytest

from routing.reading import addresses, addresses_someone, mentions


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("세라피나, 어디 가?", "세라피나"),
        ("세라피나야 어디 가?", "세라피나"),
        ("지안아, 이리 와", "지안"),
        ("유나 씨, 괜찮아요?", "유나"),
        ("어디 가요, 박사님?", "박사"),
        ("괜찮아, 민준?", "민준"),
        ("Mira, wait!", "Mira"),
        ("Where are you going, mira?", "Mira"),
        ("Hey Mira! Over here.", "Mira"),
        ("@Mira look", "Mira"),
        (unicodedata.normalize("NFD", "세라피나, 어디 가?"), "세라피나"),
    ],
)
def test_address_is_heard(text: str, name: str) -> None:
    assert addresses(text, name)
    assert mentions(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("세라피나는 어디 있어?", "세라피나"),
        ("I saw Mira at the harbour.", "Mira"),
        ("유나의 집", "유나"),
        ("Mira's coat", "Mira"),
    ],
)
def test_a_mention_is_not_an_address(text: str, name: str) -> None:
    assert mentions(text, name)
    assert not addresses(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [("은빛숲길", "숲"), ("admirable", "Mira"), ("annex, now", "Ann"), ("", "Mira"), ("Mira", "")],
)
def test_other_words_are_not_names(text: str, name: str) -> None:
    assert not mentions(text, name)
    assert not addresses(text, name)


def test_an_unknown_name_is_heard_by_its_place() -> None:
    assert addresses_someone("Rissa, do you know the way?")
    assert not addresses_someone("Well, I do not know.")
