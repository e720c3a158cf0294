"""Redis before the database: copies never older than allowed, epochs, foreign bytes, counters (R34, I6, D1)."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator

import orjson
import pytest
from backports import zstd
from redis.asyncio import Redis

from callboard.clock import ManualClock, SystemClock
from callboard.errors import InvalidInputError
from callboard.health import Degraded
from callboard.state.cache import COPY_SECONDS, Cache
from callboard.state.cache_floors import CacheFloors
from callboard.state.redis_cache import RedisCache
from tests.contract.caches import OpenCache, redis_at, shown
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with fresh_redis() as fresh:
        yield fresh


@pytest.fixture
async def another(url: str) -> AsyncIterator[OpenCache]:
    async with redis_at(url) as opened:
        yield opened


@pytest.fixture
async def cache(another: OpenCache) -> Cache:
    return await another()


@pytest.fixture
async def server(url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(url) as client:
        yield client


async def name_of(server: Redis, key: str) -> bytes:
    found: list[bytes] = [name async for name in server.scan_iter(match=f"*:{key}")]
    assert len(found) == 1, found
    return found[0]


def offer(cache: Cache, key: str, version: int, value: object, *, age: float = 0.0) -> None:
    cache.put_copy(key, version, lambda: orjson.dumps(value), seen_at=time.monotonic() - age)


async def test_one_process_reads_what_another_has_offered(another: OpenCache) -> None:
    first, second = await another(), await another()
    offer(first, "x", 1, {"a": [1]})
    await shown(second, "x", {"a": [1]})
    offer(second, "x", 2, "newer")
    await shown(first, "x", "newer")
    first.keep("y", lambda: orjson.dumps("for ever"))
    await wait_until(lambda: second.kept("y"), "the kept value is there")


async def test_a_newer_version_stays_whatever_comes_later(another: OpenCache) -> None:
    first, second = await another(), await another()
    offer(first, "x", 10, "ten")
    await shown(second, "x", "ten")
    third = await another()
    offer(third, "x", 9, "nine")
    offer(third, "z", 1, "written")
    await shown(second, "z", "written")
    assert await second.copy("x") == "ten"


async def test_I6_ones_own_copy_that_was_lost_on_its_way_still_rules_out_the_older_one(another: OpenCache) -> None:
    first, second = await another(), await another()
    offer(second, "x", 1, "old")
    await shown(first, "x", "old")
    offer(first, "x", 2, "new")
    assert isinstance(first, RedisCache)
    first._offers.clear()
    assert await first.copy("x") is None
    assert await second.copy("x") == "old"  # which may be half a minute old


async def test_a_copy_is_as_old_as_the_reading_of_the_database(another: OpenCache) -> None:
    """A process that was stopped between reading and offering brings nothing back."""
    first, second = await another(), await another()
    offer(first, "late", 1, "old", age=COPY_SECONDS + 1)
    offer(first, "soon", 1, "old", age=COPY_SECONDS - 0.4)
    offer(first, "young", 1, "new")
    await shown(second, "young", "new")
    assert await second.copy("late") is None

    async def gone() -> bool:
        return await second.copy("soon") is None

    await wait_until(gone, "the copy is too old")
    assert await second.copy("young") == "new"


async def test_every_key_says_whose_it_is_and_ends_by_itself(cache: Cache, server: Redis) -> None:
    offer(cache, "team:state:a", 1, "v")
    await shown(cache, "team:state:a", "v")
    remaining = await server.pttl(await name_of(server, "team:state:a"))
    assert 0 < remaining <= COPY_SECONDS * 1000


async def test_D1_foreign_bytes_and_wrong_types_are_nothing_and_are_written_over(cache: Cache, server: Redis) -> None:
    offer(cache, "x", 3, "good")
    await shown(cache, "x", "good")
    name = await name_of(server, "x")
    digits = b"%020d" % 3
    damaged = [b"", b"\xff\x00", digits, digits + b"Z\x28\xb5", digits + b'J{"a":', b"x" * 40, digits + b"Q123"]
    for version, bad in enumerate(damaged, start=4):
        await server.set(name, bad)
        assert await cache.copy("x") is None
        offer(cache, "x", version, version)
        await shown(cache, "x", version)
    await server.delete(name)
    await server.rpush(name, "a", "list")
    assert await cache.copy("x") is None
    offer(cache, "x", 50, "healed")
    await shown(cache, "x", "healed")
    assert await cache.ping() is None


async def test_D1_a_bomb_under_a_key_is_not_unpacked(cache: Cache, server: Redis) -> None:
    offer(cache, "x", 1, "good")
    await shown(cache, "x", "good")
    bomb = zstd.compress(b'"' + b"a" * (65 * 1024 * 1024) + b'"', level=1)
    await server.set(await name_of(server, "x"), b"%020dZ" % 1 + bomb)
    assert await cache.copy("x") is None


async def test_D1_after_a_flush_nothing_old_is_read_and_new_copies_are_kept(another: OpenCache, server: Redis) -> None:
    first, second = await another(), await another()
    offer(first, "x", 1, "before")
    await shown(second, "x", "before")
    await server.flushdb()
    assert await second.copy("x") is None
    assert await first.copy("x") is None

    async def kept_again() -> bool:
        offer(first, "x", 2, "after")
        return bool(await second.copy("x") == "after")

    await wait_until(kept_again, "both are in the same epoch again")
    assert await first.ping() is None


async def test_I6_what_was_cached_before_an_outage_is_never_read_after_it(another: OpenCache, server: Redis) -> None:
    first, second = await another(), await another()
    offer(first, "x", 1, "before")
    first.keep("y", lambda: orjson.dumps("before"))
    await shown(second, "x", "before")
    await wait_until(lambda: second.kept("y"), "kept")
    everything = {name: await server.dump(name) async for name in server.scan_iter() if b"epoch" not in name}
    assert isinstance(second, RedisCache)
    second._bypass("an outage of the network of one process")
    await wait_until(lambda: _in_use(second), "the cache is asked again")
    for name, dumped in everything.items():
        assert dumped is not None
        await server.restore(name, 0, dumped, replace=True)  # as a server that came back with its old data
    for cache in (second, first, await another()):
        assert await cache.copy("x") is None
        assert await cache.kept("y") is None


async def _in_use(cache: Cache) -> bool:
    return await cache.ping() is None


async def test_a_new_process_shares_what_the_others_have_cached(another: OpenCache) -> None:
    first = await another()
    offer(first, "x", 1, "warm")
    await shown(first, "x", "warm")
    assert await (await another()).copy("x") == "warm"


async def test_values_over_the_limit_are_not_cached_and_older_copies_are_gone(cache: Cache, server: Redis) -> None:
    offer(cache, "x", 1, "small")
    await shown(cache, "x", "small")
    offer(cache, "x", 2, secrets.token_urlsafe(8 * 1024 * 1024))
    assert await cache.copy("x") is None
    offer(cache, "other", 1, "v")
    await shown(cache, "other", "v")
    assert await server.strlen(await name_of(server, "x")) < 100


async def test_a_burst_of_offers_is_bounded_and_reads_go_on(cache: Cache) -> None:
    for n in range(12_000):
        offer(cache, f"k{n}", 1, n)
    assert await cache.copy("nothing") is None
    await shown(cache, "k17", 17)


async def test_the_clock_of_the_server_may_be_set(another: OpenCache) -> None:
    """What lies there could live too long: it begins anew."""
    cache = await another()
    assert isinstance(cache, RedisCache)
    offer(cache, "x", 1, "before")
    await shown(cache, "x", "before")
    cache._server_ahead -= 3600
    await wait_until(lambda: _empty(cache, "x"), "the next look at the clock has begun a new epoch")
    offer(cache, "x", 2, "after")
    await shown(cache, "x", "after")


async def _empty(cache: Cache, key: str) -> bool:
    return await cache.copy(key) is None and await cache.ping() is None


@pytest.mark.parametrize("url", ["http://localhost", "redis://localhost:port", "nonsense", "redis://:secret@h:1:2"])
def test_an_address_that_cannot_be_one_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidInputError, match="REDIS_URL") as refused:
        RedisCache(url, SystemClock())
    assert "secret" not in refused.value.message


async def test_a_cache_that_was_never_started_is_bypassed() -> None:
    cache = RedisCache("redis://127.0.0.1:1/0", SystemClock())
    assert await cache.copy("x") is None
    assert isinstance(await cache.ping(), Degraded)
    await cache.close()


async def test_more_writes_than_can_be_remembered_make_blind_for_as_long_as_a_copy_lives() -> None:
    clock = ManualClock()
    floors = CacheFloors(clock, seconds=30, limit=3)
    for key in "abc":
        assert floors.raise_to(key, 5)
    assert not floors.allows("a", 4)
    assert not floors.raise_to("a", 4)
    assert floors.allows("a", 5)
    floors.raise_to("d", 1)
    assert floors.blind
    assert not floors.allows("unknown", 1)
    await clock.advance(30)
    assert floors.allows("a", 1)
