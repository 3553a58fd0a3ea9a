"""What every command of the terminal does with its streams, whatever they are."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable


def in_terminal(run: Callable[[], int | None]) -> int:
    """Runs a command that prints.

    What a stream's encoding lacks is written, and read, as an escape (`\\uac00`). A reader that has
    gone, as after `| head`, ends the command quietly.

    Returns:
        Its exit code; 1 where the reader has gone or the disk is full, 130 after Ctrl-C.
    """
    _prepare()
    try:
        try:
            return run() or 0
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is unsent
        if error.errno == errno.ENOSPC:
            sys.stderr.write("error: the output cannot be written: the disk is full\n")
        return 1


def _prepare() -> None:
    """Streams that take every text; one that is closed becomes one that nobody reads."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
