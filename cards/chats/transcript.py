"""Chats as plain text: `Name: words`, further lines belonging to the message before.

A name is what stands before the first colon of a line, once it is known to be one: given by the
caller, a word such as You or 내레이터, or opening two lines or more. So "지금은 12:30이야" is no
speaker, and a message keeps its own colons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from cards.chats.chat import Chat
from cards.chats.lines import HEADINGS, MAX_LINES, Line, Names, gather, known_voices
from replies.tags import Voice, fold
from schemas.errors import BadRequest
from schemas.request import MAX_IMPORT

_TAG = re.compile(
    r"[ \t>]{0,8}(?:[-•][ \t]{1,4})?(?:#{1,6}[ \t]{1,4})?(?:\*{0,3}|_{0,3}|\[)"
    r"(?P<name>[^\s:：*\[\]\n][^:：*\[\]\n]{0,59}?)"
    r"[ \t]?(?:\*{0,3}|_{0,3}|\])[ \t]?[:：][*_]{0,3}(?!//|(?<=\d[:：])\d)[ \t]*"
)
_DATE = r"(?:\d{1,4}[./-] ?\d{1,2}[./-] ?\d{1,4}\.?|\d{4}년 \d{1,2}월 \d{1,2}일)"
_CLOCK = r"(?:(?:오전|오후) )?\d{1,2}:\d{2}(?::\d{2})?(?:[ \u202f]?[AaPp][Mm])?"
_STAMP = re.compile(
    rf"\u200e?(?:\[(?:{_DATE},? )?{_CLOCK}\]|\((?:{_DATE},? )?{_CLOCK}\)|{_DATE},? {_CLOCK})"
    r"(?:[,:]| -)? "
)
"""When a line was sent, as messengers write it before the name."""

_STAMPED = re.compile(rf"\[(?P<name>[^\[\]\n]{{1,60}})\] \[{_CLOCK}\] ?")
"""A line of KakaoTalk on a computer: the name and the time in brackets."""

_DAY = re.compile(
    rf"-{{5,20}} [^\n]{{4,40}} -{{5,20}}\s*|{_DATE} (?:[월화수목금토일]요일|{_CLOCK})\s*"
)
"""A new day in KakaoTalk, on a computer and on a phone."""

_COMES_OR_GOES = re.compile(r"(?:(?:들어왔|나갔)습니다|.{1,200}님을 (?:초대했|내보냈)습니다)\.?\s*")
"""What KakaoTalk on a computer tells of somebody between the messages, behind the name and 님이."""

_ALONE = re.compile(
    r"(?:-{2}|#{1,4} |\*\*|\[)(?P<name>[^\s:：*#\[\]\n-](?:[^:：*#\[\]\n]{0,58}[^\s:：*#\[\]\n])?)"
    r"(?:\*\*|\])?[ \t]*"
)
"""A name above its words, as Risu writes texts, or as a heading."""

_PROSE = re.compile(r"[!?…,;\"“”「」]|\.$")
_FIELDS = frozenset(
    (
        *("name", "title", "author", "date", "subject", "version", "description", "personality"),
        *("persona", "scenario", "context", "greeting", "tags", "creator", "char_name", "spec"),
        *(
            "date saved",
            "saved on",
            "role",
            "content",
            "info",
            "warn",
            "warning",
            "error",
            "debug",
            "trace",
            "fatal",
        ),
        *("char_persona", "char_greeting", "world_scenario", "example_dialogue", "mes_example"),
        *(
            "first_mes",
            "이름",
            "제목",
            "저자",
            "작성자",
            "날짜",
            "저장한 날짜",
            "설명",
            "성격",
            "버전",
        ),
    )
)
"""What stands before a colon in files that are no chats."""

MAX_DOUBTFUL = 3
"""Names that one warning tells."""

MAX_WORDS = 4
"""Of a name; longer ones are sentences."""


def read_transcript(text: str, names: Names, form: str = "chat in plain text") -> Chat:
    """The chat in a text with names.

    Where nobody is given as the user, whoever is called User, You, 나 ... is; of two strangers the
    second, with a warning.

    Raises:
        BadRequest: no line opens with a name, or there are several strangers.
    """
    end = end_of(text)
    told: list[str] = []
    lines = lines_of(end, names, told)
    count, whole = text.count("\n") + 1, len(end) == len(text)
    return gather(
        reversed(lines), names, form=form, count=count if not whole else len(lines),
        unit="lines", whole=whole, in_turn=True, warnings=told,
    )  # fmt: skip


def lines_of(text: str, names: Names, told: list[str] | None = None) -> list[Line]:
    """The messages of a text with names, oldest first.

    Args:
        told: what may be a name and was not taken for one is told here.

    Raises:
        BadRequest: no line opens with a name.
    """
    lines = text.splitlines()
    tags, stamped = _tags(lines)
    people = tuple(name for name in (names.character, names.of_character) if name)
    users = tuple(name for name in (names.user, names.of_user) if name)
    known = known_voices(people, users)
    speakers = _speakers(tags, known)
    if not speakers:  # then names may stand above their words
        tags = [_heading(line) for line in lines]
        speakers = _speakers(tags, known) if _names_user(tags, known) else {}
    if not speakers:
        raise BadRequest("is no chat; write each message as `Name: words`")
    if told is not None and not stamped:
        told += _told_doubtful(tags, speakers)
    parts: list[tuple[str | None, list[str]]] = []
    for line, tag in zip(lines, tags, strict=True):
        if tag and fold(tag.name) in speakers:
            parts.append((tag.name, [f"{tag.aside} {line[tag.end :]}"]))
        elif stamped and (not parts or _is_notice(line, speakers)):
            if line.strip():  # of the messenger
                parts.append((None, [line]))
        elif parts:
            parts[-1][1].append(line)
        elif line.strip():  # before the first name: narration
            parts.append(("", [line]))
    return [_line(name, known, words) for name, words in parts]


def _names_user(tags: list[_Tag | None], known: Mapping[str, Voice]) -> bool:
    """Whether one of the headings is the user's; else they may be any."""
    called = {fold(tag.name) for tag in tags if tag}
    return any(known[key].kind == "user" for key in called & known.keys())


