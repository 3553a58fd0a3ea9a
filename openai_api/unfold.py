"""Messages one by one: marks, examples and instructions apart from what is said, also where a
client merged them.

Clients change the order and roles of what they send for models that take only a few: system lines
become part of the user's (SillyTavern's "strict" and "semi-strict"), leading lines one (`merge`),
or everything becomes one message of the user ("single user message").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from openai_api import phrases
from openai_api.lines import Line, Role
from openai_api.names import (
    Cast,
    as_word,
    fold,
    impersonated,
    in_card,
    in_main_prompt,
    looks_like_name,
    members_of,
    only_as,
    prefixed,
)

_NOBODY = Cast()
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_CUE = re.compile(r"(?P<name>[^\n:：]{1,40})[ \t]*[:：]")
_START_ROW = re.compile(r"(?<=\n)\[[^\n]{1,1200}\](?=\n)")
PLACEHOLDER = "."
"""What a client sends in the user's place where a message of the user has to stand."""
NEWEST = 50
"""Paragraphs or lines at the end of a text among which a client's own instructions stand."""

LOOKED_THROUGH = 300_000
"""Characters before the chat in which marks are looked for: a card and its examples have 200,000 at
most, and each paragraph takes 20 µs."""

_EXAMPLES: dict[str, Role] = {
    "exampleuser": "example_user",
    "exampleassistant": "example_assistant",
}


def unfold(lines: Sequence[Line], cast: Cast = _NOBODY) -> list[Line]:
    """The messages, and what was merged into them, each as a line of its own.

    Args:
        lines: with the roles that the client sent: `system`, `user`, `assistant`.
        cast: who is known to take part.
    """
    lines = _of_single(lines) or lines
    found: list[Line] = []
    talking = False
    left = LOOKED_THROUGH
    said = max((row for row, line in enumerate(lines) if _says(line)), default=-1)
    for row, line in enumerate(lines):
        last = row == len(lines) - 1
        example = _EXAMPLES.get(fold(line.name)) if line.name else None
        line = line._replace(name=None) if example else line
        if example and not talking and (line.role == "system" or row < said):
            found.append(line._replace(role=example))
        elif line.role == "system" and not talking:
            left -= len(line.text)
            found += _marked(line) if left >= 0 else [line]
        elif line.role == "system":
            found += _told_apart(line)
        elif (
            line.role == "user" and not talking and not last and phrases.is_mark("start", line.text)
        ):
            found.append(line._replace(role="start"))
        elif (
            line.role == "user"
            and not talking
            and (in_main_prompt([line.text[:2_000]]).char or _holds_a_start(line.text))
        ):
            text = _START_ROW.sub(_apart, line.text)
            card = _marked(line._replace(role="system", text=text), behind="user")
            talking = any(part.role == "user" for part in card)
            found += card
        elif line.role == "user" and line.text.strip() == PLACEHOLDER:
            talking = True
            found.append(line._replace(text=""))
        elif line.role == "user":
            talking = True
            found += _without_instructions(line, lambda: _as_told(lines, cast))
        else:
            talking = True
            found.append(line)
    return found


def _holds_a_start(text: str) -> bool:
    """Whether a line inside a text says that the chat begins: what stands before is a card."""
    return any(phrases.is_mark("start", match[0]) for match in _START_ROW.finditer(text.strip()))


def _apart(row: re.Match[str]) -> str:
    return f"\n{row[0]}\n" if phrases.is_mark("start", row[0]) else row[0]


def _says(line: Line) -> bool:
    """Whether the user says something here, and not in an example."""
    return (
        line.role == "user" and bool(line.text.strip()) and fold(line.name or "") not in _EXAMPLES
    )


def _as_told(lines: Sequence[Line], cast: Cast) -> Cast:
    """The cast with the names that the client's system messages tell."""
    texts = [line.text for line in lines if line.role == "system"]
    main, own = in_main_prompt(texts), in_card(texts)
    return replace(
        cast, char=cast.char or main.char or own.char, user=cast.user or main.user or own.user
    )


def paragraphs(text: str) -> list[str]:
    """The parts of a text between blank lines."""
    return [part for part in _BLANK.split(text.strip()) if part.strip()]


def _marked(line: Line, behind: Role = "system") -> list[Line]:
    """A text of the client's, cut at its marks.

    Args:
        behind: the role of what stands behind the mark of the chat's start.
    """
    if mark := _mark(line.text):
        return [line._replace(role=mark)]
    parts = paragraphs(line.text)
    marks = {row: mark for row, part in enumerate(parts) if (mark := _mark(part))}
    if not marks:
        return [line]
    last_mark = max(marks)
    found: list[tuple[Role, list[str]]] = []
    role: Role = "system"
    for row, part in enumerate(parts):
        if mark := marks.get(row):
            found.append((mark, [part]))
            role = behind if mark == "start" else "example_text"
            continue
        if role == "example_text" and row > last_mark and prefixed(part) is None:
            role = "system"
        if found and found[-1][0] == role:
            found[-1][1].append(part)
        else:
            found.append((role, [part]))
    return [line._replace(role=role, text="\n\n".join(texts)) for role, texts in found]


def _mark(part: str) -> Role | None:
    if phrases.is_mark("start", part):
        return "start"
    return "example" if phrases.is_mark("example", part) else None


