"""Whether the servers that the settings name can be reached from here: for `callboard doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from callboard.bootstrap.servers import POSTGRESQL, bus_at, cache_at, database_at
from callboard.clock import SystemClock
from callboard.errors import CallboardError, UnavailableError
from callboard.health import Degraded
from callboard.logs import LogSettings, configure
from callboard.messaging.delivery import Undeliverable
from callboard.settings import Settings, text_of

PATIENCE_SECONDS = 3.0
PAUSE_SECONDS = 0.1

Reached = tuple[str, str | None]
"""A server's name, and why it cannot be reached; None when it can."""


def reach_servers(settings: Settings) -> list[Reached]:
    """Tries each server that is set, all at once; embedded systems have none."""
    # What the drivers have to say on their way is summed up in the answer.
    with configure(LogSettings(level="CRITICAL", library_level="CRITICAL")):
        return asyncio.run(_reach(settings))


async def _reach(settings: Settings) -> list[Reached]:
    tries: list[tuple[str, Callable[[], Awaitable[None]]]] = []
    if (text_of(settings.database_url) or "").partition("://")[0] in POSTGRESQL:
        tries.append(("PostgreSQL (DATABASE_URL)", lambda: _reach_database(settings)))
    if settings.rabbitmq_url is not None:
        tries.append(("RabbitMQ (RABBITMQ_URL)", lambda: _reach_broker(settings)))
    if settings.redis_url is not None:
        tries.append(("Redis (REDIS_URL)", lambda: _reach_cache(settings)))
    problems = await asyncio.gather(*(_problem(attempt) for _, attempt in tries))
    return [(name, problem) for (name, _), problem in zip(tries, problems, strict=True)]


async def _problem(attempt: Callable[[], Awaitable[None]]) -> str | None:
    try:
        await attempt()
    except CallboardError as error:
        return error.message
    return None


async def _reach_database(settings: Settings) -> None:
    database = database_at(settings)
    await database.start()
    try:
        await _patiently(database.ping)
    finally:
        await database.close()


async def _reach_broker(settings: Settings) -> None:
    make = bus_at(settings, SystemClock(), name="doctor", keeps_topology=False)
    bus = make("doctor", _no_letters)
    await bus.start()
    try:
        await _patiently(bus.ping)
    finally:
        await bus.close()


async def _reach_cache(settings: Settings) -> None:
    cache = cache_at(settings, SystemClock())
    await cache.start()
    try:
        found = await cache.ping()
    finally:
        await cache.close()
    if isinstance(found, Degraded):
        raise UnavailableError(found.reason)


async def _patiently(ping: Callable[[], Awaitable[None]]) -> None:
    """A connection that is just being made is given a moment."""
    clock = SystemClock()
    until = clock.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            await ping()
        except UnavailableError:
            if clock.monotonic() > until:
                raise
            await clock.sleep(PAUSE_SECONDS)
        else:
            return


async def _no_letters(letter: Undeliverable) -> None:
    raise UnavailableError(f"the doctor keeps no dead letter of {letter.queue}")
