"""The vector cache: what it gives back, what it survives, and who may share it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import StoreError
from stores.sqlite_file import SqliteFile
from stores.vector_cache import BYTES_OF_ROW, VectorCache
from tests.stores.stores_workers import fill, ids, on_disk, unit, write_vectors

ROW = 4 * unit(1).shape[1] + BYTES_OF_ROW
Make = Callable[..., VectorCache]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes caches and closes them afterwards."""
    with ExitStack() as stack:
        yield lambda path, fingerprint="m", **options: stack.enter_context(
            closing(VectorCache(path, fingerprint, **options))
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "벡터" / "vectors.sqlite"  # a folder that is not there yet


def test_vectors_come_back_in_the_order_asked_for(path: Path, make: Make) -> None:
    vectors = unit(3)
    fill(path, ids("a", "b", "c"), vectors)
    for cache in (make(path), make(path, dimension=8)):
        for _ in ("from the disk", "from memory"):
            got, known = cache.get(ids("c", "없음", "a", "c"))
            assert known.tolist() == [True, False, True, True]
            assert np.array_equal(got, [vectors[2], np.zeros(8), vectors[0], vectors[2]])
            assert got.dtype == np.float32


def test_a_new_cache_knows_nothing_and_needs_no_file(path: Path, make: Make) -> None:
    got, known = make(path).get(ids("a", "b"))
    assert got.shape == (2, 0)
    assert not known.any()
    assert VectorCache(None, "m", dimension=8).get([])[0].shape == (0, 8)


def test_without_a_path_vectors_stay_in_memory(tmp_path: Path) -> None:
    cache = VectorCache(None, "m")
    cache.put(ids("a"), unit(1))
    assert cache.get(ids("a"))[1].all()
    assert not VectorCache(None, "m").get(ids("a"))[1].any()
    assert list(tmp_path.iterdir()) == []


def test_embedders_do_not_see_each_others_vectors(path: Path) -> None:
    fill(path, ids("a"), unit(1))
    assert not on_disk(path, ids("a"), "m/2").any()
    assert on_disk(path, ids("a")).all()


def test_the_caller_cannot_change_what_is_kept(path: Path, make: Make) -> None:
    cache, vectors = make(path), unit(1)
    cache.put(ids("a"), vectors)
    cache.get(ids("a"))[0][:] = 7
    vectors[:] = 7
    assert np.array_equal(cache.get(ids("a"))[0], unit(1))


def test_a_vector_of_another_dimension_is_refused_and_one_on_disk_unknown(
    path: Path, make: Make
) -> None:
    cache = make(path, dimension=8)
    with pytest.raises(StoreError, match=r"2 vectors of 8 numbers expected, got shape \(2, 4\)"):
        cache.put(ids("a", "b"), unit(2, dimension=4))
    with pytest.raises(StoreError):
        cache.put(ids("a", "b"), unit(1))
    fill(path, ids("a"), unit(1, dimension=4))
    assert not cache.get(ids("a"))[1].any()
    cache.put(ids("a"), unit(1))  # replaces it
    cache.flush()
    assert on_disk(path, ids("a")).all()


@pytest.mark.parametrize(
    "damage", [b"", b"short", b"\xff" * 32, np.full(8, np.inf, "<f4").tobytes(), bytes(32), None]
)
def test_a_damaged_row_is_unknown_and_the_others_are_not(
    path: Path, make: Make, damage: bytes | None
) -> None:
    fill(path, ids("a", "b"), unit(2))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE vectors SET vector = ? WHERE id = ?", (damage or "text", *ids("a")))
    db.close()
    got, known = make(path).get(ids("a", "b"))
    assert known.tolist() == [False, True]
    assert not got[0].any()


@pytest.mark.parametrize("damage", ["garbage", "truncated", "foreign", "other version"])
def test_an_unreadable_file_is_said_put_aside_and_started_anew(
    path: Path, make: Make, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, ids(*range(200)), unit(200, dimension=384))
    neighbour = path.parent / "chroma.sqlite3"
    neighbour.write_bytes(b"not ours")
    if damage == "garbage":
        path.write_bytes(os.urandom(50_000))
    elif damage == "truncated":
        os.truncate(path, 20_000)
    else:
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE vectors (other TEXT)")
            db.execute(f"PRAGMA user_version = {0 if damage == 'foreign' else 99}")
        db.close()
    broken = path.read_bytes()

    cache = make(path, dimension=384)
    assert not cache.get(ids(*range(200)))[1].any()
    cache.put(ids("new"), unit(1, dimension=384))
    cache.flush()
    assert on_disk(path, ids("new")).all()

    assert path.with_name("vectors.sqlite.unreadable").read_bytes() == broken
    assert neighbour.read_bytes() == b"not ours"
    (said,) = caplog.messages
    assert said == "vector cache: vectors.sqlite is unreadable and put aside; it starts anew"


def test_damage_inside_the_file_costs_the_file_and_no_call(path: Path, make: Make) -> None:
    fill(path, ids(*range(500)), unit(500, dimension=384))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    cache = make(path, dimension=384)
    cache.get(ids(*range(500)))
    cache.put(ids("new"), unit(1, dimension=384))
    cache.flush()
    assert on_disk(path, ids("new")).all()


def test_where_no_file_can_be_made_vectors_stay_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("a file where a folder should be", encoding="utf-8")
    cache = VectorCache(tmp_path / "file" / "vectors.sqlite", "m")
    for name in range(5):
        cache.put(ids(name), unit(1))
        cache.flush()
        assert cache.get(ids(name))[1].all()
    assert len(caplog.messages) == 1  # then it rests for a minute
    assert str(tmp_path) not in caplog.text


def test_a_full_disk_costs_a_warning_and_what_is_there_is_still_read(
    path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, ids("a"), unit(1))
    cache = make(path)
    assert cache._file is not None
    connection = cache._file._connected(cache._file._writing)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk answers: SQLITE_FULL
    names = ids(*range(3000))
    cache.put(names, unit(3000))
    cache.flush()
    assert "SQLITE_FULL" in caplog.text
    assert cache.get(names)[1].all()
    assert cache.get(ids("a"))[1].all()
    assert on_disk(path, [*ids("a"), *names]).sum() == 1


def test_a_file_that_may_not_be_written_is_read(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make(path)
    cache.put(ids("a"), unit(1))
    cache.close()
    # The tests may run as root, whom no file mode stops; so the answer of the system is given.
    monkeypatch.setattr(os, "access", lambda *args: False)
    cache = make(path)
    assert cache.get(ids("a"))[1].all()
    assert not caplog.messages
    cache.put(ids("b"), unit(1, seed=1))
    cache.flush()
    assert "cannot be written (SQLITE_READONLY)" in caplog.text
    assert cache.get(ids("a", "b"))[1].all()


def test_the_oldest_rows_are_dropped_from_the_disk(path: Path, make: Make) -> None:
    cache = make(path, disk_bytes=10 * ROW)
    for name in range(25):
        cache.put(ids(name), unit(1, seed=name))
    cache.flush()
    known = on_disk(path, ids(*range(25)))
    assert known.tolist() == [False] * 15 + [True] * 10


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 30), max_size=20)), max_size=30),
    st.integers(1, 12),
)
def test_memory_gives_the_right_vector_or_none(
    calls: list[tuple[bool, list[int]]], capacity: int
) -> None:
    right = unit(31)
    cache = VectorCache(None, "m", dimension=8, memory_bytes=capacity * ROW)
    for put, rows in calls:
        if put:
            cache.put(ids(*rows), right[rows])
            newest = list(dict.fromkeys(reversed(rows)))[: max(1, capacity // 2)]
            assert cache.get(ids(*newest[:1]))[1].all()
        got, known = cache.get(ids(*rows))
        assert np.array_equal(got[known], right[rows][known])
        assert not got[~known].any()


def test_what_was_used_last_stays_in_memory() -> None:
    cache = VectorCache(None, "m", memory_bytes=100 * ROW)
    for name in range(1000):
        cache.put(ids(name), unit(1, seed=name))
        assert cache.get(ids("kept" if name else "0"))[1].all() or name < 1
        if name == 0:
            cache.put(ids("kept"), unit(1))
    assert cache.get(ids(999, 950))[1].all()
    assert not cache.get(ids(100))[1].any()


def test_a_file_that_another_is_making_is_not_put_aside(tmp_path: Path) -> None:
    def first_write(path: Path, name: str) -> None:
        fill(path, [name], unit(1))

    with ThreadPoolExecutor(8) as together:
        for number in range(20):
            path = tmp_path / str(number) / "vectors.sqlite"
            list(together.map(first_write, [path] * 8, "abcdefgh"))
            assert VectorCache(path, "m").get(list("abcdefgh"))[1].all(), number


def test_processes_share_the_file(path: Path, make: Make) -> None:
    with get_context("spawn").Pool(4) as pool:
        counts = pool.starmap(write_vectors, [(path, worker, 40) for worker in range(4)])
    assert counts == [40] * 4
    every = ids(*(f"{worker}-{row}" for worker in range(4) for row in range(40)))
    got, known = make(path).get([*every, *ids(*(f"all-{r}" for r in range(40)))])
    assert known.all()
    assert np.allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_threads_share_the_cache(path: Path, make: Make) -> None:
    cache = make(path, memory_bytes=50 * ROW)
    barrier = threading.Barrier(8)

    def work(worker: int) -> bool:
        barrier.wait()
        for row in range(40):
            cache.put(ids(f"{worker}-{row}"), unit(1, seed=row))
            cache.flush()
            got, known = cache.get(ids(f"{worker}-{row}", f"{worker}-{row // 2}"))
            if not known.all() or not np.array_equal(got[0], unit(1, seed=row)[0]):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_two_processes_that_find_a_broken_file_do_not_put_the_new_one_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(os.urandom(50_000))
    with get_context("spawn").Pool(2) as pool:
        assert pool.starmap(write_vectors, [(path, worker, 20) for worker in range(2)]) == [20, 20]
    names = ids(*(f"{worker}-{row}" for worker in range(2) for row in range(20)))
    assert on_disk(path, names).mean() >= 0.9


def test_a_connection_is_not_shared_with_a_forked_child(path: Path) -> None:
    file = SqliteFile(path, "cache", 1, "CREATE TABLE IF NOT EXISTS rows (id TEXT)")
    file.write(lambda db: db.execute("INSERT INTO rows VALUES ('a')"), None)
    own = file._reading
    assert file.read(lambda db: db.execute("SELECT id FROM rows").fetchall(), []) == [("a",)]
    before = own.db
    own.opened = (os.getpid() - 1, own.opened[1])  # as a child sees its parent's
    assert file.read(lambda db: db.execute("SELECT id FROM rows").fetchall(), []) == [("a",)]
    assert own.db is not before
    assert before is not None
    before.close()
    file.close()


def test_what_a_store_has_is_kept_in_memory_only(path: Path, make: Make) -> None:
    cache = make(path)
    cache.put(ids("a"), unit(1), on_disk=False)
    assert cache.get(ids("a"))[1].all()
    cache.flush()
    assert not path.exists()


def test_ids_are_data_and_never_sql(path: Path, make: Make) -> None:
    cache = make(path)
    hostile = ["'; DROP TABLE vectors; --", '"]', "\\", "은빛숲길", "\ud800"]
    _, known = cache.get(hostile)
    assert not known.any()
    cache.put(hostile[:4], unit(4))
    cache.flush()
    assert on_disk(path, hostile[:4]).all()
