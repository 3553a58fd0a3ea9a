"""`python -m cards show|convert|validate FILE`: cards, lorebooks and chats from the terminal."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cards.characters.card import Card, to_persona
from cards.characters.export import to_json, to_png
from cards.chats.chat import Chat
from cards.chats.chatlog import to_jsonl
from cards.files import read_file, write_file
from cards.load import book_of, form_name, reading, warnings_of
from cards.lore.events import to_events
from cards.lore.keys import Key, KeyIndex
from cards.lore.lorebook import Lorebook
from cards.macros import Scope, expand
from cards.read import Thing
from cards.story import Story
from schemas.budget import Budget, Purse
from schemas.errors import BadRequest, IyagiError
from schemas.request import Message, Persona, StoryEvent
from schemas.terminal import in_terminal

SHORT = 100
"""Characters of a text that are shown."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m cards",
        description="Look at character cards, lorebooks and chat logs, and convert them.",
        allow_abbrev=False,
    )
    verbs = parse.add_subparsers(dest="verb", required=True)
    show = verbs.add_parser("show", help="print what a file holds")
    check = verbs.add_parser("validate", help="print what is wrong with a file, or odd in it")
    convert = verbs.add_parser("convert", help="write a file in another format")
    for verb in (show, check, convert):
        verb.add_argument("file", type=Path, help="a card (PNG, CHARX, JSON), lorebook or chat")
        verb.add_argument("--user", help="the user's name, where a chat does not say who that is")
        verb.add_argument("--character", help="the character's, likewise")
    convert.add_argument(
        "out",
        type=Path,
        help="card.png or card.json; chat.jsonl or chat.json; story.json from a lorebook",
    )
    convert.add_argument("--to", choices=["v2", "v3"], help="version of the card; default: its own")
    convert.add_argument("--picture", type=Path, help="a PNG that shall carry the card")
    convert.add_argument("--force", action="store_true", help="overwrite a file that is there")
    return parse


def show(thing: Thing, out: Console) -> None:
    """Prints a thing as a table."""
    match thing:
        case Card():
            book = book_of(thing)
            out.print(_card_table(thing, book))
            if book.entries:
                out.print(_book_table(book))
        case Persona():
            out.print(_persona_table(thing))
        case Lorebook():
            out.print(_book_table(thing))
        case Story(events=events):
            out.print(_story_table(events))
        case Chat(messages=messages):
            out.print(_chat_table(messages))


def validate(thing: Thing, name: str, out: Console) -> None:
    """Prints what a thing was taken for and what is odd in it; BadRequest if it cannot be used."""
    warnings = warnings_of(thing)
    match thing:
        case Card():
            book = book_of(thing)
            warnings += [*unknown_macros(to_persona(thing)), *key_warnings(book)]
        case Persona():
            warnings += unknown_macros(thing)
        case Lorebook():
            warnings += key_warnings(thing)
    for warning in warnings:
        out.print(f"warning: {escape(warning)}")
    out.print(f"{escape(name)}: {escape(form_name(thing))}, {size_of_thing(thing)}")
    out.print(f"{escape(name)} can be used" + (f"; {len(warnings)} warnings" * bool(warnings)))


def size_of_thing(thing: Thing) -> str:
    """What was read of it, in words."""
    match thing:
        case Card():
            entries = len(book_of(thing).entries)
            return f"{thing.name}" + f" with {entries:,} entries of lore" * bool(entries)
        case Persona():
            return thing.name
        case Lorebook():
            return f"{len(thing.entries):,} entries"
        case Story(events=events):
            return f"{len(events):,} events"
        case Chat(messages=messages, lines=lines):
            return f"{len(messages):,} of {lines:,} messages"


def unknown_macros(persona: Persona) -> list[str]:
    """What is written like a macro in the card's texts and stays as it is."""
    found: set[str] = set()
    for text in persona.model_dump(exclude={"extensions"}).values():
        if isinstance(text, str):
            expand(text, Scope.of(persona, "User", text), found)
    return [f"unknown macro `{{{{{name}}}}}` stays as text" for name in sorted(found)]


def key_warnings(book: Lorebook) -> list[str]:
    """Keys of a book that are no valid pattern."""
    index = KeyIndex([Key(key) for key in {key for entry in book.entries for key in entry.keys}])
    index.found("", Budget(patterns=Purse(math.inf)))  # tries each
    broken = sorted(key.text for key in index.broken)
    return [f"key `{key}` is no valid pattern and never matches" for key in broken]


