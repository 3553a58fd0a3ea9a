"""One file as another: a card in another carrier, a lorebook in another form, a chat as a log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter

from cards.characters.card import Card
from cards.characters.export import CARRIERS, write_card
from cards.chats.chat import Chat
from cards.chats.writing import as_json, as_jsonl
from cards.files import read_file, write_json, writing
from cards.lore.events import split_lore, to_events
from cards.lore.lorebook import Lorebook
from cards.lore.of_card import book_of
from cards.lore.write import to_lorebook_v3, to_world_info
from cards.read import Thing
from cards.story import Story
from schemas.errors import BadRequest
from schemas.request import StoryEvent

OfCard = Literal["v2", "v3"]
OfLore = Literal["story", "world-info", "lorebook"]
OF_CARD: tuple[OfCard, ...] = get_args(OfCard)
OF_LORE: tuple[OfLore, ...] = get_args(OfLore)

_EVENTS = TypeAdapter(list[StoryEvent])


def convert(
    thing: Thing,
    out: Path,
    to: OfCard | OfLore | None = None,
    *,
    picture: Path | None = None,
    user: str | None = None,
    character: str | None = None,
    force: bool = False,
) -> list[str]:
    """Writes a thing in the format that the name of `out` asks for; says what could not be kept.

    Args:
        to: the version of a card (default: its own), or the form of lore (default: story events
            for a book, World Info for story events).
        picture: a PNG that shall carry the card.
        user: the user's name in a log; `character` the character's; by default those of the file.
        force: overwrites a file that is there.

    Raises:
        BadRequest: it cannot be written so, or `out` is there.
    """
    suffix = out.suffix.lower().removeprefix(".")
    match thing:
        case Card() if to not in OF_LORE and suffix in CARRIERS:
            carrier = read_file(picture) if picture else None
            with writing(out, force=force) as file:
                return write_card(thing, file, suffix, to, carrier)
        case Card() if to in OF_LORE and suffix == "json":
            return _write(out, *_lore(book_of(thing), to), force=force)
        case Lorebook() if to not in OF_CARD and suffix == "json":
            return _write(out, *_lore(thing, to or "story"), force=force)
        case Story(events=events) if to not in OF_CARD and suffix == "json":
            book, others = split_lore(events)
            content, warnings = _lore(book, to or "world-info")
            if others:
                warnings.append(f"{len(others):,} events are no lore and are left out")
            return _write(out, content, warnings, force=force)
        case Chat() if to is None and suffix == "jsonl":
            return _write(out, *as_jsonl(thing, user=user, character=character), force=force)
        case Chat() if to is None and suffix == "json":
            return _write(out, *as_json(thing), force=force)
    raise BadRequest(
        "cannot be written in this format; use .png, .json or .charx for a card, .json for lore, "
        ".jsonl or .json for a chat, and of `--to` what fits it",
        field=out.name,
    )


def _lore(book: Lorebook, form: str) -> tuple[bytes, list[str]]:
    if not book.entries:
        raise BadRequest("holds no lore")
    match form:
        case "world-info":
            return write_json(to_world_info(book)), []
        case "lorebook":
            return write_json(to_lorebook_v3(book)), []
    return _EVENTS.dump_json(to_events(book), indent=2), []


def _write(out: Path, content: bytes, warnings: list[str], *, force: bool) -> list[str]:
    with writing(out, force=force) as file:
        file.write(content)
    return warnings
