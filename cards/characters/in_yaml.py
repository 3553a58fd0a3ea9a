"""Characters in YAML, as text-generation-webui keeps them.

All scalars are read as texts, so that `name: No` is a name. Anchors and aliases are refused: they
let a few lines stand for a billion (YAML 1.2, 7.1).
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from cards.files import MAX_DEPTH, MEGABYTE
from schemas.errors import BadRequest

MAX_YAML = MEGABYTE
"""Bytes; a long character has 50 KB, and reading takes about a second for each MB."""

_KEY = re.compile(r"^[\"']?([A-Za-z_]\w{0,40})[\"']?:(?=[ \t\r]|$)", re.MULTILINE)
_NAMES = frozenset(("name", "bot", "char_name", "spec"))
_TEXTS = frozenset(("context", "greeting", "char_persona", "char_greeting", "first_mes", "data"))
_TEXTS |= {"turn_template", "instruction_template"}


_MESSAGE = re.compile(
    r"^[ \t]{0,20}(?:-[ \t]{1,4}|[ \t])(role|content):(?=[ \t\r]|$)", re.MULTILINE
)
_LIST = re.compile(r"(?:---\s{1,9})?(?:\w{1,40}:[ \t]{0,9}\r?\n[ \t]{0,20})?-[ \t]")
"""How a list begins, or a document with one."""

_LOOKED_AT = 20_000
"""Characters of a text in which messages are looked for."""

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Ten times as fast where PyYAML was built with libyaml."""


def is_yaml(text: str) -> bool:
    """Whether a text begins its lines with the keys of a character, or is a list of messages with
    a role and a content, rather than lines with names of speakers."""
    if _LIST.match(text) and {match[1] for match in _MESSAGE.finditer(text[:_LOOKED_AT])} == {
        "role",
        "content",
    }:
        return True
    keys = {match[1] for match in _KEY.finditer(text, 0, MAX_YAML)}
    return bool(keys & _TEXTS) and bool(keys & _NAMES or "turn_template" in keys)


def parse_yaml(text: str) -> Any:
    """The value of a YAML document; each scalar is a text.

    Raises:
        BadRequest: it is no YAML, too large or too deep, or has anchors.
    """
    if len(text.encode("utf-8", "replace")) > MAX_YAML:
        raise BadRequest(f"holds more than {MAX_YAML // MEGABYTE} MB of YAML; use a smaller file")
    try:
        _check(text)
        return yaml.load(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadRequest(f"is not YAML{place}; save it as JSON, or correct it") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadRequest("is not YAML; save it as JSON, or correct it") from None


def _check(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadRequest("holds YAML anchors, which are not read here; write the texts out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BadRequest(f"is nested more than {MAX_DEPTH} levels deep; flatten it")
