"""Saves of KoboldAI and KoboldAI Lite: one running text, cut where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cards.chats.chat import Chat
from cards.chats.lines import Line, Names, gather
from cards.chats.transcript import end_of, lines_of
from cards.files import object_in
from cards.forms import Document
from schemas.errors import BadRequest
from schemas.request import Role

_MODES = {1: "story", 2: "adventure", 3: "chat", 4: "instruct"}
_PLACE = re.compile(r"\{\{\[(INPUT|OUTPUT|SYSTEM)(_END)?\]\}\}")
_DEED = re.compile(r"^[ \t]{0,4}>[ \t]{0,4}(\S[^\n]*)$", re.MULTILINE)
_SPEAKERS: dict[str, Role] = {"INPUT": "user", "OUTPUT": "character", "SYSTEM": "system"}
_BESIDE = {"memory": "its memory", "authorsnote": "its note", "worldinfo": "its world info"}


def is_kobold(value: Any) -> bool:
    """Whether a value is a save: a prompt, and actions in a list (or by number, version 2)."""
    if not isinstance(value, Mapping) or not isinstance(value.get("actions"), list | Mapping):
        return False
    return "prompt" in value and any(
        key in value for key in ("gamestarted", "savedsettings", "authorsnote", "actions_metadata")
    )


def read_kobold(document: Document) -> Chat:
    """The chat in a save: by its placeholders, its names, or its deeds; a story is narration."""
    save: Mapping[str, Any] = document.value
    settings = object_in(save, "savedsettings")
    user, others = (str(settings.get(key) or "") for key in ("chatname", "chatopponent"))
    names = Names(
        user=document.user,
        character=document.character,
        of_user=user or None,
        of_character=others.partition("||$||")[0] or None,
    )
    pieces = list(_pieces(save))
    text = "".join(pieces)
    if not _PLACE.search(text):
        for key, mark in (("instruct_starttag", "INPUT"), ("instruct_endtag", "OUTPUT")):
            tag = str(settings.get(key) or "").replace("\\n", "\n")
            text = text.replace(tag, "{{[" + mark + "]}}") if tag.strip() else text
    told = [words for key, words in _BESIDE.items() if save.get(key)]
    warnings = [f"not read: {', '.join(told)}"] if told else []
    end = end_of(text)
    lines, mode = _lines(end, pieces, _MODES.get(_number(settings.get("opmode"))), names)
    return gather(
        reversed(lines), names, form=f"chat of KoboldAI ({mode})", count=len(lines),
        whole=len(end) == len(text), in_turn=True, warnings=warnings,
    )  # fmt: skip


def _number(value: Any) -> int:
    return int(value) if str(value).isdigit() else 0


def _pieces(save: Mapping[str, Any]) -> Iterator[str]:
    """The prompt and what followed, as it was written."""
    yield str(save.get("prompt") or "")
    actions = save["actions"]
    if isinstance(actions, Mapping):
        held = actions.get("actions", actions)
        rows = held.items() if isinstance(held, Mapping) else enumerate(held or [])
        numbered = sorted((_number(key), row) for key, row in rows if str(key).isdigit())
        actions = [
            row.get("Selected Text") if isinstance(row, Mapping) else row for _, row in numbered
        ]
    yield from (str(action) for action in actions if isinstance(action, str | int | float))


def _lines(text: str, pieces: list[str], mode: str | None, names: Names) -> tuple[list[Line], str]:
    """The lines of the text, and in which mode it was written."""
    if _PLACE.search(text):
        return list(_instructed(text)), "instruct"
    if mode in (None, "chat", "instruct"):
        try:
            return lines_of(text, names), "chat"
        except BadRequest:
            pass
    if mode in (None, "adventure") and _DEED.search(text):
        return list(_adventure(text)), "adventure"
    role: Role = "character" if mode == "instruct" else "narrator"
    told = [piece.strip() for piece in pieces if piece.strip()]
    return [Line(row=piece, text=piece, role=role) for piece in told], mode or "story"


def _instructed(text: str) -> Iterator[Line]:
    role: Role = "character"
    for at, part in enumerate(_PLACE.split(text)):
        if at % 3 == 1:
            role = _SPEAKERS[part]
        elif at % 3 == 0 and part.strip():
            yield Line(row=part, text=part.strip(), role=role)


def _adventure(text: str) -> Iterator[Line]:
    for at, part in enumerate(_DEED.split(text)):
        if part.strip():
            yield Line(row=part, text=part.strip(), role="user" if at % 2 else "narrator")
