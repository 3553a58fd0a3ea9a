"""Choose the language model that runs on this machine, and fetch it: `make model`.

`python -m scripts.model NAME` takes the one of that name; without a name it asks. The choice goes
into `.env`, where other lines stay as they are.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cards.files import write_file
from graph.settings import ROOT, load_index_dir
from llm.gguf import fetch_whole, free_memory, source
from llm.llamacpp import runtime
from llm.presets import in_process
from schemas.errors import IyagiError, SettingsError
from schemas.terminal import in_terminal

OF_ANOTHER = ("IYAGI_LLM_PATH", "IYAGI_LLM_FORMAT", "IYAGI_LLM_CONTEXT", "IYAGI_LLM_TOKENIZER")
"""What an earlier choice may have set, and would be wrong of the new one."""

_LINE = re.compile(r"\s{0,99}(export\s{1,9})?(\w{1,99})\s{0,99}=", re.ASCII)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m scripts.model",
        description="Choose a model to run on this machine, fetch it, and write it into .env.",
        allow_abbrev=False,
    )
    parse.add_argument(
        "model", nargs="?", help=f"{', '.join(in_process())}, or org/repository:file.gguf of a hub"
    )
    return parse


def table(free: int | None) -> Table:
    """The models to choose among, small ones first; marked where memory is too short for one."""
    shown = Table(box=None, padding=(0, 1))
    for column in ("", "model", "download", "memory", "languages", "licence", "good for"):
        shown.add_column(column, no_wrap=column not in ("good for", "licence"))
    for number, (name, row) in enumerate(in_process().items(), 1):
        short = free is not None and row.memory_gb * 1e9 > free
        memory = f"{row.memory_gb:.1f} GB" + (" (!)" if short else "")
        shown.add_row(
            str(number), name, f"{row.file_gb:.1f} GB", memory,
            " ".join(row.languages), row.licence, row.use,
        )  # fmt: skip
    return shown


def ask(console: Console) -> str | None:
    """The name that somebody at the terminal chooses; None where nobody does."""
    free = free_memory()
    console.print(table(free))
    if free is not None:
        console.print(f"\n{free / 1e9:.1f} GB of memory are free; (!) needs more.")
    if not sys.stdin.isatty():
        return None
    try:
        answer = input("Which one (number or name; empty: none)? ").strip()
    except EOFError:
        return None
    names = list(in_process())
    if answer.isdecimal() and 1 <= int(answer) <= len(names):
        return names[int(answer) - 1]
    return answer or None


def changed(text: str, values: Mapping[str, str]) -> str:
    """The text of an `.env` file with these variables set; lines that `OF_ANOTHER` names become
    comments, all others stay."""
    lines = text.split("\n")  # no other mark ends a line of such a file
    if last := lines.pop():
        lines.append(last)
    end = "\r" if lines and lines[0].endswith("\r") else ""
    kept, left = [], dict(values)
    for line in lines:
        match = _LINE.match(line)
        name = match[2].upper() if match else ""
        if match and name in left:
            kept.append(f"{match[1] or ''}{name}={left.pop(name)}{end}")
        elif name in values:  # set twice: the last would win
            continue
        else:
            kept.append(f"# {line}" if name in OF_ANOTHER else line)
    kept += [f"{name}={value}{end}" for name, value in left.items()]
    return "\n".join(kept) + "\n"


def env_file() -> Path:
    """The file that the choice goes into. Raises SettingsError where there is to be none."""
    named = os.environ.get("IYAGI_ENV_FILE")
    if named == "":
        raise SettingsError("IYAGI_ENV_FILE is empty: name the file for the choice, or unset it")
    return Path(named or ROOT / ".env")


def read_env(file: Path) -> str:
    """The text of the file that will be written, empty where there is none.

    Raises:
        SettingsError: it cannot be read or written.
    """
    try:
        with file.open("r+b") as opened:  # for writing, too: what cannot be is told now
            return opened.read().decode()
    except FileNotFoundError:
        if os.access(file.parent, os.W_OK):
            return ""
        raise SettingsError(f"{file.name} cannot be written: no such folder") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file.name} is not UTF-8; save it as such") from None
    except OSError as error:
        raise SettingsError(f"{file.name} cannot be written: {error.strerror}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """0 chosen, 1 the model cannot be had, 2 nothing was chosen or the choice is at fault."""
    args = parser().parse_args(argv)
    console = Console(highlight=False)
    try:
        runtime()
        folder = load_index_dir() / "models"  # other settings may be what this is to mend
        name = args.model or ask(console)
        if not name:
            console.print("Nothing was chosen. Without a terminal: make model MODEL=name")
            return 2
        source(name)
        file = env_file()
        before = read_env(file)
        fetch_whole(name, folder)
    except IyagiError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2 if error.code == "settings" else 1
    values = {"IYAGI_LLM": "llamacpp", "IYAGI_LLM_MODELS": name}
    write_file(file, changed(before, values).encode(), force=True)
    console.print(f"{name} answers from now on, by {file.name}. Try: make run, or make play")
    if stronger := [each for each in (*values, *OF_ANOTHER) if each in os.environ]:
        console.print(f"But {' and '.join(stronger)} in the environment wins: unset it.")
    return 0


if __name__ == "__main__":
    sys.exit(in_terminal(main))
