"""What a test may rely on when it takes a part of the shared servers: it is empty, its own, and gone afterwards."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg
import httpx2
import pytest
from redis.asyncio import Redis

from tests.support.servers.fresh_postgres import empty_postgres, fresh_postgres
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.servers.fresh_vhost import fresh_vhost
from tests.support.servers.rabbit_management import RabbitManagement
from tests.support.servers.session_servers import RABBITMQ_MANAGEMENT_URL, RABBITMQ_URL, session_url


async def test_a_fresh_postgres_has_every_table_and_no_row_of_a_neighbour() -> None:
    async with fresh_postgres() as one, fresh_postgres() as other:
        assert one != other
        for url in (one, other):
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
            await connection.execute("CREATE TABLE mine (n int)")
            await connection.close()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(one)


async def test_an_empty_postgres_has_no_table() -> None:
    async with empty_postgres() as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await connection.close()


async def test_tests_side_by_side_have_a_redis_each() -> None:
    async with (
        fresh_redis() as one,
        fresh_redis() as other,
        Redis.from_url(one) as mine,
        Redis.from_url(other) as yours,
    ):
        await mine.set("key", "value")
        assert await yours.dbsize() == 0
    async with Redis.from_url(one) as client:
        await client.flushdb()


async def test_a_fresh_vhost_is_empty_and_gone_afterwards() -> None:
    management = RabbitManagement(session_url(RABBITMQ_MANAGEMENT_URL))
    async with fresh_vhost() as url:
        name = urlsplit(url).path[1:]
        assert urlsplit(url).netloc == urlsplit(session_url(RABBITMQ_URL)).netloc
        assert await management.queues(name) == []
    with pytest.raises(httpx2.HTTPStatusError):
        await management.queues(name)


async def test_without_a_server_a_person_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RABBITMQ_URL, raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="scripts/servers"):
        session_url(RABBITMQ_URL)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="scripts/servers"):
        session_url(RABBITMQ_URL)


async def test_many_at_once_do_not_meet() -> None:
    async def take() -> str:
        async with fresh_redis() as url:
            await asyncio.sleep(0)
            return url

    assert len(await asyncio.gather(*(take() for _ in range(8)))) == 8