def _is_notice(line: str, speakers: Mapping[str, str]) -> bool:
    """Whether a line between the messages is of the messenger: of anybody but the speakers a
    message may say that they left."""
    if _STAMP.match(line) or _DAY.fullmatch(line):
        return True
    name, _, told = line.partition("님이 ")
    return fold(name) in speakers and _COMES_OR_GOES.fullmatch(told) is not None


def end_of(text: str) -> str:
    """The whole lines at the end of a text that may be of a request."""
    if len(text) > MAX_IMPORT:
        text = text[-MAX_IMPORT:].partition("\n")[2]
    lines = text.rsplit("\n", MAX_LINES)
    return "\n".join(lines[1:]) if len(lines) > MAX_LINES else text


_ASIDE = re.compile(
    r"(?P<name>[^()（）]*[^\s()（）])[ \t]{0,4}(?P<aside>[(（][^()（）]{1,50}[)）])"
)
"""A name with what its bearer does behind it: `Sera (smiling)`."""


class _Tag(NamedTuple):
    """What opens a line like a speaker's name; `stamped` if it has the time beside it, `bare` if
    nothing stands behind it, `marked` if it stands out, as bold; `aside` is what its bearer does
    meanwhile, which belongs to the words."""

    name: str
    end: int
    stamped: bool = False
    bare: bool = False
    marked: bool = False
    aside: str = ""


def _tags(lines: list[str]) -> tuple[list[_Tag | None], bool]:
    """What opens each line like a name, and whether a messenger wrote the times beside them: it
    does so nearly always. In other chats a time before a colon is part of what is said."""
    tags = _without_asides([_tag(line) for line in lines])
    stamped = [tag.stamped for tag in tags if tag]
    if 4 * sum(stamped) > 3 * len(stamped):
        return tags, True
    return [None if tag and tag.stamped else tag for tag in tags], False


