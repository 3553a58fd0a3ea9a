"""In which language somebody writes, by script and the commonest words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from language.korean import HANGUL

LINES = 4
"""Newest lines that are read."""
LINE = 400
"""Characters of each."""
LEAST = 4
"""Words from which a line tells by itself: "ok", "ㅋㅋ" or a name is no change of language."""
SYLLABLES = 5
"""Syllables of Korean, Japanese or Chinese from which one does, be it one word: most names have
fewer."""
SHARE = 0.25
"""Of the letters: a syllable of Korean, Japanese or Chinese says as much as three letters."""
ENGLISH = 0.2
"""Of the words: in English text the words below are more than a third, in others under a tenth."""

_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CHAT_LETTERS = re.compile("[\u3130-\u318f]+")
"""Korean letters that make no syllable, as in ㅋㅋㅋㅋ and ㅠㅠ: also under a line of English."""
_SYLLABLE = re.compile("[가-힣\u3041-\u30ff\u3400-\u9fff]")
_SCRIPTS = {
    "ko": re.compile(f"[{HANGUL}]"),
    "ja": re.compile("[\u3041-\u30ff\u31f0-\u31ff]"),
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
    "ru": re.compile("[\u0400-\u04ff]"),
}
_COMMON_WORDS = (
    "the a an and or but so if of to in on at for with from by is am are was were be been do does "
    "did not don't can can't could will would should have has had it it's its i i'm i've i'll me "
    "my you you're your he she we they them him her his our their this that these those there here "
    "what who when where why how all no yes just then than as up out about"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_LANGUAGES = (
    "english|korean|japanese|chinese|spanish|french|german|portuguese|russian|italian|"
    "한국어|한국말|영어|일본어|중국어|스페인어|프랑스어|독일어|러시아어"
)
_SAID = re.compile(
    rf"(?:\bin|\blanguages?(?: is|:)?|\bspeaks?|\bspeaking|\buse|\bonly|로만?)\s(?:only\s)?"
    rf"(?:{_LANGUAGES})\b|(?:{_LANGUAGES})(?:로|만|를|을)|언어\s?[:：]",
    re.IGNORECASE,
)


def spoken(lines: Iterable[str]) -> str:
    """The language of a speaker: `ko`, `ja`, `zh`, `ru` or `en`; empty where it cannot be told.

    The newest line that says enough tells, else the newest ones together.

    Args:
        lines: what they said, the newest first; a few of them are read.
    """
    told = [line[:LINE] for line in islice(filter(_LETTER.search, lines), LINES)]
    said = [bare for line in told if _LETTER.search(bare := _CHAT_LETTERS.sub(" ", line))]
    for line in said:
        tells = len(_WORD.findall(line)) >= LEAST or len(_SYLLABLE.findall(line)) >= SYLLABLES
        if tells and (code := _language_of(line)):
            return code
    return _language_of("\n".join(said or told))


def _language_of(text: str) -> str:
    letters = len(_LETTER.findall(text))
    found = {code: len(script.findall(text)) for code, script in _SCRIPTS.items()}
    if found["ja"]:  # it is written with both
        found["ja"] += found.pop("zh")
    code = max(found, key=lambda name: found[name])
    if letters and found[code] >= SHARE * letters:
        return code
    words = [word.replace("’", "'") for word in _WORD.findall(text.lower())]
    common = sum(word in _COMMON for word in words)
    return "en" if len(words) >= LEAST and common >= ENGLISH * len(words) else ""


def names_language(text: str) -> bool:
    """Whether a text says which language is to be used: "Answer in English", "영어로만"."""
    return _SAID.search(text) is not None
