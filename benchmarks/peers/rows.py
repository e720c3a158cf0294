# mypy: disable-error-code="import-not-found"
"""What a peer's table says of its runs: read the same way for every peer and for the product, by asyncpg."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg

POLL_SECONDS = 0.001


async def until(url: str, query: str, expected: int, within_seconds: float = 200.0) -> float:
    """The moment (perf_counter) at which the query, which counts ended runs, gave so many."""
    connection = await asyncpg.connect(url)
    deadline = time.monotonic() + within_seconds
    try:
        while await connection.fetchval(query) < expected:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fewer than {expected} ended after {within_seconds:g} s")
            await asyncio.sleep(0.01)
    finally:
        await connection.close()
    return time.perf_counter()


async def one_by_one(url: str, query: str, publish: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Seconds from before the publish to the row that says it ended, looked for by its id every millisecond."""
    connection = await asyncpg.connect(url)
    took: list[float] = []
    try:
        for _ in range(count):
            began = time.perf_counter()
            published = await publish()
            while not await connection.fetchval(query, published):  # noqa: ASYNC110  # another process does it
                await asyncio.sleep(POLL_SECONDS)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    return took


async def keep_in_flight(
    publish: Callable[[], Awaitable[object]], count: int, in_flight: int, done: Callable[[], int]
) -> None:
    """Publishes `count`, at most `in_flight` of which are not yet `done`, by as many tasks."""
    published = 0
    before = done()

    async def publisher() -> None:
        nonlocal published
        while published < count:
            published += 1
            number = published
            while number - (done() - before) > in_flight:  # noqa: ASYNC110  # another process does it
                await asyncio.sleep(0.001)
            await publish()

    await asyncio.gather(*(publisher() for _ in range(in_flight)))
