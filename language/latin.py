"""How Korean reads the end of a word in Latin letters: English, French, romanised Korean.

Only the last sound is asked for, since it chooses the particle: Jack is 잭, closed; Kate is 케이트,
open. The rules follow what is written in Korean, not the sound in English.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Sound = Literal["open", "ㄹ", "closed"]
"""How a name ends when it is spoken: in a vowel, in ㄹ, in another consonant."""

_SPOKEN = ("hermione", "persephone", "antigone", "salome", "rene", "chile", "pele")
_SILENT = ("margot", "pierrot", "poirot")
_ODD: dict[str, Sound] = {
    **dict.fromkeys((*_SPOKEN, *_SILENT, "lotte", "hyatt"), "open"),
    **dict.fromkeys(("park", "zach", "madame"), "closed"),
}
"""Names that no rule reads: 헤르미온느, 마고, 롯데, 하얏트, 박, 잭, 마담."""

_SPOKEN_E = re.compile("[éèêë]$", re.IGNORECASE)  # 르네, 앙드레
_SHORT = "(?:^|[^aeo])[aeiouy]"
"""A vowel behind a consonant, or behind i, u, y (Juliet, Hyuk); Kate, Root, Scout have none."""

_MORA = "(?:(?:[kgnhbpmr]y?|[sz](?!i)|[td](?![iuy])|j(?!e)|sh|ch|ts|[fyw])?[aiueo])"
_JAPANESE = re.compile(rf"{_MORA}{{1,8}}(?:{_MORA}(?:(?<=[aou])(?<!ia)ne|(?<=[ai])me)|(?<=u)me)")
"""Akane and Suzume end in a vowel; Jane, Diane and Jerome do not."""

_LIQUID = re.compile("l$|[a-z]le$")
_NASAL = re.compile("(?:m|n|ng|nh|mb|[aeiouy](?:mm?|nn?)e|r[mn]e)$")  # Jane, Minh, Lamb, Verne
_STOP = re.compile(
    rf"(?:{_SHORT}(?:pp?|tt?|bb?|k)|[aeiouy]c|ck"
    "|(?:ae|ai|eo|eu|oo)k|(?:ae|eo|eu)[pbt]|(?:ae|eo|oo|[gswy]u)g"  # of Korean: 석, 섭, 혁
    "|ooke|seph|[a-z]lotte|iette)$"
)


def latin_sound(word: str) -> Sound:
    """How a word ends that is written in Latin letters, with accents or digits before.

    Capitals without a vowel, or up to three of them, are read as letters (NPC is 엔피시).
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    letters = re.search("[a-zA-Z]+$", plain)
    tail = letters[0] if letters else plain
    low = tail.lower()
    spelt = tail.isupper() and (len(tail) <= 3 or not re.search("[aeiouy]", low))
    if spelt or len(low) == 1:
        return "ㄹ" if low[-1] in "lr" else "closed" if low[-1] in "mn" else "open"
    if low in _ODD:
        return _ODD[low]
    if _SPOKEN_E.search(unicodedata.normalize("NFC", word)) or _JAPANESE.fullmatch(low):
        return "open"
    if _LIQUID.search(low):
        return "ㄹ"
    return "closed" if _NASAL.search(low) or _STOP.search(low) else "open"
