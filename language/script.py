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
