"""Servers of a test's own on the session's servers: a migrated database, a virtual host, a Redis database."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.support.distributed.site import Servers
from tests.support.servers.fresh_postgres import fresh_postgres
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.servers.fresh_vhost import fresh_vhost


@contextlib.asynccontextmanager
async def fresh_servers() -> AsyncIterator[Servers]:
    """Dropped at the end."""
    async with fresh_postgres() as postgres, fresh_vhost() as rabbitmq, fresh_redis() as redis:
        yield Servers(postgres=postgres, rabbitmq=rabbitmq, redis=redis)
