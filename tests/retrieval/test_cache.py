"""Indexes that are lent."""

import time
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from retrieval.index import Index, IndexCache, Passage

ONE = [Passage("a", "one"), Passage("b", "two")]


def lent(cache: IndexCache, key: Hashable) -> Index:
    """What the cache had for the key, which reads `ONE` now."""
    with cache.index(key) as index:
        index.update(ONE)
    return index


def test_an_index_is_kept_for_its_key() -> None:
    cache = IndexCache()
    first = lent(cache, "key")
    with cache.index("key") as again, cache.index("other") as other:
        assert again is first
        assert not other.passages


def test_two_borrowers_do_not_share() -> None:
    cache = IndexCache()
    lent(cache, "key")
    with cache.index("key") as first, cache.index("key") as second:
        assert first is not second


def test_the_second_borrower_waits_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.index.WAIT", 60)
    cache, has_it = IndexCache(), Event()

    def first() -> Index:
        with cache.index("key") as index:
            has_it.set()
            time.sleep(0.01)
        return index

    with ThreadPoolExecutor() as pool:
        lent_first = pool.submit(first)
        has_it.wait()
        again = lent(cache, "key")
        assert again is lent_first.result()


def test_what_a_block_left_by_an_exception_is_not_kept() -> None:
    cache = IndexCache()
    with pytest.raises(ValueError, match="half"), cache.index("key") as index:
        index.update(ONE[:1])
        raise ValueError("half")
    assert lent(cache, "key") is not index


def test_the_least_used_goes_and_the_forgotten_too() -> None:
    cache = IndexCache(capacity=2)
    kept = {key: lent(cache, key) for key in ("a", "b", "c")}
    cache.forget("c")
    assert lent(cache, "b") is kept["b"]
    assert lent(cache, "c") is not kept["c"]
    assert lent(cache, "a") is not kept["a"]


def test_large_indexes_drive_out_the_least_used() -> None:
    cache = IndexCache(max_bytes=5 * Index(ONE).bytes // 2)
    kept = {key: lent(cache, key) for key in ("a", "b", "c")}
    assert lent(cache, "b") is kept["b"]
    assert lent(cache, "c") is kept["c"]
    assert lent(cache, "a") is not kept["a"]
