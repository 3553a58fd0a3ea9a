"""A character of the operator's folder, by its name.

`Sera.png` is a character card with its lore, as PNG, CHARX or JSON; or JSON with the fields of a
request's `persona`. `Sera.story.json` beside it, if there is one, holds the events of its story.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from cards.events import to_events
from cards.files import parse_json, read_file
from cards.load import load_character
from language.normal import nfc
from schemas.errors import BadRequest, SettingsError
from schemas.kept import Kept
from schemas.request import Persona, StoryEvent

SUFFIXES = (".charx", ".png", ".json")
"""Of cards; of two with one name, the last of these counts."""

STORY = ".story.json"

MAX_BYTES = 64_000_000
"""Of characters kept: 32 with 500 events and entries of 1,000 characters each."""

BYTES_OF_EVENT = 3_000  # the object and its lore, beside the texts

_EVENTS = TypeAdapter(list[StoryEvent])


class Character(NamedTuple):
    """What a character brings to a request: its lore is among the events of `story`."""

    persona: Persona
    story: list[StoryEvent]


def names(folder: Path) -> list[str]:
    """The characters on offer, sorted; none where there is no folder. Blocks on the disk."""
    return sorted(_files(folder))


def load(name: str, folder: Path) -> Character:
    """The character of this name. Blocks on the disk.

    The name comes from a request: it is compared with the names in the folder, and never becomes
    part of a path.

    Raises:
        BadRequest: there is none; says which there are.
        SettingsError: its file cannot be read as a character.
    """
    path = _files(folder).get(nfc(name))
    if path is None:
        known = ", ".join(names(folder)) or "none; send `persona`"
        raise BadRequest(f"no such character; on offer: {known}", field="model")
    files = [path, path.with_name(path.stem + STORY)]
    try:
        written = tuple((file, file.stat().st_mtime_ns) for file in files if file.is_file())
        found = _read_before.get(written)
        if found is None:
            found = _read(*(file for file, _ in written))
            _read_before.put(written, found, _size(found))
        return found
    except (BadRequest, OSError):
        raise SettingsError(
            f"characters/{path.name} is no character; see python -m cards validate"
        ) from None


_read_before: Kept[tuple[tuple[Path, int], ...], Character] = Kept(MAX_BYTES)
"""Reading a card with 300 entries of lore takes 24 ms. When each file was written keeps what was
read before an edit apart."""


def _read(card: Path, story: Path | None = None) -> Character:
    """The files as they are now."""
    persona, lore = load_character(card)
    events = to_events(lore)
    if story:
        try:
            events += _EVENTS.validate_python(parse_json(read_file(story)))
        except (BadRequest, ValidationError):
            told = f"characters/{story.name} holds no list of story events"
            raise SettingsError(told) from None
    return Character(persona, events)


def _size(character: Character) -> int:
    """About how many bytes it takes in memory: its texts have up to two a character."""
    persona, events = character
    texts = len(persona.model_dump_json()) + len(_EVENTS.dump_json(events))
    return 2 * texts + BYTES_OF_EVENT * len(events)


def _files(folder: Path) -> dict[str, Path]:
    """The folder's characters: name (composed, as people type it) and file."""
    try:
        found = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()]
    except OSError:
        return {}
    cards = [p for p in found if not p.name.startswith(".") and not p.name.endswith(STORY)]
    cards.sort(key=lambda path: SUFFIXES.index(path.suffix))
    return {nfc(path.stem): path for path in cards}
