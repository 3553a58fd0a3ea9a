"""Which language the words of a prompt are in, and Korean particles behind names."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

from schemas.request import Persona

Language = Literal["en", "ko"]

_HANGUL = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]")
_LETTER = re.compile(r"[^\W\d_]")

_KOREAN_SHARE = 0.3
"""Hangul among the letters: Korean text quotes Latin names, English text seldom quotes Hangul."""


@lru_cache(maxsize=256)  # cards, which come back every turn
def is_korean(text: str) -> bool:
    """Whether a text is Korean, by its script."""
    letters = len(_LETTER.findall(text))
    return letters > 0 and len(_HANGUL.findall(text)) / letters >= _KOREAN_SHARE


def language_of(persona: Persona, message: str) -> Language:
    """The language of the prompt's own words, which must not change within a chat.

    The persona's `language` decides; else the script of the card; a card without letters leaves
    it to the message.
    """
    if persona.language:
        return "ko" if persona.language.split("-")[0] in ("ko", "kor") else "en"
    card = persona.description[:2000] + persona.first_message[:1000] + persona.name
    return "ko" if is_korean(card if _LETTER.search(card) else message) else "en"


_PARTICLES = {
    "은는": ("은", "는"),
    "이가": ("이", "가"),
    "을를": ("을", "를"),
    "과와": ("과", "와"),
    "아야": ("아", "야"),
    "으로": ("으로", "로"),
}
"""The form after a final consonant, and the form after a vowel."""


def josa(name: str, pair: str) -> str:
    """A name with the right one of two particles: `josa("세라", "은는")` is `세라는`.

    Args:
        pair: a key of `_PARTICLES`.
    """
    closed, open_ = _PARTICLES[pair]
    final = _final_consonant(name)
    if pair == "으로" and final == "ㄹ":
        return name + open_
    return name + (closed if final else open_)


def _final_consonant(name: str) -> str:
    """What the last syllable ends in: empty for a vowel, `ㄹ`, else any other consonant.

    Latin names are judged by the letters that Korean keeps as a final consonant (l, m, n, ng).
    """
    last = unicodedata.normalize("NFC", name).rstrip("\"'’”)]!?.~ ")[-2:].lower()
    if not last:
        return ""
    code = ord(last[-1]) - ord("가")
    if 0 <= code <= ord("힣") - ord("가"):
        return {0: "", 8: "ㄹ"}.get(code % 28, "ㄱ")
    if last[-1] in "l178":
        return "ㄹ"
    return "ㄱ" if last[-1] in "mn036" or last == "ng" else ""
