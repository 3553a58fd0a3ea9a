"""What a file of a user is, told by its content, for the terminal, the handler and the page alike.

First the carrier is looked at (a picture, an archive, JSON, lines of JSON, YAML, plain text), then
the form of what it carries (`cards.forms`). Names of files say nothing: people rename them.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import BinaryIO

from cards.characters.card import Card
from cards.characters.carriers import card_in, is_carrier
from cards.characters.foreign import FORMS as CHARACTERS
from cards.characters.in_yaml import is_yaml, parse_yaml
from cards.chats.chat import Chat
from cards.chats.foreign import FORMS as CHATS
from cards.chats.foreign import read_lines, read_text
from cards.files import MAX_FILE, decode, in_utf8, parse_json, read_stream, write_json
from cards.forms import Document, Form, form_of, keys_in
from cards.lore.foreign import FORMS as BOOKS
from cards.lore.lorebook import Lorebook
from cards.story import FORMS as OURS
from cards.story import Story
from schemas.errors import BadRequest
from schemas.request import Persona

Thing = Card | Persona | Lorebook | Story | Chat


class NothingThere(BadRequest):
    """A file without a letter."""


FORMS: tuple[Form[Thing], ...] = (*CHARACTERS, *BOOKS, *CHATS, *OURS)
"""Every form of a JSON file. A value has one at most."""


def read_any(
    source: bytes | BinaryIO, *, user: str | None = None, character: str | None = None
) -> Thing:
    """What a file holds; its `form` says what it was taken for, `warnings` what was not understood.

    Args:
        source: its bytes, or the open file: of an archive no more is read than its directory and
            its card, and its assets only as long as the file is open.
        user: the user's name, where a chat does not say whose line it is.
        character: the character's, likewise.

    Raises:
        BadRequest: it is damaged, empty, or nothing that we know; names what it looks like.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    if is_carrier(stream):
        return card_in(stream)
    content, told = in_utf8(read_stream(stream, MAX_FILE))
    thing = _read(content, user, character)
    if not told or isinstance(thing, Persona):
        return thing
    return replace(thing, warnings=(*thing.warnings, told))


_TAGGED = re.compile(r'\s*\[[^\[\]{}"\n]{1,80}\]')
"""How a text begins whose first line has a name or a time in brackets."""


def _is_tagged(text: str) -> bool:
    """Whether a text that begins like a list of JSON is none."""
    if not _TAGGED.match(text):
        return False
    try:
        parse_json(text.encode("utf-8", "replace"))
    except BadRequest:
        return True
    return False


def _read(content: bytes, user: str | None, character: str | None) -> Thing:
    """What a text in UTF-8 holds."""
    text = decode(content)
    first = text.lstrip()[:1]
    if not first:
        raise NothingThere("is empty")
    if first not in "[{" or _is_tagged(text):
        if "\0" in text[:1000]:
            raise BadRequest("is no text, picture or archive that is known here; export it anew")
        if not is_yaml(text.rstrip()):
            return read_text(text.strip(), user=user, character=character)
        value = parse_yaml(text.rstrip())
        content = write_json(value)
    elif (chat := read_lines(text, user=user, character=character)) is not None:
        return chat
    else:
        value = parse_json(content)
    document = Document(value=value, content=content, user=user, character=character)
    form = form_of(document.value, FORMS)
    if form is None:
        seen = keys_in(document.value)
        keys = f"; its keys are {seen}" if seen else ""
        raise BadRequest(
            f"is no character, lorebook or chat in a form that is known here{keys}; "
            "export it in another format"
        )
    return form.read(document)
