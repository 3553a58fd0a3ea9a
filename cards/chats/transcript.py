"""Chats as plain text: `Name: words`, further lines belonging to the message before.

A name is what stands before the first colon of a line, once it is known to be one: given by the
caller, a word such as You or 내레이터, or opening two lines or more. So "지금은 12:30이야" is no
speaker, and a message keeps its own colons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from cards.files import one_line, whole
from replies.tags import NARRATOR, Cast, Voice, fold, voices
from schemas.base import MAX_TEXT
from schemas.errors import BadRequest
from schemas.request import Message, Role

_TAG = re.compile(
    r"[ \t>]{0,8}(?P<marks>\*{0,3}|_{0,3}|\[)(?P<name>[^\s:：*\[\]\n][^:：*\[\]\n]{0,59}?)"
    r"[ \t]?(?:\*{0,3}|_{0,3}|\])[ \t]?[:：][*_]{0,3}(?!//|(?<=\d[:：])\d)[ \t]*"
)
_PROSE = re.compile(r"[!?…,;\"“”「」]|\.$")
MAX_WORDS = 4
"""Of a name; longer ones are sentences."""


def parse_transcript(
    text: str, *, user: str | None = None, character: str | None = None
) -> list[Message]:
    """The messages of a text with names, oldest first.

    Without `user`, whoever is called User, You, 나 ... is the user; if nobody is, the second
    speaker, for chats open with the character's greeting.

    Raises:
        BadRequest: no line opens with a name.
    """
    lines = text.splitlines()
    tags = [_tag(line) for line in lines]
    known = voices(Cast("character", (character,) if character else (), (user,) if user else ()))
    speakers = _speakers(tags, known)
    if not speakers:
        raise BadRequest("is no chat; write each message as `Name: words`")
    roles = _roles(speakers, known, user, character)
    parts: list[tuple[str, list[str]]] = []
    for line, tag in zip(lines, tags, strict=True):
        if tag and fold(tag["name"]) in speakers:
            parts.append((tag["name"], [line[tag.end() :]]))
        elif parts:
            parts[-1][1].append(line)
        elif line.strip():  # before the first name: narration
            parts.append(("", [line]))
    return [
        message
        for name, words in parts
        if (message := _message(name, roles.get(fold(name), "narrator"), words)) is not None
    ]


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


def _roles(
    speakers: Mapping[str, str],
    known: Mapping[str, Voice],
    user: str | None,
    character: str | None,
) -> dict[str, Role]:
    roles: dict[str, Role] = {}
    for key in speakers:
        voice = known.get(key)
        if voice is None:
            roles[key] = "character"
        elif voice.name == NARRATOR:
            roles[key] = "narrator"
        else:
            roles[key] = "user" if voice.kind == "user" else "character"
    strangers = [key for key in speakers if key not in known]
    if "user" not in roles.values() and not user:
        rest = strangers if character else strangers[1:]
        if rest:
            roles[rest[0]] = "user"
    return roles


def _message(name: str, role: Role, words: list[str]) -> Message | None:
    content = whole("\n".join(words).strip())
    if len(content) > MAX_TEXT:
        raise BadRequest(f"holds a message of more than {MAX_TEXT:,} characters; split it")
    shown = one_line(name) if role != "narrator" else ""
    return Message(role=role, content=content, name=shown or None) if content else None
