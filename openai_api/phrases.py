"""The short phrases of chat clients that carry a meaning, from `phrases.toml`.

A user can change nearly all of them, so each kind holds how people put it, in English and Korean.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

SPAN = 20_000
"""Characters of a text in which a phrase is looked for."""

_OPENING = '[(（［【{*"“ \t\r\n'
"""What may stand before a phrase that begins a text."""

_LABEL = re.compile(r"(?:ooc|system|note|instructions?|시스템|지시|메모)\s?[:：]\s?", re.IGNORECASE)
"""What may stand there too."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")

_CAPITAL = "[A-ZÀ-ÖØ-ÞΑ-ΩА-Я가-힣ぁ-ゖァ-ヺ一-龥]"
_WRITES = (
    "(?:쓰|써|쓸|쓴|씁|작성|적어|적으|적는|생성|출력|답변하|답변해|답장하|답장해|답하|답해|대답|이어|말하|말해"
    "|연기|행동하|행동해|만들)"
)
_NOT = "(?:지 ?(?:마|말|않|못)|금지|불가|면 ?안|안 ?[됩돼된]|때(?![가-힣])|행위|피[하해]|지양)"
_DOES = rf"(?:(?!{_WRITES}|{_NOT})[^\n.!?]){{0,120}}{_WRITES}(?!하?[는던]|[^\n.!?,]{{0,6}}{_NOT})"
"""The Korean verb of a sentence, at its end, where it asks for a text and does not forbid it."""
_PART = r"[^\s\[\]\"“”'‘’.,;:!?()]{1,20}"
_SLOTS = {
    "{char}": r"[^\n\[\]\"“”]{1,40}?",
    "{who}": r"[^\n\[\].,;:!?()]{1,40}?",
    "{word}": r"[^\s\[\]\"“”'‘’「」『』.,;:!?()]{1,30}?",
    "{Name}": (
        rf"(?:(?:Dr|Mr|Mrs|Ms|St)\. )?{_CAPITAL}[\w'’-]{{0,30}}"
        rf"(?: {_CAPITAL}[\w'’-]{{0,30}}){{0,3}}"
    ),
    "{end}": (
        r"(?:(?<!Mr)(?<!Ms)(?<!Dr)(?<!St)(?<!Mrs)[.!?](?=\s|$)|[,;:\n\]]|$"
        r"|(?= (?:in|set|where|who|with|that|using)\b))"
    ),
    "{korean}": (rf"(?:(?!{_PART}(?:은|는|이|가|에서|부터) ){_PART} ){{0,2}}?{_PART}?"),
    "{and}": r"(?:와\(과\)|과\(와\)|\(와\)과|와|과|하고|이랑|랑)",
    "{play}": (
        r"(?:[^\n.!?]{0,20} )?(?:롤플레이|롤플|역할극|역할 ?놀이|상황극|RP|"
        r"(?:가상|픽션|허구)(?:의|적인)? ?(?:1:1 |일대일 )?(?:대화|채팅))"
    ),
    "{not}": _NOT,
    "{before}": r"[^\n\[\].!?]{1,120}?",
    "{does}": _DOES,
    "{unless}": rf"(?![^\n.!?,]{{0,12}}{_NOT})",
    "{on}": (
        rf"(?:이어(?!지)|계속|마저)"
        rf"(?:{_DOES}|[가-힣]{{0,4}}(?: ?(?:주|줘)[가-힣]{{0,4}})?[.!…\s\])]*$)"
    ),
    "{s}": "['’]",
    "{q}": "['\"“‘”’「」『』]?",
}


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@cache
def _patterns(kind: str) -> tuple[re.Pattern[str], ...]:
    """The phrases of a kind, compiled."""
    row, made = _table()[kind], []
    begins = (rf"\A(?:{phrase})" for phrase in row.get("begins", ()))
    for phrase in (*begins, *row.get("inside", ())):
        for slot, pattern in _SLOTS.items():
            phrase = phrase.replace(slot, pattern)
        made.append(re.compile(phrase, re.NOFLAG if row.get("cased") else re.IGNORECASE))
    return tuple(made)


@cache
def words(kind: str) -> frozenset[str]:
    """The words of a kind, in lower case."""
    return frozenset(_table()[kind]["words"].split())


def begins(kind: str, text: str) -> re.Match[str] | None:
    """The phrase of a kind that a text begins with, behind brackets."""
    return next(all_begin(kind, text), None)


def all_begin(kind: str, text: str) -> Iterator[re.Match[str]]:
    """Each phrase of a kind that a text begins with, in the order of the list."""
    text = text[:SPAN].lstrip(_OPENING)
    if label := _LABEL.match(text):
        text = text[label.end() :]
    return filter(None, (pattern.match(text) for pattern in _patterns(kind)))


def inside(kind: str, text: str) -> re.Match[str] | None:
    """The first phrase of a kind in a text; of several, that which is listed first."""
    found = (pattern.search(text, 0, SPAN) for pattern in _patterns(kind))
    return next(filter(None, found), None)


def all_inside(kind: str, text: str) -> Iterator[re.Match[str]]:
    """The phrases of a kind in a text, in the order of the list."""
    for pattern in _patterns(kind):
        yield from pattern.finditer(text, 0, SPAN)


def bracketed(text: str) -> bool:
    """Whether a text stands wholly in square brackets: one pair, or several behind each other."""
    text = text.strip().replace("［", "[").replace("］", "]")
    if not text.startswith("[") or not text.endswith("]"):
        return False
    depth = 0
    for sign in text:
        depth += (sign == "[") - (sign == "]")
        if depth < 0 or (depth == 0 and sign != "]" and not sign.isspace()):
            return False
    return depth == 0


def is_mark(kind: str, text: str) -> bool:
    """Whether a line only marks a place: `start` of the chat, or of an `example`."""
    bare = text.strip()
    if kind == "example" and bare.upper() == "<START>":
        return True
    if len(bare) > 1_200 or "\n" in bare:
        return False
    marked = bracketed(bare) or (bare[:1] in "(*-=#<【" and len(bare) < 100)
    return marked and begins(kind, bare.lstrip("-=#<> ")) is not None


def is_task(text: str) -> bool:
    """Whether a program asks for a title or the like. A player may use the same words, but hardly
    says what the answer is to look like."""
    asks = begins("title", text)
    return begins("task", text) is not None or bool(asks and inside("form", text))


def is_for_tasks(text: str) -> bool:
    """Whether the first sentences of a program's instructions say that they are for such a task:
    "You are a summarizer. Generate a title ..."."""
    sentences = _SENTENCE.split(text[:600])[:4]
    asks = any(begins("title", sentence) for sentence in sentences)
    return asks and inside("form", text) is not None


def stops_the_play(text: str) -> bool:
    """Whether an instruction asks for work that is no line of anybody: a summary, a picture's
    prompt, a title. Instructions for a reply may also say to ignore what stood before."""
    if begins("pause", text) or begins("work", text) or is_task(text):
        return True
    ignores = begins("ignore", text)
    return ignores is not None and inside("tasks", text[:600]) is not None
