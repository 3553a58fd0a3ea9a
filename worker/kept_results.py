"""Results on disk that could not be posted: a file each, which nobody else may read."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
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

    A file's name tells when and whose: `{nanoseconds}.{digest of the worker}.json`.

    Args:
        folder: made when it is needed.
        worker: this worker's name.
        patience: seconds after which a result of another worker is no more posted by that one.
    """

    def __init__(self, folder: Path, worker: str, *, patience: float) -> None:
        self._folder, self._mine, self._patience = folder, digest(worker), patience

    def new_file(self) -> Path:
        """A name for a result of this worker."""
        return self._folder / f"{time.time_ns()}.{self._mine}.json"

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

    def take(self) -> Iterator[Path]:
        """The files that are this worker's to post, the oldest first: its own, and those whose
        worker has given up, which no other worker gets from now on."""
        self._make_room()
        for file in self._files():
            _, owner, kind = file.name.split(".")
            is_mine = owner == self._mine
            if kind == "json" and (is_mine or time.time() - _written(file) > self._patience):
                with suppress(FileNotFoundError):  # another worker was faster
                    yield file.rename(file.with_name(file.name.replace(owner, self._mine)))

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
        return sorted(self._folder.glob("*.*.*"), key=_written)

    def _make_room(self) -> None:
        """Deletes what is too old, and the oldest of what is too much."""
        left = BYTES
        for file in reversed(self._files()):
            with suppress(FileNotFoundError):  # it was posted meanwhile
                left -= file.stat().st_size
                if left < 0 or time.time() - _written(file) > SECONDS:
                    file.unlink()
                    log.warning("a kept result is given up: it is too old, or there are too many")


def _written(file: Path) -> float:
    """When a result was kept, in seconds, as its name has it."""
    digits = file.name.partition(".")[0]
    return int(digits) / 1e9 if digits.isdecimal() else 0.0
