"""A numbered database of its own for a test, in the shared Redis."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis

from tests.support.servers.session_servers import REDIS_URL, session_url

# Database 0 holds who has which number; a test that was killed gives its number back with the time.
_LEASE_SECONDS = 600


@contextlib.asynccontextmanager
async def fresh_redis() -> AsyncIterator[str]:
    """The URL of an empty database that no other test uses meanwhile. FLUSHALL would hit the neighbours: FLUSHDB."""
    url = session_url(REDIS_URL)
    async with Redis.from_url(url) as server:
        count = int((await server.config_get("databases"))["databases"] or 16)
        number = await _lease(server, count)
        own = urlunsplit(urlsplit(url)._replace(path=f"/{number}"))
        try:
            async with Redis.from_url(own) as database:
                await database.flushdb()
            yield own
        finally:
            await server.delete(f"taken:{number}")


async def _lease(server: Redis, count: int) -> int:
    first = await server.incr("next")
    for offset in range(count - 1):
        number = 1 + (first + offset) % (count - 1)
        if await server.set(f"taken:{number}", "1", nx=True, ex=_LEASE_SECONDS):
            return number
    raise AssertionError(f"all {count - 1} databases of the shared Redis are in use")
