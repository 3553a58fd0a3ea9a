"""The Chroma database: the traps that it is kept from, and what a broken one costs."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from graph.settings import ROOT
from schemas.errors import SettingsError, StoreError
from stores.chroma import SPACE, ChromaDatabase, Row
from stores.ledger import Ledger
from tests.stores.stores_workers import unit
from tests.support import free_port


def rows(*names: str, dimension: int = 8) -> list[Row]:
    vectors = unit(len(names), dimension)
    return [Row(name, {"n": row}, vectors[row]) for row, name in enumerate(names)]


def test_making_one_opens_nothing(folder: Path) -> None:
    ChromaDatabase(path=folder)
    ChromaDatabase(url="http://127.0.0.1:1")
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [{}, {"path": Path("x"), "url": "http://127.0.0.1:8000"}]
    + [{"url": url} for url in ("127.0.0.1:8000", "ftp://host", "http://", "http://host/path")],
)
def test_an_address_that_is_none_is_refused_at_once(arguments: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        ChromaDatabase(**arguments)  # type: ignore[arg-type]


def test_rows_come_back_as_they_were(database: ChromaDatabase) -> None:
    given = rows("a", "b", "c")
    database.write("chat-1", {"kind": "chat"}, given)
    got = database.fetch("chat-1", ["c", "없음", "a"])
    assert sorted(got.ids) == ["a", "c"]
    assert got.vectors is not None
    assert got.vectors.dtype == np.float32
    for id, data, vector in zip(got.ids, got.metadatas, got.vectors, strict=True):
        row = "abc".index(id)
        assert data == {"n": row}
        assert np.allclose(vector, given[row].vector, atol=1e-6)
    assert sorted(database.ids("chat-1")) == ["a", "b", "c"]


def test_what_does_not_exist_is_empty_and_no_error(database: ChromaDatabase) -> None:
    assert database.state("nothing") is None
    assert database.ids("nothing") == []
    assert database.fetch("nothing", ["a"]).ids == []
    assert database.drop("nothing") is False
    database.delete("nothing", ["a"])


def test_a_row_is_never_changed(database: ChromaDatabase) -> None:
    database.write("chat-1", {}, rows("a"))
    database.write("chat-1", {}, [Row("a", {"n": 7}, unit(1, seed=5)[0])])
    assert database.fetch("chat-1", ["a"]).metadatas == [{"n": 0}]


def test_every_write_gives_a_new_revision_and_reading_none(database: ChromaDatabase) -> None:
    database.write("chat-1", {"kind": "chat"}, rows("a"))
    first = database.state("chat-1")
    database.fetch("chat-1", ["a"])
    assert database.state("chat-1") == first
    database.write("chat-1", {}, rows("b"))
    second = database.state("chat-1")
    database.write("chat-1", {}, [], remove=["b", "never there"])
    third = database.state("chat-1")
    assert first and second and third
    assert first.uid == second.uid == third.uid
    assert len({first.revision, second.revision, third.revision}) == 3
    assert database.ids("chat-1") == ["a"]
    database.drop("chat-1")
    database.write("chat-1", {}, rows("a"))
    assert database.state("chat-1") != third


def test_the_space_is_cosine_and_no_embedding_model_is_attached(
    database: ChromaDatabase, folder: Path
) -> None:
    database.write("chat-1", {}, rows("a"))
    state = database.state("chat-1")
    assert state is not None
    assert state.space == SPACE
    database.close()

    import chromadb

    client = chromadb.PersistentClient(path=str(folder))
    collection = client.get_collection("chat-1", embedding_function=None)
    assert collection.configuration["embedding_function"] is None


def test_more_rows_than_chroma_takes_at_once(database: ChromaDatabase) -> None:
    names = [str(name) for name in range(6000)]
    database.write("story-1", {}, rows(*names, dimension=2))
    assert len(database.ids("story-1")) == 6000
    got = database.fetch("story-1", names)
    assert sorted(got.ids) == sorted(names)
    assert got.vectors is not None
    assert got.vectors.shape == (6000, 2)


def test_replacing_is_complete(database: ChromaDatabase) -> None:
    database.write("chat-1", {}, rows("a", "b", dimension=4))
    database.replace("chat-1", {}, rows("b", "c", dimension=8))
    got = database.fetch("chat-1", ["a", "b", "c"])
    assert sorted(got.ids) == ["b", "c"]
    assert got.vectors is not None
    assert got.vectors.shape == (2, 8)


def test_dropping_leaves_no_vectors_on_the_disk(database: ChromaDatabase, folder: Path) -> None:
    names = [str(name) for name in range(1500)]  # beyond 1,000 Chroma writes vectors to files
    database.write("chat-1", {}, rows(*names))
    database.write("chat-2", {}, rows(*names))
    before = [path for path in folder.iterdir() if path.is_dir()]
    assert database.drop("chat-1") is True
    after = [path for path in folder.iterdir() if path.is_dir()]
    assert (len(before), len(after)) == (2, 1)
    assert database.fetch("chat-2", names).vectors is not None


OTHER_PROCESS = """
import sys
from pathlib import Path
from stores.chroma import ChromaDatabase
from tests.stores.test_stores_chroma import rows
database = ChromaDatabase(path=Path(sys.argv[1]))
database.write("chat-1", {}, rows(*sys.argv[2:]))
"""


def test_what_another_process_wrote_into_the_folder_is_read(
    database: ChromaDatabase, folder: Path
) -> None:
    database.write("chat-1", {}, rows("a"))
    assert database.fetch("chat-1", ["a"]).vectors is not None
    command = [sys.executable, "-c", OTHER_PROCESS, str(folder), "b", "c"]
    subprocess.run(command, cwd=ROOT, check=True)
    # Chroma by itself answers "Error finding id": its open index lacks the others' vectors.
    got = database.fetch("chat-1", ["a", "b", "c"])
    assert sorted(got.ids) == ["a", "b", "c"]
    assert got.vectors is not None


def test_an_unreadable_folder_is_said_put_aside_and_started_anew(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for damage in (os.urandom(100_000), b"SQLite format 3\0" + os.urandom(5_000)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chroma.sqlite3").write_bytes(damage)
        (folder.parent / "vectors.sqlite").write_bytes(b"another store")
        caplog.clear()
        with closing(ChromaDatabase(path=folder)) as database:
            assert database.ids("chat-1") == []
            database.write("chat-1", {}, rows("a"))
            assert database.ids("chat-1") == ["a"]
        (said,) = caplog.messages
        assert said == "stores: chroma.sqlite3 is unreadable and put aside; it starts anew"
        assert (folder / "chroma.sqlite3.unreadable").read_bytes() == damage
        assert (folder.parent / "vectors.sqlite").read_bytes() == b"another store"


def test_a_folder_that_breaks_while_it_is_open_is_started_anew(
    database: ChromaDatabase, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.write("chat-1", {}, rows("a"))
    with closing(ChromaDatabase(path=folder)) as other:  # of the same process
        assert other.ids("chat-1") == ["a"]
        (folder / "chroma.sqlite3").write_bytes(os.urandom(300_000))
        assert database.ids("chat-1") == []
        database.write("chat-1", {}, rows("b"))
        assert database.ids("chat-1") == ["b"]
        assert other.ids("chat-1") == ["b"]
    assert "unreadable and put aside" in caplog.text


def test_a_folder_that_is_deleted_while_it_is_open_is_started_anew(
    database: ChromaDatabase, folder: Path
) -> None:
    database.write("chat-1", {}, rows("a"))
    shutil.rmtree(folder)
    database.write("chat-1", {}, rows("b"))
    assert database.ids("chat-1") == ["b"]


@pytest.mark.parametrize("damage", ["garbage", "emptied", "removed"])
def test_the_text_is_read_though_the_vectors_are_unreadable(folder: Path, damage: str) -> None:
    names = [str(name) for name in range(1200)]
    with closing(ChromaDatabase(path=folder)) as database:
        database.write("chat-1", {}, rows(*names))
        database.write("chat-2", {}, rows("a"))
    files = list(folder.glob("*/*"))
    assert files
    for path in files:
        if damage == "garbage":
            path.write_bytes(os.urandom(500))
        elif damage == "emptied":
            os.truncate(path, 0)
        else:
            path.unlink()
    with closing(ChromaDatabase(path=folder)) as database:
        got = database.fetch("chat-1", names)
        assert len(got.ids) == 1200
        assert got.vectors is None
        database.replace("chat-1", {}, rows(*names))
        got = database.fetch("chat-1", names)
        assert got.vectors is not None
        assert len(got.vectors) == 1200
        assert database.fetch("chat-2", ["a"]).vectors is not None


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line_without_the_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be opened") as raised:
        ChromaDatabase(path=tmp_path / "file" / "chroma").ids("chat-1")
    assert str(tmp_path) not in raised.value.message


def test_a_server_that_is_not_there_is_a_retryable_error() -> None:
    database = ChromaDatabase(url=f"http://127.0.0.1:{free_port()}")
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be reached") as raised:
            database.state("chat-1")
        assert raised.value.retryable


def test_a_server_that_never_answers_costs_the_timeout() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        database = ChromaDatabase(url=f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.3)
        started = time.monotonic()
        with pytest.raises(StoreError, match="cannot be reached"):
            database.state("chat-1")
        assert time.monotonic() - started < 3


def test_threads_share_the_database(database: ChromaDatabase) -> None:
    faults: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for row in range(5):
                database.write("chat-1", {}, rows(f"{worker}-{row}"))
                assert f"{worker}-{row}" in database.fetch("chat-1", [f"{worker}-{row}"]).ids
        except BaseException as fault:  # noqa: BLE001
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(database.ids("chat-1")) == 20


def test_a_ledger_keeps_one_number_a_name(database: ChromaDatabase) -> None:
    ledger = Ledger(database, "이름".encode().hex())
    assert ledger.numbers() == {}
    ledger.put("a", 2**62)
    ledger.put("b", 1)
    ledger.put("b", 2)
    assert ledger.numbers() == {"a": 2**62, "b": 2}
    ledger.remove(["a", "never there"])
    ledger.remove([])
    assert ledger.numbers() == {"b": 2}


def test_nothing_is_logged_in_a_usual_life(
    database: ChromaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    database.write("chat-1", {}, rows("a"))
    database.fetch("chat-1", ["a"])
    database.drop("chat-1")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
