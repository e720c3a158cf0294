"""What every cache promises, the one that holds nothing included: it may know nothing, but never anything wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
import pytest

from callboard.state.cache import Cache, CacheCounts, cache_key
from tests.contract.caches import CACHES, OpenCache


@pytest.fixture(params=sorted(CACHES))
async def another(request: pytest.FixtureRequest) -> AsyncIterator[OpenCache]:
    async with CACHES[request.param]() as opened:
        yield opened


@pytest.fixture
async def cache(another: OpenCache) -> Cache:
    return await another()


async def test_nothing_is_known_that_nobody_offered(cache: Cache) -> None:
    assert await cache.copy("x") is None
    assert await cache.kept("x") is None
    assert await cache.ping() is None


async def test_a_read_gives_what_was_offered_or_nothing(cache: Cache) -> None:
    value = {"text": "Köln\u2028\x00", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}}
    cache.put_copy("x", 1, lambda: orjson.dumps(value), seen_at=time.monotonic())
    cache.keep("y", lambda: orjson.dumps(value))
    for _ in range(50):
        assert await cache.copy("x") in (None, value)
        assert await cache.kept("y") in (None, value)


async def test_after_ones_own_copy_nothing_older_is_read(cache: Cache) -> None:
    for version in range(1, 40):
        cache.put_copy("x", version, lambda version=version: orjson.dumps(version), seen_at=time.monotonic())  # type: ignore[misc]
        if version % 3:
            await asyncio.sleep(0)
        assert await cache.copy("x") in (None, version)


async def test_an_older_copy_that_comes_later_is_never_read(cache: Cache) -> None:
    cache.put_copy("x", 7, lambda: orjson.dumps("new"), seen_at=time.monotonic())
    cache.put_copy("x", 6, lambda: orjson.dumps("old"), seen_at=time.monotonic())
    for _ in range(20):
        assert await cache.copy("x") in (None, "new")


async def test_that_older_copies_are_out_of_date_can_be_said_without_a_new_one(cache: Cache) -> None:
    cache.put_copy("x", 1, lambda: orjson.dumps("old"), seen_at=time.monotonic())
    cache.put_copy("x", 2, None, seen_at=time.monotonic())
    for _ in range(20):
        assert await cache.copy("x") is None


def refused() -> bytes:
    raise ValueError("no JSON has a form for this")


async def test_a_value_that_cannot_be_made_or_read_is_not_there_and_nobody_hears_of_it(cache: Cache) -> None:
    for make in (refused, lambda: b"", lambda: b"{", lambda: b"\xff"):
        cache.put_copy("x", 1, make, seen_at=time.monotonic())
        cache.keep("y", make)
        for _ in range(10):
            assert await cache.copy("x") is None
            assert await cache.kept("y") is None
    assert await cache.ping() is None


async def test_reads_are_counted(cache: Cache) -> None:
    for _ in range(3):
        await cache.copy("x")
    counts = cache.counts()
    assert counts in (CacheCounts(misses=3), CacheCounts(bypasses=3))


async def test_a_closed_cache_knows_nothing_and_raises_nothing(cache: Cache) -> None:
    await cache.close()
    cache.put_copy("x", 1, lambda: orjson.dumps(1), seen_at=time.monotonic())
    cache.keep("y", lambda: orjson.dumps(1))
    assert await cache.copy("x") is None
    assert await cache.kept("y") is None
    await cache.close()


def test_keys_of_different_things_differ() -> None:
    things = [("t", "state", "a", "b"), ("t", "state", "a:b"), ("t:state", "a", "b"), ("t", "state", "a%3Ab")]
    assert len({cache_key(*thing) for thing in things}) == len(things)
    assert cache_key("team", "state", "ä/é", "c d").isascii()
