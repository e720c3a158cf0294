"""PostgreSQL, RabbitMQ and Redis of the benchmark's own, as they come: durable, and with all of the machine's cores."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests.support.servers.postgres_server import PostgresServer
from tests.support.servers.rabbit_management import RabbitManagement
from tests.support.servers.rabbit_server import RabbitServer
from tests.support.servers.redis_server import RedisServer

MAX_CONNECTIONS = 400


class _Broker(RabbitServer):
    def _environment(self) -> dict[str, str]:
        """Without what makes a test's broker small."""
        given = super()._environment()
        given["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-kernel inet_dist_use_interface {127,0,0,1}"
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where they are; a round gets an empty database and virtual host, and the ones before it are dropped."""

    postgres_url: str
    rabbitmq_url: str
    management_url: str
    redis_url: str
    _used: list[tuple[str, str]] = field(default_factory=list)

    def fresh(self) -> dict[str, str]:
        """`database_url`, `rabbitmq_url` and `redis_url` of empty places. Not to be called in an event loop."""
        return asyncio.run(self._fresh())

    async def _fresh(self) -> dict[str, str]:
        name = f"benchmark_{secrets.token_hex(6)}"
        management = RabbitManagement(self.management_url)
        connection = await asyncpg.connect(self.postgres_url)
        try:
            for old, number in self._used:
                await connection.execute(f'DROP DATABASE IF EXISTS "{old}" WITH (FORCE)')
                await management.drop_vhost(number)
            self._used[:] = [(name, name)]
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        await management.add_vhost(name)
        return {
            "database_url": _at(self.postgres_url, name),
            "rabbitmq_url": _at(self.rabbitmq_url, name),
            "redis_url": self.redis_url,
        }


@contextlib.asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """Starts the three, and ends them."""
    print("starting PostgreSQL, RabbitMQ and Redis", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="callboard-benchmark-") as name:
        folder = Path(name)
        async with (
            PostgresServer(folder / "postgres", max_connections=MAX_CONNECTIONS) as postgres,
            RedisServer(folder / "redis") as redis,
            _Broker(folder / "rabbitmq") as rabbit,
        ):
            yield Servers(
                postgres_url=postgres.url,
                rabbitmq_url=rabbit.url,
                management_url=rabbit.management_url,
                redis_url=redis.url,
            )


def _at(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
