"""A character of the operator's folder, by its name.

`Sera.png` is a character card with its lore, as PNG, CHARX or JSON; or JSON with the fields of a
request's `persona`. `Sera.story.json` beside it, if there is one, holds the events of its story.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from cards.files import parse_json, read_file
from cards.load import load_character
from cards.lore.events import to_events
from cards.macros import Scope, expand
from language.korean import is_korean
from language.normal import nfc
from schemas.errors import BadRequest, SettingsError
from schemas.kept import Kept
from schemas.request import USER, Persona, StoryEvent

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
    found = find(name, folder)
    if found is None:
        known = ", ".join(names(folder)) or "none; send `persona`"
        raise BadRequest(f"no such character; on offer: {known}", field="model")
    return found


def find(name: str, folder: Path) -> Character | None:
    """The character of this name, whatever its case; None where there is none. Blocks on the disk.

    Raises:
        SettingsError: its file cannot be read as a character.
    """
    path = _path(name, folder)
    if path is None:
        return None
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


def listed(folder: Path) -> list[tuple[str, str | None]]:
    """The names of `names` with their greetings, the user's name in them a plain word; None where
    there is none, or the file is no character. Blocks on the disk."""
    return [(name, _greeting(name, folder)) for name in names(folder)]


def _greeting(name: str, folder: Path) -> str | None:
    try:
        found = find(name, folder)
    except SettingsError:  # told where the character is asked for
        return None
    if found is None or not (text := found.persona.first_message).strip():
        return None
    user = USER["ko" if is_korean(text) else "en"]
    return expand(text, Scope.of(found.persona, user, text))


def _path(name: str, folder: Path) -> Path | None:
    files, wanted = _files(folder), nfc(name)
    if wanted in files:
        return files[wanted]
    return next((path for known, path in files.items() if _same(known, wanted)), None)


def _same(known: str, wanted: str) -> bool:
    return nfc(known.casefold()) == nfc(wanted.casefold())


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
