"""Redis that is killed, frozen, emptied, full, read-only, slow or foreign: nobody notices but the health page (D1).

Every trial saves and loads all the while: no error, no lost update, nothing older than one's own save, and no call that
takes longer than its limit by the clock of a bystander. The limit here is generous: the machine is shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from callboard.clock import SystemClock
from callboard.health import Degraded
from callboard.state.agent_state import StateSave
from callboard.state.redis_cache import RedisCache
from callboard.state.state_manager import StateManager
from callboard.state.store import Store
from tests.support.servers.ports import free_port
from tests.support.servers.redis_server import RedisServer
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import Announced
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
TIMEOUT_SECONDS = 0.2


class Life:
    """One process that goes on saving and showing a state."""

    def __init__(self, states: StateManager, cache: RedisCache) -> None:
        self.states = states
        self.cache = cache
        self.version = 0
        self.asked = 0

    async def goes_on(self, rounds: int = 10) -> None:
        for _ in range(rounds):
            shown = await self.states.load_state("echo", "1", display=True)
            assert shown.version == self.version
            state = await self.states.load_state("echo", "1")
            assert state.version == self.version
            self.version = await self.states.save_state(
                StateSave(
                    agent="echo",
                    conversation_id="1",
                    expected=state.version,
                    memory={"n": state.version + 1},
                    appended=(),
                    turns=state.turns + 1,
                    before=state,
                )
            )

    async def is_degraded(self, *reasons: str) -> None:
        async def degraded() -> bool:
            await self.goes_on(1)
            found = await self.cache.ping()
            return isinstance(found, Degraded) and any(reason in found.reason for reason in reasons)

        await wait_until(degraded, f"health says why: {reasons}")

    async def is_served_again(self) -> None:
        async def hit() -> bool:
            before = self.cache.counts().hits
            await self.goes_on(1)
            await self.states.load_state("echo", "1", display=True)
            return await self.cache.ping() is None and self.cache.counts().hits > before

        await wait_until(hit, "the cache is of use again")


@contextlib.asynccontextmanager
async def life_with(url: str, folder: Path) -> AsyncIterator[Life]:
    clock = SystemClock()
    cache = RedisCache(url, clock, timeout_seconds=TIMEOUT_SECONDS, probe_seconds=0.1, look_seconds=0.5)
    async with open_sqlite(folder) as database:
        await cache.start()
        try:
            yield Life(StateManager(database, Store(database, Announced(), clock), clock, cache), cache)
        finally:
            await cache.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "redis") as started:
        yield started


@pytest.fixture
async def life(server: RedisServer, tmp_path: Path) -> AsyncIterator[Life]:
    async with life_with(server.url, tmp_path) as living:
        await living.is_served_again()
        yield living


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        yield client


async def command(admin: Redis, *words: str) -> None:
    await admin.execute_command(*words)  # type: ignore[no-untyped-call]


async def test_D1_killed_and_started_again(life: Life, server: RedisServer) -> None:
    await server.kill()
    await life.is_degraded("cannot be reached")
    await life.goes_on(30)
    await server.start()
    await life.is_served_again()


async def test_D1_stopped_in_good_order_and_started_again(life: Life, server: RedisServer) -> None:
    await server.restart()
    await life.is_served_again()


async def test_D1_back_with_what_it_had_before(tmp_path: Path) -> None:
    """A server that keeps its data comes back with copies from before the outage: nobody reads them."""
    server = RedisServer(tmp_path / "redis", persistent=True)
    async with server, life_with(server.url, tmp_path) as life:
        await life.is_served_again()
        life.cache.keep("y", lambda: b'"before"')
        await wait_until(lambda: life.cache.kept("y"), "kept")
        await server.stop()
        await life.is_degraded("cannot be reached")
        await server.start()
        await life.is_served_again()
        assert await life.cache.kept("y") is None


async def test_D1_frozen_and_awake_again(life: Life, server: RedisServer) -> None:
    server.pause()
    try:
        await life.is_degraded("no answer within")
        await life.goes_on(30)
    finally:
        server.resume()
    await life.is_served_again()


async def test_D1_frozen_each_call_is_over_in_time(life: Life, server: RedisServer) -> None:
    """Judged by a loop that goes on turning beside them: a call gives up when its own limit is over, not later."""
    server.pause()
    try:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await SystemClock().sleep(TIMEOUT_SECONDS / 4)
                turns += 1

        beside = asyncio.create_task(others())
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: life.cache.copy("a"),
            lambda: life.cache.kept("a"),
            life.cache.ping,
        ]
        for call in calls:
            before = turns
            await asyncio.gather(*(call() for _ in range(20)))
            assert turns - before <= 8  # the others would have turned four times within the limit
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
    finally:
        server.resume()


async def test_D1_emptied_under_way(life: Life, admin: Redis) -> None:
    for _ in range(5):
        await admin.flushall()
        await life.goes_on(5)
    await life.is_served_again()


async def test_D1_full_without_eviction(life: Life, admin: Redis) -> None:
    await admin.config_set("maxmemory-policy", "noeviction")
    await admin.config_set("maxmemory", "1")
    await life.is_degraded("OOM", "used memory")
    await life.goes_on(20)
    await admin.config_set("maxmemory", "0")
    await life.is_served_again()


async def test_D1_read_only(life: Life, admin: Redis) -> None:
    await command(admin, "REPLICAOF", "127.0.0.1", str(free_port()))
    await life.is_degraded("READONLY", "read only", "MASTERDOWN")
    await life.goes_on(20)
    await command(admin, "REPLICAOF", "NO", "ONE")
    await life.is_served_again()


async def test_D1_every_key_damaged_while_it_is_used(life: Life, admin: Redis) -> None:
    for spoil in (b"", b"\xff" * 30, b"0" * 20 + b"Zx"):
        async for name in admin.scan_iter():
            await admin.set(name, spoil)
        await life.goes_on(5)
    async for name in admin.scan_iter():
        async with admin.pipeline(transaction=True) as at_once:  # the cache goes on writing meanwhile
            await at_once.delete(name)
            await at_once.rpush(name, "of another type")
            await at_once.execute()
    await life.goes_on(5)
    await life.is_served_again()


async def test_D1_connections_cut_again_and_again(life: Life, admin: Redis) -> None:
    for _ in range(10):
        await command(admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await life.goes_on(3)
    await life.is_served_again()


async def test_D1_a_password_that_is_wrong_is_named(life: Life, admin: Redis) -> None:
    await admin.config_set("requirepass", "s3cret-canary")
    await command(admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await life.is_degraded("NOAUTH", "password")
    await admin.config_set("requirepass", "")
    await life.is_served_again()


async def test_D1_nobody_there_at_the_start(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    async with life_with(server.url, tmp_path) as life:
        await life.is_degraded("cannot be reached")
        await life.goes_on(10)
        async with server:
            await life.is_served_again()


async def test_D1_a_server_that_speaks_something_else(tmp_path: Path) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    foreign = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = foreign.sockets[0].getsockname()[1]
    try:
        async with life_with(f"redis://127.0.0.1:{port}/0", tmp_path) as life:
            await life.is_degraded("Redis")
            await life.goes_on(10)
    finally:
        foreign.close()
        await foreign.wait_closed()


async def test_I7_nothing_is_waited_for_while_it_is_known_to_be_away(life: Life, server: RedisServer) -> None:
    server.pause()
    try:
        await life.is_degraded("no answer within")
        begun = time.process_time()
        bypasses = life.cache.counts().bypasses
        for _ in range(1000):
            assert await life.cache.copy("x") is None
        assert life.cache.counts().bypasses - bypasses >= 1000
        assert time.process_time() - begun < 5
    finally:
        server.resume()
