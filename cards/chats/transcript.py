"""Chats as plain text: `Name: words`, further lines belonging to the message before.

A name is what stands before the first colon of a line, once it is known to be one: given by the
caller, a word such as You or 내레이터, or opening two lines or more. So "지금은 12:30이야" is no
speaker, and a message keeps its own colons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from cards.chats.chat import Chat
from cards.chats.lines import MAX_LINES, Line, Names, gather
from replies.tags import Cast, Voice, fold, voices
from schemas.errors import BadRequest
from schemas.request import MAX_IMPORT

_TAG = re.compile(
    r"[ \t>]{0,8}(?P<marks>\*{0,3}|_{0,3}|\[)(?P<name>[^\s:：*\[\]\n][^:：*\[\]\n]{0,59}?)"
    r"[ \t]?(?:\*{0,3}|_{0,3}|\])[ \t]?[:：][*_]{0,3}(?!//|(?<=\d[:：])\d)[ \t]*"
)
_PROSE = re.compile(r"[!?…,;\"“”「」]|\.$")
MAX_WORDS = 4
"""Of a name; longer ones are sentences."""


def read_transcript(text: str, names: Names, form: str = "chat in plain text") -> Chat:
    """The chat in a text with names.

    Where nobody is given as the user, whoever is called User, You, 나 ... is; of two strangers the
    second, with a warning.

    Raises:
        BadRequest: no line opens with a name, or there are several strangers.
    """
    end = _end_of(text)
    lines = lines_of(end, names)
    count, whole = text.count("\n") + 1, len(end) == len(text)
    return gather(
        reversed(lines), names, form=form, count=count if not whole else len(lines),
        unit="lines", whole=whole, in_turn=True,
    )  # fmt: skip


def lines_of(text: str, names: Names) -> list[Line]:
    """The messages of a text with names, oldest first.

    Raises:
        BadRequest: no line opens with a name.
    """
    lines = text.splitlines()
    tags = [_tag(line) for line in lines]
    people = tuple(name for name in (names.character, names.of_character) if name)
    users = tuple(name for name in (names.user, names.of_user) if name)
    known = voices(Cast("character", people, users))
    speakers = _speakers(tags, known)
    if not speakers:
        raise BadRequest("is no chat; write each message as `Name: words`")
    parts: list[tuple[str, list[str]]] = []
    for line, tag in zip(lines, tags, strict=True):
        if tag and fold(tag["name"]) in speakers:
            parts.append((tag["name"], [line[tag.end() :]]))
        elif parts:
            parts[-1][1].append(line)
        elif line.strip():  # before the first name: narration
            parts.append(("", [line]))
    return [_line(name, known, words) for name, words in parts]


def _end_of(text: str) -> str:
    """The whole lines at the end of a text that may be of a request."""
    if len(text) > MAX_IMPORT:
        text = text[-MAX_IMPORT:].partition("\n")[2]
    lines = text.rsplit("\n", MAX_LINES)
    return "\n".join(lines[1:]) if len(lines) > MAX_LINES else text


def _tag(line: str) -> re.Match[str] | None:
    """What opens a line like a speaker's name."""
    tag = _TAG.match(line)
    if tag is None or _PROSE.search(tag["name"]) or len(tag["name"].split()) > MAX_WORDS:
        return None
    return tag


def _speakers(tags: list[re.Match[str] | None], known: Mapping[str, Voice]) -> dict[str, str]:
    """Folded names, in the order of their first line, and how they are written."""
    names = [tag["name"] for tag in tags if tag]
    counts = Counter(fold(name) for name in names)
    found: dict[str, str] = {}
    opening = next((fold(tag["name"]) for tag in tags[:1] if tag), None)
    for name in names:
        key = fold(name)
        if key in known or counts[key] > 1 or key == opening:
            found.setdefault(key, name)
    if len(found) == 1:  # a short chat: each has spoken once
        return {fold(name): name for name in names} if len(counts) <= 3 else found
    return found


def _line(name: str, known: Mapping[str, Voice], words: list[str]) -> Line:
    voice = known.get(fold(name))
    narrated = not name or (voice is not None and voice.kind == "other")
    content = "\n".join(words).strip()
    return Line(
        row=words,
        text=content,
        role="narrator" if narrated else None,
        name=None if narrated else name,
    )
