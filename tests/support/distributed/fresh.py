"""Servers of a test's own on the session's servers: an empty database, virtual host and Redis."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.distributed.site import Servers


@contextlib.asynccontextmanager
async def fresh_servers() -> AsyncIterator[Servers]:
    """Dropped at the end."""
    base = os.environ.get("CALLBOARD_TEST_POSTGRES_URL")
    if base is None:
        pytest.skip("needs PostgreSQL, RabbitMQ and Redis: scripts/test brings them")
    name = "dt_" + os.urandom(4).hex()
    connection = await asyncpg.connect(base)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield Servers(
            postgres=base.rsplit("/", 1)[0] + "/" + name,
            rabbitmq=os.environ["CALLBOARD_TEST_RABBITMQ_URL"],
            redis=os.environ["CALLBOARD_TEST_REDIS_URL"],
        )
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
