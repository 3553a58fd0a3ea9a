"""Commands: messages that say nothing in the scene but ask for something, as `commands.toml` lists.

"3일 후", "다음 장면", "상태창 보여줘". The whole message must be one, so talk that merely begins so
("다음에 만나요") is none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from language.korean import has_syllables
from language.normal import nfc

LONGEST = 60
"""Characters of a command; bounds the time that its patterns take."""


class Command(NamedTuple):
    """A kind of command: its name in the table, and whether it asks for what comes next."""

    kind: str
    moves: bool


class _Kind(NamedTuple):
    command: Command
    says: re.Pattern[str]
    asks: re.Pattern[str]
    begins: re.Pattern[str]
    to_you: bool


def command_in(text: str) -> Command | None:
    """The command that the whole of `text` is, but for the marks around it and for spaces."""
    if len(text) > LONGEST:
        return None
    said = _bare(nfc(text).lower())
    words = said.replace(",", " ").split()
    telling = [word for word in words if not _words()["filler"].fullmatch(word)]
    joined, whole = "".join(telling), "".join(words)
    if not joined:
        return None
    asked = {joined, whole, *_unasked(joined), *_unasked(whole)}
    to_you = any(map(_YOU.fullmatch, words))
    wonders = _WONDERS.search(text) is not None
    for kind in _kinds():
        if (to_you and not kind.to_you) or (wonders and kind.command.moves):
            continue
        if kind.says.fullmatch(joined) or any(map(kind.asks.fullmatch, asked)):
            return kind.command
        if _opens_a_scene(said, kind.begins):
            return kind.command
    return None


def _bare(text: str) -> str:
    """The text without the marks, pictures and laughter around it."""
    start, end = 0, len(text)
    while start < end and (not text[start].isalnum() or text[start] == "ㅡ"):
        start += 1
    while start < end and (not text[end - 1].isalnum() or text[end - 1] in "ㅋㅎㅠㅜㅡ"):
        end -= 1
    return text[start:end]


_YOU = re.compile(r"(?:너희|너|넌|널|네|니|당신|그대)(?:[은는이가의도를을]|들)?|네가|니가")

_WONDERS = re.compile(r"[?？](?<!래\?)(?<!래요\?)(?<!나요\?)|까요|어디|언제|무슨|왜")
"""Asks whether or where to the story goes on, and not that it does: "계속요?"."""


@cache
def _kinds() -> list[_Kind]:
    """The kinds of the table, in its order."""
    table = _table()
    slots = table.pop("slots")

    def either(patterns: list[str]) -> re.Pattern[str]:
        return re.compile("|".join(_filled(it, slots) for it in patterns) or "(?!)")

    return [
        _Kind(
            Command(kind, row["moves"]),
            says=either(row.get("says", [])),
            asks=either(row.get("asks", [])),
            begins=either([row["begins"]] if "begins" in row else []),
            to_you=row.get("you", True),
        )
        for kind, row in table.items()
    ]


@cache
def _words() -> dict[str, re.Pattern[str]]:
    """The words that the slots `asking` and `filler` list."""
    slots = _table()["slots"]
    return {name: re.compile(slots[name]) for name in ("asking", "filler")}


def _table() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "commands.toml").read_text(encoding="utf-8"))


def _filled(pattern: str, slots: dict[str, str]) -> str:
    """A pattern of the table with its slots, and those within them, filled."""
    while (filled := _SLOT.sub(lambda slot: slots[slot[1]], pattern)) != pattern:
        pattern = filled
    return pattern


_SLOT = re.compile(r"\{([a-z]+)\}")
_ASKING = 10
"""Characters of the longest word of asking."""


def _unasked(said: str) -> Iterator[str]:
    """What is left when the words of asking at its end are taken off, one after the other."""
    asking = _words()["asking"]
    for _ in range(4):
        starts = range(max(1, len(said) - _ASKING), len(said))
        cut = next((at for at in starts if asking.fullmatch(said, at)), None)
        if cut is None:
            return
        said = said[:cut]
        yield said


def _opens_a_scene(said: str, begins: re.Pattern[str]) -> bool:
    """Whether a time is told and then where or what is: "사흘 뒤, 잔칫날", "다음 날 학교"; but not
    "다음 날에 봐요"."""
    words = said.split()
    for count in range(min(4, len(words) - 1), 0, -1):
        time, rest = "".join(words[:count]), " ".join(words[count:]).strip(",.: ")
        if begins.fullmatch(time.rstrip(",.:")):
            prose = time.endswith((",", ".", ":")) or not _STATED.search(rest)
            return has_syllables(rest[-1:]) and prose and not _SAID.search(rest)
    return False


_SAID = re.compile(
    r"(?:요|죠|니다|니까|까|자|지|게|네|야|아|어|해|래|냐|니|나|봐|줘|군|걸|며|고|(?<!에)서|면|라|데|든|음|함|돼|와|져|려|쳐|켜|셔|워|대)$"
    r"|(?:싶|같|겠|좋|싫)다$|(?<![가-힣])(?:내가|나는|우리|너|당신|네가)(?![가-힣])"
)
"""What is said to somebody, or not to an end."""
_STATED = re.compile(r"(?:이|[^가-힣]있|없|하)다$")
"""What needs a comma before it: "다음 주 시험이다" is said."""
