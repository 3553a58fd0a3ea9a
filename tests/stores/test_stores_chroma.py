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
from stores.chroma import ChromaDatabase
from stores.database import Row
from tests.stores.stores_workers import unit
from tests.support import free_port

LABEL = {"kind": "chat"}


def rows(*names: str, dimension: int = 8) -> list[Row]:
    vectors = unit(len(names), dimension)
    return [Row(name, {"n": row}, vectors[row], f"text {name}") for row, name in enumerate(names)]


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
    database.add("chat-1", LABEL, given)
    got = database.fetch("chat-1", ["c", "없음", "a"])
    found = {row.id: (row.page_content, row.metadata) for row in got}
    assert found == {"a": ("text a", {"n": 0}), "c": ("text c", {"n": 2})}
    vectors = database.vectors("chat-1", ["c", "없음", "a"])
    assert sorted(vectors) == ["text a", "text c"]
    assert np.allclose(vectors["text c"], given[2].vector, atol=1e-6)
    assert sorted(database.ids("chat-1")) == ["a", "b", "c"]


def test_what_does_not_exist_is_empty_and_no_error(database: ChromaDatabase) -> None:
    assert database.state("nothing") is None
    assert database.ids("nothing") == []
    assert database.fetch("nothing", ["a"]) == []
    assert database.nearest("nothing", unit(1)[0], 3) == []
    assert database.drop("nothing") is False
    database.delete("nothing", ["a"])


def test_a_row_is_never_changed(database: ChromaDatabase) -> None:
    database.add("chat-1", LABEL, rows("a"))
    database.add("chat-1", LABEL, [Row("a", {"n": 7}, unit(1, seed=5)[0], "other words")])
    [row] = database.fetch("chat-1", ["a"])
    assert (row.metadata, row.page_content) == ({"n": 0}, "text a")


def test_the_nearest_come_first_with_their_cosines_and_a_filter_is_kept(
    database: ChromaDatabase,
) -> None:
    given = rows(*"abcdef")
    database.add("chat-1", LABEL, given)
    cosines = {row.id: float(row.vector @ given[2].vector) for row in given}
    found = database.nearest("chat-1", given[2].vector, 4)
    assert [id for id, _ in found] == sorted(cosines, key=lambda id: -cosines[id])[:4]
    assert all(abs(cosine - cosines[id]) < 1e-3 for id, cosine in found)
    later = database.nearest("chat-1", given[2].vector, 9, {"n": {"$gte": 3}})
    assert sorted(id for id, _ in later) == ["d", "e", "f"]


def test_relabelling_gives_a_new_revision_and_reading_none(database: ChromaDatabase) -> None:
    database.add("chat-1", LABEL, rows("a"))
    first = database.state("chat-1")
    database.fetch("chat-1", ["a"])
    assert database.state("chat-1") == first
    database.add("chat-1", LABEL, rows("b"))
    database.relabel("chat-1", {"end": 2})
    second = database.state("chat-1")
    database.delete("chat-1", ["b", "never there"])
    database.relabel("chat-1", {})
    third = database.state("chat-1")
    assert first and second and third
    assert first.uid == second.uid == third.uid
    assert len({first.revision, second.revision, third.revision}) == 3
    assert third.label["kind"] == "chat" and third.label["end"] == 2
    assert database.ids("chat-1") == ["a"]
    database.drop("chat-1")
    database.add("chat-1", LABEL, rows("a"))
    assert database.state("chat-1") != third


def test_the_space_is_cosine_and_no_embedding_model_is_attached(
    database: ChromaDatabase, folder: Path
) -> None:
    database.add("chat-1", LABEL, rows("a"))
    database.close()

    import chromadb

    client = chromadb.PersistentClient(path=str(folder))
    collection = client.get_collection("chat-1", embedding_function=None)
    assert collection.configuration["embedding_function"] is None
    assert (collection.configuration["hnsw"] or {})["space"] == "cosine"


def test_more_rows_than_chroma_takes_at_once(database: ChromaDatabase) -> None:
    names = [str(name) for name in range(6000)]
    database.add("story-1", LABEL, rows(*names, dimension=2))
    assert len(database.ids("story-1")) == 6000
    assert {row.id for row in database.fetch("story-1", names)} == set(names)


def test_dropping_leaves_no_vectors_on_the_disk(database: ChromaDatabase, folder: Path) -> None:
    names = [str(name) for name in range(1500)]  # beyond 1,000 Chroma writes vectors to files
    database.add("chat-1", LABEL, rows(*names))
    database.add("chat-2", LABEL, rows(*names))
    before = [path for path in folder.iterdir() if path.is_dir()]
    assert database.drop("chat-1") is True
    after = [path for path in folder.iterdir() if path.is_dir()]
    assert (len(before), len(after)) == (2, 1)
    assert len(database.vectors("chat-2", names)) == 1500