def _without_asides(tags: list[_Tag | None]) -> list[_Tag | None]:
    """The tags with what varies behind a name taken off it; what is always there is of the name."""
    parts = [_ASIDE.fullmatch(tag.name) if tag else None for tag in tags]
    forms: dict[str, set[str]] = {}
    for tag, part in zip(tags, parts, strict=True):
        if tag:
            forms.setdefault(fold(part["name"] if part else tag.name), set()).add(fold(tag.name))
    return [
        tag._replace(name=part["name"], aside=part["aside"])
        if tag and part and len(forms[fold(part["name"])]) > 1
        else tag
        for tag, part in zip(tags, parts, strict=True)
    ]


def _tag(line: str) -> _Tag | None:
    """What opens a line like a speaker's name."""
    if found := _STAMPED.match(line):
        return _Tag(found["name"], found.end(), stamped=True)
    stamp = _STAMP.match(line)
    tag = _TAG.match(line, stamp.end() if stamp else 0)
    if tag is None or not _is_name(tag["name"]):
        return None
    bare = tag.end() == len(line.rstrip())
    marked = "*" in tag[0] or "#" in tag[0]
    return _Tag(tag["name"], tag.end(), stamp is not None, bare, marked)


def _heading(line: str) -> _Tag | None:
    """A name in a line of its own."""
    tag = _ALONE.fullmatch(line)
    return _Tag(tag["name"], len(line)) if tag and _is_name(tag["name"]) else None


def _is_name(words: str) -> bool:
    """Whether words may be a name: neither a sentence nor a field of a card, a letter or a note."""
    bare = not _PROSE.search(words) and len(words.split()) <= MAX_WORDS
    return bare and fold(words) not in _FIELDS


def _speakers(tags: list[_Tag | None], known: Mapping[str, Voice]) -> dict[str, str]:
    """Folded names, in the order of their first line, and how they are written."""
    names = [tag.name for tag in tags if tag]
    stamped = {fold(tag.name) for tag in tags if tag and tag.stamped}
    counts = Counter(fold(name) for name in names)
    found: dict[str, str] = {}
    opening = next((fold(tag.name) for tag in tags[:1] if tag), None)
    certain = known.keys() - HEADINGS
    for name in names:
        key = fold(name)
        if (key in stamped) if stamped else (key in certain or counts[key] > 1 or key == opening):
            found.setdefault(key, name)
    if len(found) != 1 or stamped:
        return found
    if len(counts) <= 3 and not any(tag and tag.bare for tag in tags):
        return {fold(name): name for name in names}  # a short chat: each has spoken once
    # Many names that each open one line are headings, or keys of a settings file.
    [speaker] = found
    if speaker not in known and counts[speaker] == 1:
        return {}
    first = next(tag for tag in tags if tag and fold(tag.name) == speaker)
    alike = {
        fold(tag.name): tag.name
        for tag in tags
        if tag and (first.marked, first.bare) == (tag.marked, tag.bare)
    }
    return alike if len(alike) == 2 else found  # a short chat with the names above the words


def _told_doubtful(tags: list[_Tag | None], speakers: Mapping[str, str]) -> list[str]:
    """That names which open one line each were taken for words; they may be somebody's."""
    others = [tag.name for tag in tags if tag and not tag.bare and fold(tag.name) not in speakers]
    if not others:
        return []
    shown = ", ".join(f"`{name}`" for name in others[:MAX_DOUBTFUL])
    more = len(others) - MAX_DOUBTFUL
    return [f"{shown}{f' and {more:,} more' * (more > 0)} may be a speaker and was read as words; "
            "if one is, convert the chat with --character NAME"]  # fmt: skip


def _line(name: str | None, known: Mapping[str, Voice], words: list[str]) -> Line:
    if name is None:
        return Line(row=words, skipped="notice")
    voice = known.get(fold(name))
    narrated = not name or (voice is not None and voice.kind == "other")
    content = "\n".join(words).strip()
    return Line(
        row=words,
        text=content,
        role="narrator" if narrated else None,
        name=None if narrated else name,
    )
