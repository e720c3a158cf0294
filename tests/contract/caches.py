"""The cache adapters that the contract suite runs over. Each opened cache is another process before the same server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType

from callboard.clock import SystemClock
from callboard.state.cache import Cache, NoCache
from callboard.state.redis_cache import RedisCache
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.waiting import wait_until

OpenCache = Callable[[], Awaitable[Cache]]


@contextlib.asynccontextmanager
async def without() -> AsyncIterator[OpenCache]:
    async def another() -> Cache:
        return NoCache()

    yield another


@contextlib.asynccontextmanager
async def redis() -> AsyncIterator[OpenCache]:
    async with fresh_redis() as url, redis_at(url) as another:
        yield another


@contextlib.asynccontextmanager
async def redis_at(url: str, *, probe_seconds: float = 0.05) -> AsyncIterator[OpenCache]:
    async with contextlib.AsyncExitStack() as opened:

        async def another() -> Cache:
            # What is offered while a busy machine takes longer than the product waits would be dropped.
            cache = RedisCache(url, SystemClock(), timeout_seconds=5.0, probe_seconds=probe_seconds, look_seconds=0.5)
            opened.push_async_callback(cache.close)
            await cache.start()
            return cache

        yield another


async def shown(cache: Cache, key: str, value: object) -> None:
    """What was offered is there soon."""

    async def there() -> bool:
        return bool(await cache.copy(key) == value)

    await wait_until(there, f"the copy {value!r} is in the cache")


CACHES: Mapping[str, Callable[[], AbstractAsyncContextManager[OpenCache]]] = MappingProxyType(
    {"none": without, "redis": redis}
)
