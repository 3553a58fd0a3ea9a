"""SQLite files that cannot be read any more are put aside, so that new ones can be made."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

WRITTEN_WITH_IT = ("-wal", "-shm", "-journal")  # SQLite's companions of a database file


def inode(path: Path) -> int | None:
    """Which file the name stands for now; None where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def set_aside(path: Path, found: int | None) -> bool:
    """Renames an unreadable SQLite file to `<name>.unreadable`, in place of an older such file.

    Args:
        path: the file's name.
        found: the `inode` that was found unreadable; where the name stands for another file by
            now, another process has put it aside already, and nothing is done.

    Returns:
        Whether the file was renamed.
    """
    if found is None or inode(path) != found:
        return False
    for suffix in ("", *WRITTEN_WITH_IT):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(
                path.with_name(f"{path.name}.unreadable{suffix}")
            )
    return True


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even SQLite's own companions of the file."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False
    )
