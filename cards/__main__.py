"""`python -m cards show|convert|validate FILE`: cards, lorebooks and chats from the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from cards.amount import amount
from cards.characters.card import Card
from cards.chats.chat import Chat
from cards.check import check, warnings_of
from cards.convert import OF_CARD, OF_LORE, convert
from cards.load import form_name, reading
from cards.lore.lorebook import Lorebook
from cards.lore.of_card import book_of
from cards.read import Thing
from cards.story import Story
from cards.tables import tables_of
from schemas.errors import IyagiError
from schemas.request import Persona
from schemas.terminal import in_terminal


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
        help="card.png, .json or .charx; book.json; chat.jsonl or .json",
    )
    convert.add_argument(
        "--to",
        choices=[*OF_CARD, *OF_LORE],
        help="version of the card (default: its own), or what lore becomes (default: a book "
        "becomes story events, these become World Info)",
    )
    convert.add_argument("--picture", type=Path, help="a PNG that shall carry the card")
    convert.add_argument("--force", action="store_true", help="overwrite a file that is there")
    return parse


def size_in_words(thing: Thing) -> str:
    """How much was read, in words."""
    match thing:
        case Card():
            entries = len(book_of(thing).entries)
            return f"{thing.name}" + f" with {amount(entries, 'entry', 'entries')} of lore" * bool(
                entries
            )
        case Persona():
            return thing.name
        case Lorebook():
            return amount(len(thing.entries), "entry", "entries")
        case Story(events=events):
            return amount(len(events), "event")
        case Chat(messages=messages, lines=lines):
            return f"{len(messages):,} of {amount(lines, 'message')}"


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 2 the file cannot be used."""
    args = parser().parse_args(argv)
    out = Console(highlight=False, soft_wrap=args.verb != "show")

    def warn(warnings: Sequence[str]) -> None:
        for warning in warnings:
            out.print(f"warning: {escape(warning)}")

    others = (args.out, args.picture or args.out) if args.verb == "convert" else ()
    who = {"user": args.user, "character": args.character}
    try:
        with reading(args.file, *others, **who) as thing:
            match args.verb:
                case "show":
                    warn(warnings_of(thing))
                    for table in tables_of(thing):
                        out.print(table)
                case "validate":
                    name, warnings = escape(args.file.name), check(thing)
                    warn(warnings)
                    out.print(f"{name}: {escape(form_name(thing))}, {escape(size_in_words(thing))}")
                    odd = f"; {amount(len(warnings), 'warning')}" if warnings else ""
                    out.print(f"{name} can be used{odd}")
                case _:
                    warn(warnings_of(thing))
                    kind = "version" if args.to in OF_CARD else "lore"
                    options = {"picture": args.picture, "force": args.force, kind: args.to}
                    warn(convert(thing, args.out, **options, **who))
                    out.print(f"wrote {escape(args.out.name)}: {args.out.stat().st_size:,} bytes")
    except IyagiError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(in_terminal(main))
