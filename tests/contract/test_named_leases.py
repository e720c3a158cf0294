"""Named leases: one holder at a time, whoever asks when; and one config-service at work (DESIGN.md, R22)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from callboard.clock import SystemClock
from callboard.config.catalog_reader import CatalogReader
from callboard.config.configuration_service import ACTOR, ConfigurationService
from callboard.config.folder_scan import WatchedFolder
from callboard.errors import FencedError
from callboard.ids import RandomIds
from callboard.state.catalog_store import CatalogStore
from callboard.state.catalogs import CatalogChanges
from callboard.state.lock_store import AlwaysHeld, DatabaseLease
from callboard.state.models import catalog_heads
from callboard.state.models import locks as lock_rows
from callboard.state.sql import locks
from tests.support.databases import AnyDatabase, started
from tests.support.servers.fresh_postgres import fresh_postgres
from tests.support.state_house import Announced
from tests.support.waiting import wait_until


def lease(database: AnyDatabase, process: str, seconds: float = 60.0) -> DatabaseLease:
    return DatabaseLease(database, "config", process, seconds=seconds)


async def held_by(database: AnyDatabase) -> str | None:
    holder = select(lock_rows.c.holder).where(lock_rows.c.name == "config")
    return await database.read(lambda connection: connection.execute(holder).scalar())


async def test_one_of_many_gets_it_and_keeps_it(database: AnyDatabase) -> None:
    leases = [lease(database, f"p{n}") for n in range(8)]
    first = await asyncio.gather(*(each.acquire() for each in leases))
    assert sum(first) == 1
    for _ in range(3):
        assert await asyncio.gather(*(each.acquire() for each in leases)) == first


async def test_who_lets_it_go_lets_another_have_it_at_once(database: AnyDatabase) -> None:
    one, two = lease(database, "one"), lease(database, "two")
    assert await one.acquire()
    await two.release()
    assert not await two.acquire()
    await one.release()
    assert await two.acquire()


async def test_another_takes_over_from_one_that_asks_no_more(database: AnyDatabase) -> None:
    one, two = lease(database, "one", 0.2), lease(database, "two")
    assert await one.acquire()
    await wait_until(two.acquire, "the lease of the other has run out")
    assert not await one.acquire()


@pytest.mark.loop_stays_free
async def test_what_was_lost_cannot_be_written_under(database: AnyDatabase) -> None:
    one, two = lease(database, "one", 0.05), lease(database, "two")
    store = CatalogStore(database, Announced(), SystemClock(), RandomIds())
    nothing = CatalogChanges(expected=0, puts=[], removes=[], rejections=[])
    assert await one.acquire()
    await store.apply(nothing, ACTOR, one.guard)
    await wait_until(two.acquire, "the lease of the other has run out")
    with pytest.raises(FencedError, match="'config' belongs to two, not to one"):
        await store.apply(nothing, ACTOR, one.guard)
    await store.apply(nothing, ACTOR, two.guard)
    heads = await database.read(lambda connection: connection.execute(catalog_heads.select()).all())
    assert len(heads) <= 1


async def test_an_end_that_has_passed_unnoticed_is_no_matter(database: AnyDatabase) -> None:
    one = lease(database, "one", 0.001)
    await one.acquire()
    await database.write(one.guard)
    assert await one.acquire()


async def test_one_process_alone_always_holds_it(database: AnyDatabase) -> None:
    alone = AlwaysHeld()
    assert await alone.acquire()
    await database.write(alone.guard)
    await alone.release()
    assert await held_by(database) is None


AGENT = """name: standup
agent_type: reporter
execution_mode: autonomous
llm_config: {{provider: scripted, model_id: script, script: [{{say: "{say}"}}]}}
"""
OpenService = Callable[[str, float], contextlib.AbstractAsyncContextManager[ConfigurationService]]


@pytest.fixture
async def files(tmp_path: Path) -> Path:
    folder = tmp_path / "agents"
    await asyncio.to_thread(folder.mkdir)
    return folder


@pytest.fixture
def service(database: AnyDatabase, files: Path) -> OpenService:
    @contextlib.asynccontextmanager
    async def running(process: str, seconds: float) -> AsyncIterator[ConfigurationService]:
        clock = SystemClock()
        store = CatalogStore(database, Announced(), clock, RandomIds())
        configuration = ConfigurationService(
            [WatchedFolder(files, "agents")],
            store,
            CatalogReader(store, clock),
            clock,
            lease=lease(database, process, seconds),
        )
        stop = asyncio.Event()

        async def stopped() -> None:
            await stop.wait()

        await configuration.start()
        task = asyncio.create_task(configuration.run(stopped))
        try:
            yield configuration
        finally:
            stop.set()
            await task

    return running


async def says(database: AnyDatabase, words: str) -> None:
    reader = CatalogReader(CatalogStore(database, Announced(), SystemClock(), RandomIds()), SystemClock())

    async def said() -> bool:
        entry = (await reader.refresh()).get("standup")
        return entry is not None and entry.definition.llm_config.script[0].say == words

    await wait_until(said, f"the catalog says {words}")


@pytest.mark.slow
async def test_of_two_config_services_one_works_and_the_other_takes_over(
    service: OpenService, database: AnyDatabase, files: Path
) -> None:
    file = files / "standup.yaml"
    await asyncio.to_thread(file.write_text, AGENT.format(say="one"))
    async with contextlib.AsyncExitStack() as lives, contextlib.AsyncExitStack() as goes_first:
        first = await goes_first.enter_async_context(service("first", 10))
        assert first.active
        await says(database, "one")
        other = await lives.enter_async_context(service("other", 10))
        assert not other.active
        assert other.current().number == first.current().number
        await asyncio.to_thread(file.write_text, AGENT.format(say="two"))
        await says(database, "two")
        assert not other.active
        await goes_first.aclose()
        await wait_until(lambda: other.active, "the other has taken over")
        await asyncio.to_thread(file.write_text, AGENT.format(say="three"))
        await says(database, "three")


@pytest.mark.slow
async def test_one_that_lost_its_lease_waits_and_comes_back(
    service: OpenService, database: AnyDatabase, files: Path
) -> None:
    file = files / "standup.yaml"
    await asyncio.to_thread(file.write_text, AGENT.format(say="one"))
    async with service("here", 1.0) as here:
        assert here.active
        await database.write(lambda connection: locks.release(connection, "config", "here"))
        elsewhere = lease(database, "elsewhere", 1.0)
        assert await elsewhere.acquire()
        await wait_until(lambda: not here.active, "the lease is lost")
        await asyncio.to_thread(file.write_text, AGENT.format(say="two"))
        await elsewhere.release()
        await wait_until(lambda: here.active, "the lease is back")
        await says(database, "two")


FROZEN = textwrap.dedent(
    """
    import asyncio, sys
    from callboard.clock import SystemClock
    from callboard.config.configuration_service import ACTOR
    from callboard.errors import FencedError
    from callboard.ids import RandomIds
    from callboard.state.catalog_store import CatalogStore
    from callboard.state.catalogs import CatalogChanges
    from callboard.state.lock_store import DatabaseLease
    from callboard.state.sql.postgres import PostgresDatabase
    from callboard.clock import SystemClock

    class Quiet:
        def offer(self, consequences): pass

    async def main(url):
        database = PostgresDatabase(url)
        await database.start()
        lease = DatabaseLease(database, "config", "frozen", seconds=0.3)
        assert await lease.acquire()
        print("active", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        store = CatalogStore(database, Quiet(), SystemClock(), RandomIds())
        try:
            await store.apply(CatalogChanges(expected=0, puts=[], removes=["x"], rejections=[]), ACTOR, lease.guard)
            print("written", flush=True)
        except FencedError:
            print("refused", flush=True)
        await database.close()

    asyncio.run(main(sys.argv[1]))
    """
)


@pytest.mark.slow
async def test_R22_a_process_that_was_stopped_past_its_lease_writes_nothing() -> None:
    async with fresh_postgres() as url, started(url) as database:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            FROZEN,
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            assert (await child.stdout.readline()).strip() == b"active"
            child.send_signal(signal.SIGSTOP)
            await wait_until(lease(database, "other").acquire, "another has taken over")
            child.send_signal(signal.SIGCONT)
            child.stdin.write(b"\n")
            assert (await child.stdout.readline()).strip() == b"refused"
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGCONT)
                child.kill()
            await child.wait()
            _close(child)


def _close(child: Any) -> None:
    child._transport.close()
