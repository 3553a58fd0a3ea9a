"""One file as another: a card in another carrier, a lorebook in another form, a chat as a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter

from cards.characters.card import Card, Version
from cards.characters.export import CARRIERS, write_card
from cards.chats.chat import Chat
from cards.chats.writing import Written, as_json, as_jsonl
from cards.files import read_file, write_json, writing
from cards.lore.events import split_lore, to_events
from cards.lore.lorebook import Lorebook
from cards.lore.of_card import book_of
from cards.lore.write import to_lorebook_v3, to_world_info
from cards.read import Thing
from cards.story import Story
from schemas.errors import BadRequest
from schemas.request import StoryEvent

OfLore = Literal["story", "world-info", "lorebook"]
OF_CARD: tuple[Version, ...] = ("v2", "v3")
OF_LORE: tuple[OfLore, ...] = get_args(OfLore)

_PICTURED = (".png", ".charx")
_EVENTS = TypeAdapter(list[StoryEvent])


def convert(
    thing: Thing,
    out: Path,
    *,
    version: Version | None = None,
    lore: OfLore | None = None,
    picture: Path | None = None,
    user: str | None = None,
    character: str | None = None,
    force: bool = False,
) -> Sequence[str]:
    """Writes a thing in the format that the name of `out` asks for; says what could not be kept.

    Args:
        version: of a card; default: its own.
        lore: the form of lore, also of that in a card; default: a book becomes story events, these
            become World Info.
        picture: a PNG that shall carry the card.
        user: the user's name in a log; `character` the character's; default: those of the file.
        force: overwrites a file that is there.

    Raises:
        BadRequest: it cannot be written so, or `out` is there.
    """
    if picture and (lore or out.suffix.lower() not in _PICTURED or not isinstance(thing, Card)):
        raise BadRequest("takes no --picture; only a card in .png or .charx does", field=out.name)
    match thing, out.suffix.lower().removeprefix("."):
        case Card(), suffix if lore is None and suffix in CARRIERS:
            carrier = read_file(picture) if picture else None
            with writing(out, force=force) as file:
                return write_card(thing, file, suffix, version, carrier)
        case Card(), "json" if lore is not None and version is None:
            return _write(out, _lore(book_of(thing), lore), force=force)
        case Lorebook(), "json" if version is None:
            return _write(out, _lore(thing, lore or "story"), force=force)
        case Story(events=events), "json" if version is None:
            book, others = split_lore(events)
            written = _write(out, _lore(book, lore or "world-info"), force=force)
            told = f"{len(others):,} events are no lore and are left out"
            return [*written, told] if others else written
        case Chat(), "jsonl" if version is None and lore is None:
            return _write(out, as_jsonl(thing, user=user, character=character), force=force)
        case Chat(), "json" if version is None and lore is None:
            return _write(out, as_json(thing), force=force)
    raise BadRequest(
        "cannot be written in this format; use .png, .json or .charx for a card, .json for lore, "
        ".jsonl or .json for a chat, and of `--to` what fits it",
        field=out.name,
    )


def _lore(book: Lorebook, form: OfLore) -> Written:
    if not book.entries:
        raise BadRequest("holds no lore")
    match form:
        case "world-info":
            return Written(write_json(to_world_info(book)), ())
        case "lorebook":
            return Written(write_json(to_lorebook_v3(book)), ())
        case "story":
            return Written(_EVENTS.dump_json(to_events(book), indent=2), ())


def _write(out: Path, written: Written, *, force: bool) -> Sequence[str]:
    with writing(out, force=force) as file:
        file.write(written.content)
    return written.warnings