def converted(thing: Thing, args: argparse.Namespace) -> bytes:
    """A thing in the format that the name of the file asks for."""
    match thing, args.out.suffix.lower():
        case Card(), ".json":
            return to_json(thing, args.to)
        case Card(), ".png":
            picture = read_file(args.picture) if args.picture else None
            return to_png(thing, args.to, picture)
        case Lorebook(), ".json":
            return TypeAdapter(list[StoryEvent]).dump_json(to_events(thing), indent=2)
        case Chat(messages=messages), ".jsonl":
            user, character = args.user or "User", args.character or "Character"
            return to_jsonl(messages, user=user, character=character).encode()
        case Chat(messages=messages), ".json":
            return TypeAdapter(list[Message]).dump_json(messages, indent=2, exclude_none=True)
    raise BadRequest(
        "cannot be written in this format; use .png or .json for a card, .json for lore, "
        ".jsonl or .json for a chat",
        field=args.out.name,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 2 the file cannot be used."""
    args = parser().parse_args(argv)
    out = Console(highlight=False, soft_wrap=args.verb != "show")
    others = (args.out, args.picture or args.out) if args.verb == "convert" else ()
    try:
        notes: list[str] = []
        who = {"user": args.user, "character": args.character}
        with reading(args.file, notes, *others, **who) as thing:
            if args.verb != "validate":
                for note in notes:
                    out.print(f"warning: {escape(note)}")
            match args.verb:
                case "show":
                    show(thing, out)
                case "validate":
                    validate(thing, args.file.name, out)
                case _:
                    content = converted(thing, args)
                    write_file(args.out, content, force=args.force)
                    out.print(f"wrote {escape(args.out.name)}: {len(content):,} bytes")
    except IyagiError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2
    return 0


def _card_table(card: Card, book: Lorebook) -> Table:
    """A card's fields, long ones by their beginning and length."""
    carrier = "PNG" if card.picture else "CHARX" if card.archive else "JSON"
    table = _table(f"{card.name}: character card {card.version.upper()} in {carrier}")
    table.add_column("field", no_wrap=True)
    table.add_column("characters", justify="right")
    table.add_column("text")
    rows = {
        "nickname": card.nickname,
        "description": card.description,
        "personality": card.personality,
        "scenario": card.scenario,
        "first message": card.first_mes,
        **{f"greeting {n}": text for n, text in enumerate(card.alternate_greetings, 1)},
        **{f"group greeting {n}": text for n, text in enumerate(card.group_only_greetings, 1)},
        "example dialogue": card.mes_example,
        "system prompt": card.system_prompt,
        "after the history": card.post_history_instructions,
        "creator": " ".join(filter(None, (card.creator, card.character_version))),
        "creator's notes": card.creator_notes,
        "tags": ", ".join(card.tags),
        "extensions": ", ".join(map(str, card.extensions)),
        "lorebook": f"{len(book.entries)} entries" if book.entries else "",
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, f"{len(text):,}", _short(text))
    return table


def _persona_table(persona: Persona) -> Table:
    """A persona's texts."""
    table = _table(f"{persona.name}: persona")
    table.add_column("field", no_wrap=True)
    table.add_column("text")
    for name, text in persona.model_dump(exclude={"extensions"}, exclude_defaults=True).items():
        table.add_row(name, _short(", ".join(text) if isinstance(text, list) else str(text)))
    return table


def _story_table(events: Sequence[StoryEvent]) -> Table:
    """A story's events."""
    table = _table(f"Story: {len(events):,} events")
    for column in ("order", "id", "text"):
        table.add_column(column, no_wrap=column == "order")
    for event in events:
        table.add_row(str(event.order), _short(event.id or "", 30), _short(event.text))
    return table


def _book_table(book: Lorebook) -> Table:
    """A book's entries."""
    title = f"{book.name or 'Lorebook'}: {len(book.entries):,} entries"
    table = _table(title)
    for column in ("id", "name", "keys", "order", "place", "text"):
        table.add_column(column, no_wrap=column in ("id", "order"))
    for entry in book.entries:
        state = "" if entry.enabled else " (off)"
        keys = "always" if entry.constant else ", ".join(entry.keys)
        table.add_row(
            escape(entry.id) + state,
            _short(entry.name, 20),
            _short(keys, 40),
            str(entry.order),
            entry.position,
            _short(entry.content, 60),
        )
    return table


def _chat_table(messages: Sequence[Message]) -> Table:
    """How many lines each role has, and the last ones."""
    roles = Counter(message.role for message in messages)
    counts = ", ".join(f"{count:,} {role}" for role, count in roles.most_common())
    table = _table(f"Chat: {len(messages):,} messages ({counts})")
    for column in ("role", "name", "time", "text"):
        table.add_column(column, no_wrap=column != "text")
    for message in messages[-10:]:
        when = f"{message.timestamp:%Y-%m-%d %H:%M}" if message.timestamp else ""
        table.add_row(message.role, _short(message.name or "", 20), when, _short(message.content))
    return table


def _table(title: str) -> Table:
    return Table(title=_short(title), title_justify="left", box=None, padding=(0, 1))


def _short(text: str, length: int = SHORT) -> str:
    """The beginning of a text on one line, harmless to the terminal."""
    line = " ".join(text[: 4 * length].split())
    plain = "".join(c if c.isprintable() else "�" for c in line)
    return escape(plain if len(plain) <= length else plain[: length - 1] + "…")


if __name__ == "__main__":
    sys.exit(in_terminal(main))
