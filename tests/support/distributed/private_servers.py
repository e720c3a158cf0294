"""PostgreSQL, RabbitMQ and Redis of one test's own, to be killed and frozen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.distributed.site import Servers
from tests.support.servers.binaries import is_installed
from tests.support.servers.postgres_server import PostgresServer
from tests.support.servers.rabbit_server import RabbitServer
from tests.support.servers.redis_server import RedisServer
from tests.support.servers.server_process import ServerProcess
from tests.support.servers.session_servers import missing


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateServers:
    """All three run when the context of `private_servers` is entered."""

    postgres: PostgresServer
    rabbitmq: RabbitServer
    redis: RedisServer

    @property
    def servers(self) -> Servers:
        return Servers(postgres=self.postgres.url, rabbitmq=self.rabbitmq.url, redis=self.redis.url)

    def named(self, name: str) -> ServerProcess:
        found: ServerProcess = getattr(self, name)
        return found


@contextlib.asynccontextmanager
async def private_servers(folder: Path) -> AsyncIterator[PrivateServers]:
    """Started side by side; the test is skipped where one is not installed."""
    for name in ("postgres", "rabbitmq", "redis"):
        if not is_installed(name):
            missing(f"needs {name} on this machine, to kill it")
    private = PrivateServers(
        postgres=PostgresServer(folder / "postgres"),
        rabbitmq=RabbitServer(folder / "rabbitmq"),
        redis=RedisServer(folder / "redis"),
    )
    all_three = (private.postgres, private.rabbitmq, private.redis)
    try:
        await asyncio.gather(*(server.start() for server in all_three))
        yield private
    finally:
        await asyncio.gather(*(server.aclose() for server in all_three))