OTHER_PROCESS = """
import sys
from pathlib import Path
from stores.chroma import ChromaDatabase
from tests.stores.test_stores_chroma import LABEL, rows
database = ChromaDatabase(path=Path(sys.argv[1]))
database.add("chat-1", LABEL, rows(*sys.argv[2:]))
"""


def test_what_another_process_wrote_into_the_folder_is_read(
    database: ChromaDatabase, folder: Path
) -> None:
    database.add("chat-1", LABEL, rows("a"))
    assert database.vectors("chat-1", ["a"])
    command = [sys.executable, "-c", OTHER_PROCESS, str(folder), "b", "c"]
    subprocess.run(command, cwd=ROOT, check=True)
    # Chroma by itself answers "Error finding id": its open index lacks the others' vectors.
    assert len(database.vectors("chat-1", ["a", "b", "c"])) == 3
    assert len(database.nearest("chat-1", unit(1)[0], 5)) == 3


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
            database.add("chat-1", LABEL, rows("a"))
            assert database.ids("chat-1") == ["a"]
        (said,) = caplog.messages
        assert said == "stores: chroma.sqlite3 is unreadable and put aside; it starts anew"
        assert (folder / "chroma.sqlite3.unreadable").read_bytes() == damage
        assert (folder.parent / "vectors.sqlite").read_bytes() == b"another store"


def test_a_folder_that_breaks_while_it_is_open_is_started_anew(
    database: ChromaDatabase, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.add("chat-1", LABEL, rows("a"))
    with closing(ChromaDatabase(path=folder)) as other:  # of the same process
        assert other.ids("chat-1") == ["a"]
        (folder / "chroma.sqlite3").write_bytes(os.urandom(300_000))
        assert database.ids("chat-1") == []
        database.add("chat-1", LABEL, rows("b"))
        assert database.ids("chat-1") == ["b"]
        assert other.ids("chat-1") == ["b"]
    assert "unreadable and put aside" in caplog.text


def test_a_folder_that_is_deleted_while_it_is_open_is_started_anew(
    database: ChromaDatabase, folder: Path
) -> None:
    database.add("chat-1", LABEL, rows("a"))
    shutil.rmtree(folder)
    database.add("chat-1", LABEL, rows("b"))
    assert database.ids("chat-1") == ["b"]


@pytest.mark.parametrize("damage", ["garbage", "emptied", "removed"])
def test_vectors_that_are_unreadable_are_made_again_from_the_text(
    folder: Path, damage: str
) -> None:
    given = rows(*map(str, range(1200)))
    vectors = {row.text: row.vector for row in given}
    with closing(ChromaDatabase(path=folder)) as database:
        database.add("chat-1", LABEL, given)
        database.add("chat-2", LABEL, rows("a"))
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
        assert database.repair("chat-1", lambda texts: np.stack([vectors[it] for it in texts]))
        assert len(database.fetch("chat-1", [row.id for row in given])) == 1200
        [(nearest, cosine)] = database.nearest("chat-1", given[7].vector, 1)
        assert nearest == "7" and cosine > 0.99
        assert database.vectors("chat-2", ["a"])


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line_without_the_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be opened") as raised:
        ChromaDatabase(path=tmp_path / "file" / "chroma").ids("chat-1")
    assert str(tmp_path) not in raised.value.message


def test_a_server_that_is_not_there_is_a_retryable_error() -> None:
    database = ChromaDatabase(url=f"http://127.0.0.1:{free_port()}")
    for told in ("cannot be reached", "rests; it is tried again in 5 s"):
        with pytest.raises(StoreError, match=told) as raised:
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
                database.add("chat-1", LABEL, rows(f"{worker}-{row}"))
                assert database.fetch("chat-1", [f"{worker}-{row}"])
        except BaseException as fault:  # noqa: BLE001
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(database.ids("chat-1")) == 20


def test_nothing_is_logged_in_a_usual_life(
    database: ChromaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    database.add("chat-1", LABEL, rows("a"))
    database.fetch("chat-1", ["a"])
    database.drop("chat-1")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_it_works_without_the_client_of_kubernetes(tmp_path: Path) -> None:
    """The package asks for it, and the lock files leave it out (`pyproject.toml`)."""
    code = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "import chromadb\n"
        f"kept = chromadb.PersistentClient({str(tmp_path)!r}).create_collection('vectors')\n"
        "kept.add(ids=['a', 'b'], embeddings=[[1.0, 0.0], [0.0, 1.0]])\n"
        "assert kept.query(query_embeddings=[[0.9, 0.1]], n_results=1)['ids'] == [['a']]\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
