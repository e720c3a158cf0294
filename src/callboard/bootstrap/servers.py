"""The adapters of the distributed form, chosen by the scheme of their addresses (DESIGN.md)."""

from __future__ import annotations

from collections.abc import Callable

from callboard.clock import Clock
from callboard.errors import InvalidInputError
from callboard.messaging.delivery import DeadLetterSink
from callboard.messaging.rabbitmq import RabbitEventBus
from callboard.settings import Settings, text_of
from callboard.state.cache import Cache, NoCache
from callboard.state.redis_cache import RedisCache
from callboard.state.sql.postgres import PostgresDatabase

POSTGRESQL = ("postgresql", "postgres")
RABBITMQ = ("amqp", "amqps")
REDIS = ("redis", "rediss")


def database_at(settings: Settings) -> PostgresDatabase:
    """Not yet started; InvalidInputError for an address of another kind."""
    url = _address(text_of(settings.database_url), "DATABASE_URL", POSTGRESQL)
    return PostgresDatabase(url, pool_size=settings.database_pool)


MakeBroker = Callable[[str, DeadLetterSink], RabbitEventBus]


def bus_at(settings: Settings, clock: Clock, *, name: str, keeps_topology: bool) -> MakeBroker:
    """`keeps_topology`: this process declares the queues and drains the dead letters. InvalidInputError for an address
    of another kind."""
    url = _address(text_of(settings.rabbitmq_url), "RABBITMQ_URL", RABBITMQ)

    def make(process_id: str, dead_letter: DeadLetterSink) -> RabbitEventBus:
        return RabbitEventBus(
            url,
            clock,
            process_id=process_id,
            name=name,
            dead_letter=dead_letter if keeps_topology else None,
            queue_type=settings.inbox_queue_type,
            max_deliveries=settings.max_deliveries,
            declares=keeps_topology,
        )

    return make


def cache_at(settings: Settings, clock: Clock) -> Cache:
    """None of its own where REDIS_URL is not set; InvalidInputError for an address of another kind."""
    if settings.redis_url is None:
        return NoCache()
    return RedisCache(_address(text_of(settings.redis_url), "REDIS_URL", REDIS), clock)


def _address(url: str | None, name: str, schemes: tuple[str, ...]) -> str:
    scheme, separator, _ = (url or "").partition("://")
    if url is None or scheme not in schemes:
        # Without a scheme it may be anything, a password among others.
        shown = "not set" if url is None else f"a {scheme[:20]!r} address" if separator else "no address"
        raise InvalidInputError(
            f"{name} is {shown}: a role of the distributed system needs {schemes[0]}://USER:PASSWORD@HOST/… "
            "(`callboard up` runs everything in one process, without servers)",
            code="server_address",
            field=name,
        )
    return url
