"""The text of one message, however a program wraps it: parts, versions, pasted pictures."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from cards.files import whole

_DATA = re.compile(
    r"data:(?P<kind>[a-z]{1,20})/[\w.+-]{1,80}(?:;[\w=.+-]{1,60}){0,4};base64,[A-Za-z0-9+/=_-]*"
)
_LINKED = re.compile(
    r"!?\[[^\[\]\n]{0,200}\]\( {0,4}<?(?P<link>\[(?:picture|audio|video|file)\])>?[^()\n]{0,200}\)"
    r"|<(?:img|audio|video|source)\b[^<>]{0,300}"
    r"(?P<tag>\[(?:picture|audio|video|file)\])[^<>]{0,300}>"
)
_MEDIA = {"image": "[picture]", "audio": "[audio]", "video": "[video]"}
_FILE = "[file]"

_WRAPPED = ("message", "text", "content", "parts", "value", "mes")
"""Keys under which an object holds a message's text."""

_THOUGHT = ("thinking", "think", "reasoning", "thought", "redacted_thinking")


def text_of(value: Any, left_out: Counter[str]) -> str | None:
    """The text in a value; None if it has none that is known.

    Args:
        left_out: kinds of parts that are no words of the chat are counted here.
    """
    match value:
        case str():
            return value
        case bool() | None:
            return None
        case int() | float():
            return str(value)
        case list():
            parts = [part for item in value if (part := _part(item, left_out)) is not None]
            return "\n".join(parts) if parts or not value else None
        case dict():
            for key in _WRAPPED:
                if key in value and (text := text_of(value[key], left_out)) is not None:
                    return text
    return None


def _part(item: Any, left_out: Counter[str]) -> str | None:
    """One of the parts of a message: words, or what a picture or a file leaves of itself."""
    if not isinstance(item, dict):
        return text_of(item, left_out)
    kind = str(item.get("type") or item.get("content_type") or "").lower()
    if any(word in kind for word in _THOUGHT) or item.get("thought") is True:
        left_out["thought"] += 1
        return None
    if "tool" in kind or "function" in kind or "functionCall" in item or "functionResponse" in item:
        left_out["tool"] += 1
        return None
    if mark := _mark(item, kind):
        return mark
    text = text_of({key: item[key] for key in _WRAPPED if key in item}, left_out)
    if text is None:
        left_out["other"] += 1
    return text


def _mark(item: dict[str, Any], kind: str) -> str | None:
    """What stands for a part that is no text."""
    for word, mark in _MEDIA.items():
        if word in kind:
            return mark
    if kind in ("input_file", "file", "document", "attachment"):
        return _FILE
    for key in ("inlineData", "inline_data", "fileData", "file_data"):
        if isinstance(held := item.get(key), dict):
            mime = str(held.get("mimeType") or held.get("mime_type") or "")
            return _MEDIA.get(mime.partition("/")[0], _FILE)
    return None


def cleaned(text: str) -> str:
    """The text as a message may hold it: whole characters, and a word for each pasted file."""
    text = whole(text)
    if ";base64," not in text:
        return text
    text = _DATA.sub(lambda found: _MEDIA.get(found["kind"], _FILE), text)
    return _LINKED.sub(lambda found: found["link"] or found["tag"], text)
