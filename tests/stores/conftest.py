"""An embedded Chroma database per test, on a disk of memory where there is one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stores.chroma import ChromaDatabase

MEMORY_DISK = Path("/dev/shm")  # Chroma commits several times a write; here no disk is waited for


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the database is to be; it is not there yet."""
    quick = MEMORY_DISK if os.access(MEMORY_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=quick) as place:
        yield Path(place) / "색인" / "chroma"


@pytest.fixture
def database(folder: Path) -> Iterator[ChromaDatabase]:
    """An empty database."""
    with closing(ChromaDatabase(path=folder)) as opened:
        yield opened
