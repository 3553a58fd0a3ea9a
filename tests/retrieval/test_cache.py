"""Indexes that are lent."""

from retrieval.cache import IndexCache
from retrieval.hybrid import Passage

ONE = [Passage("a", "one"), Passage("b", "two")]


def test_an_index_is_kept_and_extended() -> None:
    cache = IndexCache()
    with cache.index("key", ONE) as first:
        pass
    with cache.index("key", [*ONE, Passage("c", "three")]) as second:
        assert second is first
        assert len(second) == 3


def test_a_wrong_key_leaks_nothing() -> None:
    cache = IndexCache()
    with cache.index("key", ONE):
        pass
    with cache.index("key", [Passage("z", "other")]) as index:
        assert [passage.id for passage in index.passages] == ["z"]
        assert index.parts == ["other"]


def test_two_borrowers_do_not_share() -> None:
    cache = IndexCache()
    with cache.index("key", ONE) as first, cache.index("key", ONE) as second:
        assert first is not second


def test_the_least_used_goes_and_the_forgotten_too() -> None:
    cache = IndexCache(capacity=2)
    kept = {}
    for key in ("a", "b", "c"):
        with cache.index(key, ONE) as kept[key]:
            pass
    cache.forget("c")
    with cache.index("a", ONE) as a, cache.index("b", ONE) as b, cache.index("c", ONE) as c:
        assert a is not kept["a"]
        assert b is kept["b"]
        assert c is not kept["c"]


def test_many_parts_drive_out_the_least_used() -> None:
    cache = IndexCache(max_parts=5)
    kept = {}
    for key in ("a", "b", "c"):  # two parts each
        with cache.index(key, ONE) as kept[key]:
            pass
    with cache.index("b", ONE) as b, cache.index("c", ONE) as c, cache.index("a", ONE) as a:
        assert a is not kept["a"]
        assert b is kept["b"]
        assert c is kept["c"]