def _without_instructions(line: Line, cast: Callable[[], Cast]) -> Iterator[Line]:
    """What the user says, then what stands there only because a client merged it: paragraphs at the
    end that stand wholly in square brackets, and all from an instruction of a client's own on."""
    parts = paragraphs(line.text)
    cut = len(parts)
    while not line.shows and cut and phrases.bracketed(parts[cut - 1]):
        cut -= 1
    near = range(max(0, len(parts) - NEWEST), len(parts))
    own = (row for row in near if phrases.bracketed(parts[row]) and _asks(parts[row]))
    cut = min(cut, next(own, cut))
    if any(_is_users_turn(part, cast) for part in parts[max(cut, near.start) :]):
        cut = 0  # it is the user's turn to write: what stands before are notes, merged as well
    if line.text.lstrip().startswith("#") and (found := _question(line.text)):
        context, text = found
        yield line._replace(text=text)
        yield line._replace(role="system", text=context, name=None)
    elif cut == len(parts):
        yield line
    else:
        if cut:
            yield line._replace(text="\n\n".join(parts[:cut]))
        notes = line._replace(role="system", text="\n\n".join(parts[cut:]), name=None)
        yield from _told_apart(notes)


def _asks(part: str) -> bool:
    """Whether a text is one of the instructions that clients add by themselves."""
    return any(phrases.begins(kind, part) for kind in ("continue", "impersonate", "only"))


def _is_users_turn(part: str, cast: Callable[[], Cast]) -> bool:
    """Whether an instruction asks for the user's next line."""
    if phrases.begins("continue", part) or phrases.begins("impersonate", part) is None:
        return False
    known = cast()
    return only_as(part, known) is None and impersonated(part, known) is not None


def _told_apart(line: Line) -> list[Line]:
    """A system line, in parts where a client joined an instruction of its own to others."""
    texts = line.text.split("\n")
    joined: list[list[str]] = [[]]
    for row, text in enumerate(texts):
        near = row == 0 or row >= len(texts) - NEWEST
        if near and text.strip() and (_asks(text) or phrases.stops_the_play(text)):
            joined += [[text], []]
        else:
            joined[-1].append(text)
    parts = ("\n".join(part) for part in joined)
    return [line._replace(text=part) for part in parts if part.strip()] or [line]


def _question(text: str) -> tuple[str, str] | None:
    """What a client found for the user's question and put before it, and the question; None where
    a text is nothing of the kind."""
    for opening, closing in (("<user_query>", "</user_query>"), ("</context>", None)):
        begin = text.rfind(opening)
        if begin < 0 or "<context>" not in text or "<chat_history>" in text:
            continue
        begin += len(opening)
        end = text.rfind(closing) if closing else len(text)
        if question := text[begin:end].strip():
            return (text[:begin] + text[max(end, begin) :]).strip(), question
    return None


def _of_single(lines: Sequence[Line]) -> list[Line]:
    """The lines of a chat that a client sent as one message of the user; empty if it is none.

    It is one where the client's own first words name who takes part, and paragraphs begin with
    these names.
    """
    if len(lines) != 1 or lines[0].role != "user" or lines[0].shows:
        return []
    [whole] = lines
    char, user = in_main_prompt([whole.text])
    if char is None:
        return _of_transcript(whole)
    parts = paragraphs(whole.text)
    cast = Cast(char, user)
    starts = [row for row, part in enumerate(parts) if phrases.is_mark("start", part)]
    if starts:
        for row in starts:
            cast = Cast(char, user, members=(*cast.members, *members_of(parts[row])))
        begin = starts[-1]
    else:
        said = [row for row, part in enumerate(parts) if _speaker(part, cast)]
        if not said:
            return []
        begin = said[0]
    card = whole._replace(role="system", text="\n\n".join(parts[:begin]))
    found = [*([card] if card.text else [])]
    for part in parts[begin:]:
        if phrases.is_mark("start", part) or phrases.bracketed(part):
            found.append(whole._replace(role="system", text=part))
        elif name := _speaker(part, cast):
            role: Role = "user" if cast.is_user(name) else "assistant"
            found.append(whole._replace(role=role, text=part))
        elif found and found[-1].role in ("user", "assistant"):
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n\n{part}")
        else:
            found.append(whole._replace(role="user", text=part))
    return found


def _of_transcript(whole: Line) -> list[Line]:
    """The lines of a chat that a client wrote as one text, as a story is written on, up to the name
    of who speaks next; empty if the text is none."""
    rows = whole.text.rstrip().split("\n")
    cue = _CUE.fullmatch(rows.pop().strip())
    if cue is None or not looks_like_name(cue["name"]):
        return []
    cast = Cast(cue["name"])
    heads = [found.name if (found := prefixed(row)) else None for row in rows]
    others = [name for name in heads if name and looks_like_name(name) and not cast.is_char(name)]
    if not others or set(map(fold, others)) != {fold(others[-1])}:
        return []  # nobody to talk to, or a list of things rather than two people
    if as_word(cue["name"], "(?![A-Za-z])").search("\n".join(rows)) is None:
        return []
    cast = replace(cast, user=others[-1])
    begin = next(row for row, name in enumerate(heads) if name and cast.known(name))
    card = "\n".join(row for row in rows[:begin] if _mark(row) is None).strip()
    lines = [whole._replace(role="system", text=card)] if card else []
    for row, name in zip(rows[begin:], heads[begin:], strict=True):
        if name and cast.known(name):
            role: Role = "user" if cast.is_user(name) else "assistant"
            lines.append(whole._replace(role=role, text=row, name=cast.known(name)))
        else:
            lines[-1] = lines[-1]._replace(text=f"{lines[-1].text}\n{row}")
    return [*lines, whole._replace(role="assistant", text="", name=cast.char)]


def _speaker(part: str, cast: Cast) -> str | None:
    found = prefixed(part)
    return cast.known(found.name) if found else None
