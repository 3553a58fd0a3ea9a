"""Which script a text, and which a chat, is written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

from language.korean import HANGUL

Script = Literal["latin", "cjk"]
"""`cjk`: Korean, Japanese and Chinese. All others are `latin`, as no bundled model knows them."""

SCRIPTS: tuple[Script, ...] = get_args(Script)

LINES = 256
"""Of a long chat, as many lines tell its script: 0.3 ms."""
LINE = 200
"""Characters of each."""
SHARE = 0.25
"""Of the lines, and of a line's letters. A syllable says as much as three Latin letters; and the
embedder of `cjk` reads English nearly as well as the other one, which reads no Korean at all."""

SOUTHEAST_ASIAN = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
    "\u1b00-\u1b7f\ua980-\ua9df"  # Balinese, Javanese
)
UNSPACED = (
    f"{SOUTHEAST_ASIAN}\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001b000-\U0001b16f"  # and kana,
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"  # Han,
    "\uf900-\ufaff\U00020000-\U0003ffff\u3100-\u312f\u31a0-\u31bf\ua000-\ua4cf"  # Bopomofo, Yi
)
"""Characters that are written without spaces between words, as ranges for a class of `re`; and of
these the scripts of Southeast Asia."""

_HANGUL_RUN = re.compile(f"[{HANGUL}]+")
_CJK = re.compile(f"[{HANGUL}\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff]")
_KANA_AND_HAN_RUN = re.compile("[\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff]+")


def language_of(text: str) -> Literal["ko", "ja", "en"]:
    """The language of a text by its letters; Chinese counts as Japanese, all others as English."""
    if not _CJK.search(text):
        return "en"
    enough = SHARE * max(1, sum(map(str.isalpha, text)))
    if sum(map(len, _HANGUL_RUN.findall(text))) >= enough:
        return "ko"
    return "ja" if sum(map(len, _KANA_AND_HAN_RUN.findall(text))) >= enough else "en"


def script_of(lines: Sequence[str]) -> Script:
    """The script of a chat or a story: `cjk` where a quarter of its lines is.

    A short line counts as much as a long one: who writes Korean to a character that answers in
    English at length is understood, and a Korean name makes no English chat Korean. Lines are taken
    at even steps, that double as the chat grows, so the answer seldom changes from turn to turn.
    """
    step = 1
    while len(lines) > step * LINES:
        step *= 2
    cut = [line[:LINE] for line in lines[::step]]
    told = [language_of(line) != "en" for line in cut if any(map(str.isalpha, line))]
    return "cjk" if sum(told) >= max(1, SHARE * len(told)) else "latin"
