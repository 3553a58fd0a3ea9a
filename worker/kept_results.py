"""Results on disk that could not be posted: a file each, which nobody else may read."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from schemas.base import digest

log = logging.getLogger(__name__)

SECONDS = 3600.0
"""Age at which a result is given up: whoever waited for it has done so, too."""

BYTES = 200_000_000
"""Of all results of an endpoint: twenty of the largest that a job can have."""


class Result(NamedTuple):
    """What a job is to end with.

    Attributes:
        worker: who took the job; the server wants to know.
        job: its id.
        body: what is posted.
    """

    worker: str
    job: str
    body: str


class KeptResults:
    """A folder of results, which workers of an endpoint may share. All methods block.

    A file's name tells when it was kept, and since when it is whose to post, in nanoseconds:
    `{kept}.{claimed}.{digest of the worker}.json`. So to rename it is to claim it, which one worker
    can.

    Args:
        folder: made when it is needed.
        worker: this worker's name.
        patience: seconds after which a result that another worker claimed is no more posted by it.
    """

    def __init__(self, folder: Path, worker: str, *, patience: float) -> None:
        self._folder, self._mine, self._patience = folder, digest(worker), patience

    def new_file(self) -> Path:
        """A name for a result of this worker."""
        return self._folder / self._name(kept=(now := time.time_ns()), claimed=now)

    def write(self, file: Path, result: Result) -> None:
        """Keeps a result, once.

        Raises:
            OSError: the disk does not take it.
        """
        if file.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        half = file.with_suffix(".half")
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(json.dumps(result._asdict()).encode("ascii"))
        half.replace(file)
        self._make_room()

    def take(self, underway: Container[Path]) -> Iterator[Path]:
        """The files that are this worker's to post, the oldest first: its own, and those whose
        worker has given up. Claimed anew, they are no other worker's for as long as one is patient.

        Args:
            underway: what this worker is posting already.
        """
        self._make_room()
        for file in self._files():
            kept, claimed, owner = _read(file)
            given_up = time.time_ns() - claimed > 1e9 * self._patience
            if file.suffix != ".json" or file in underway or not (owner == self._mine or given_up):
                continue
            with suppress(FileNotFoundError):  # another worker was faster
                name = self._name(kept=kept, claimed=max(time.time_ns(), claimed + 1))
                yield file.rename(file.with_name(name))

    def read(self, file: Path) -> Result | None:
        """What a file keeps; None where that is no result, or gone.

        Raises:
            OSError: the disk does not give it now.
        """
        try:
            return Result(**json.loads(file.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def delete(self, file: Path) -> None:
        """Lets go of a result; it need not be there."""
        file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.*"), key=_read)

    def _name(self, *, kept: int, claimed: int) -> str:
        return f"{kept}.{claimed}.{self._mine}.json"

    def _make_room(self) -> None:
        """Deletes what is too old, and the oldest of what is too much."""
        left = BYTES
        for file in reversed(self._files()):
            with suppress(FileNotFoundError):  # it was posted meanwhile
                left -= file.stat().st_size
                if left < 0 or time.time_ns() - _read(file)[0] > 1e9 * SECONDS:
                    file.unlink()
                    log.warning("a kept result is given up: it is too old, or there are too many")


def _read(file: Path) -> tuple[int, int, str]:
    """When a result was kept and claimed, and by whom, as its name has it; of a file that is none,
    zeros, so that it is the first to go."""
    kept, claimed, owner, *_ = [*file.name.split("."), "", ""]
    if not (kept.isdecimal() and claimed.isdecimal()):
        return 0, 0, ""
    return int(kept), int(claimed), owner
