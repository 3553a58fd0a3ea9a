"""Which language the words of a prompt are in."""

from __future__ import annotations

import re
from typing import Literal

from language.korean import is_korean
from schemas.request import Persona

Language = Literal["en", "ko"]

_LETTER = re.compile(r"[^\W\d_]")


def language_of(persona: Persona, message: str) -> Language:
    """The language of the prompt's own words, which must not change within a chat.

    The persona's `language` decides; else the script of the card; a card without letters leaves
    it to the message.
    """
    if persona.language:
        return "ko" if persona.language.split("-")[0] in ("ko", "kor") else "en"
    card = persona.description[:2000] + persona.first_message[:1000] + persona.name
    return "ko" if is_korean(card if _LETTER.search(card) else message) else "en"
