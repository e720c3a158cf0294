"""PostgreSQL killed, stopped, restarted, full, slow, or gone while it commits (D2, D6, C12, R7)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import Connection, insert, text, update

from callboard.errors import FencedError, InvalidInputError, UnavailableError
from callboard.ids import derive_id
from callboard.state.accepting import EventDraft
from callboard.state.delivery_store import DeliveryStore
from callboard.state.effects import EffectDraft
from callboard.state.journal_store import Checkpoint
from callboard.state.models import events, locks, outbox, run_messages, runs
from callboard.state.runs import ClaimedRun, RunStatus
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.postgres_errors import Kind
from tests.contract.test_postgres_races import message
from tests.support.cutting_proxy import CuttingProxy
from tests.support.databases import started
from tests.support.servers.fresh_postgres import fresh_postgres
from tests.support.servers.postgres_server import PostgresServer
from tests.support.state_house import StateHouse, claim_of
from tests.support.waiting import let_pass, wait_until

OTHERS_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid()"
)

pytestmark = pytest.mark.slow


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path / "postgres") as running:
        yield running


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[PostgresDatabase]:
    await PostgresDatabase(server.url).migrate()
    async with started(server.url) as opened:
        yield opened


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with fresh_postgres() as fresh:
        yield fresh


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[CuttingProxy]:
    parts = urlsplit(url)
    async with CuttingProxy(parts.hostname or "", parts.port or 0) as between:
        yield between


@pytest.fixture
async def behind(url: str, proxy: CuttingProxy) -> AsyncIterator[StateHouse]:
    """A process that reaches its database through the proxy."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    async with started(parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}").geturl()) as opened:
        yield await StateHouse(opened).open()


async def is_there(database: PostgresDatabase) -> bool:
    try:
        await database.ping()
    except UnavailableError:
        return False
    return True


def put(name: str) -> Any:
    return lambda connection: connection.execute(insert(locks), [{"name": name}]).close()


async def test_D2_a_killed_server_is_unavailable_with_the_remedy_and_without_the_password(
    server: PostgresServer, database: PostgresDatabase
) -> None:
    await database.write(put("before"))
    await server.kill()
    with pytest.raises(UnavailableError) as raised:
        await database.write(put("lost"))
    assert f"127.0.0.1:{server.port}" in raised.value.message
    assert "DATABASE_URL" in raised.value.message
    assert ":callboard@" not in raised.value.message
    for _ in range(1000):
        # At once: a thousand attempts to connect would take longer than the test may.
        with pytest.raises(UnavailableError):
            await database.ping()
    await server.start()
    await wait_until(partial(is_there, database), "the database is found again")
    await database.write(put("after"))
    names = await database.read(lambda c: set(c.execute(text("SELECT name FROM locks")).scalars()))
    assert names == {"router", "before", "after"}


async def test_D2_a_frozen_server_fails_what_waits_and_is_found_again(
    server: PostgresServer, database: PostgresDatabase
) -> None:
    await database.ping()
    server.pause()
    try:
        async with asyncio.timeout(20):  # the client's own limits are a seventh of that
            answers = await asyncio.gather(
                database.write(put("a")), database.ping(), database.ping(), return_exceptions=True
            )
        assert [type(answer) for answer in answers] == [UnavailableError] * 3
        for _ in range(100):
            with pytest.raises(UnavailableError):
                await database.ping()
    finally:
        server.resume()
    await wait_until(partial(is_there, database), "the database is found again")


async def test_D2_connections_that_a_restart_has_closed_fail_nobody(
    server: PostgresServer, database: PostgresDatabase
) -> None:
    await asyncio.gather(*(database.ping() for _ in range(8)))
    await server.restart()
    await asyncio.gather(*(database.write(put(f"n{n}")) for n in range(8)))


async def test_D2_a_server_that_starts_after_its_clients_is_found(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    async with started(server.url) as database:
        with pytest.raises(UnavailableError):
            await database.ping()
        async with server:
            await wait_until(partial(is_there, database), "the database is found")
            await database.migrate()
            await database.write(put("a"))


async def test_D2_a_wrong_password_says_what_to_do(server: PostgresServer) -> None:
    async with started(server.url.replace(":callboard@", ":secret-canary@")) as database:
        with pytest.raises(UnavailableError, match="password in DATABASE_URL") as raised:
            await database.ping()
        assert "secret-canary" not in raised.value.message
        with pytest.raises(UnavailableError, match="password in DATABASE_URL"):
            await database.migrate()


async def test_D2_a_database_without_tables_says_how_to_make_them(server: PostgresServer) -> None:
    async with started(server.url) as database:
        with pytest.raises(UnavailableError, match="callboard db upgrade"):
            await database.write(put("a"))


async def insist(work: Callable[[], Awaitable[Any]]) -> Any:
    """What every caller does while the database is away."""
    while True:
        try:
            return await work()
        except UnavailableError:
            await let_pass(0.02, "requests come at a steady rate")


class Going:
    """Clients, a router and a pool that go on whatever happens to the database."""

    def __init__(self, house: StateHouse, wanted: int) -> None:
        self._house = house
        self._wanted = wanted
        self.accepted: set[str] = set()
        self.ended: list[str] = []

    async def clients(self) -> None:
        for start in range(0, self._wanted, 10):
            await asyncio.gather(*(self._client(n) for n in range(start, start + 10)))

    async def work(self) -> None:
        while len(self.ended) < self._wanted:
            await insist(self._house.route)
            claimed = await insist(partial(self._house.claim, slots=20))
            await asyncio.gather(*(self._settle(item) for item in claimed))

    async def has_ended(self, share: float) -> None:
        await wait_until(lambda: len(self.ended) >= share * self._wanted, "some runs have ended", within=40)

    async def _client(self, n: int) -> None:
        draft = EventDraft(
            event=self._house.event(order=f"k{n % 5}" if n % 3 == 0 else None), dedupe_keys=(f"key:{n}",)
        )
        accepted = await insist(partial(self._house.store.accept_event, draft))
        self.accepted.add(accepted.event_id)

    async def _settle(self, item: ClaimedRun) -> None:
        assert await insist(partial(self._house.settle, item.run)) is RunStatus.SUCCEEDED
        self.ended.append(item.run.run_id)


async def test_C12_restarts_under_way_leave_every_accepted_run_with_one_end(
    server: PostgresServer, database: PostgresDatabase
) -> None:
    """Scaled down: what was accepted is done exactly once, whatever the server's restarts broke off."""
    house = await StateHouse(database).open()
    going = Going(house, 150)

    async def trouble() -> None:
        for share, end in ((0.2, server.kill), (0.4, server.stop), (0.6, server.kill)):
            await going.has_ended(share)
            await end()
            await server.start()

    await asyncio.gather(going.clients(), going.work(), trouble())
    assert len(going.accepted) == 150
    stored = await insist(partial(house.rows, runs))
    expected = {derive_id("run", event_id, "echo") for event_id in going.accepted}
    assert {row["run_id"] for row in stored} == expected
    assert sorted(going.ended) == sorted(expected)
    assert {row["status"] for row in stored} == {"succeeded"}
    told = [row["topic"] for row in await house.rows(events)]
    assert told.count("run.succeeded.echo") == 150


async def test_R7_an_accept_that_nobody_heard_of_is_answered_and_stored_once(
    behind: StateHouse, proxy: CuttingProxy
) -> None:
    event = behind.event()
    proxy.cut_after(event.event_id.encode())
    accepted = await behind.accept(event, "key")
    assert (proxy.cuts, accepted.event_id) == (1, event.event_id)
    assert [row["event_id"] for row in await behind.rows(events)] == [event.event_id]


async def test_R7_a_claim_that_nobody_heard_of_finds_its_own_runs(behind: StateHouse, proxy: CuttingProxy) -> None:
    run_id = await behind.queue()
    proxy.cut_after(b"p1")
    (claimed,) = await behind.claim("p1")
    assert (proxy.cuts, claimed.run.run_id, claimed.run.fencing) == (1, run_id, 1)


async def test_R7_runs_that_were_taken_while_the_database_went_away_come_with_the_next_claim(
    behind: StateHouse, proxy: CuttingProxy
) -> None:
    run_id = await behind.queue()
    proxy.cut_after(b"p1")
    proxy.refusing = True
    with pytest.raises(UnavailableError):
        await behind.claim("p1")
    proxy.refusing = False
    assert isinstance(behind.database, PostgresDatabase)
    await wait_until(partial(is_there, behind.database), "the database is found again")
    (claimed,) = await behind.claim("p1")
    assert (claimed.run.run_id, claimed.run.fencing) == (run_id, 1)
    await behind.settle(claimed.run)


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.QUEUED, RunStatus.WAITING])
@pytest.mark.parametrize("order", [None, "k"])
async def test_R7_an_end_that_nobody_heard_of_is_the_end(
    behind: StateHouse, proxy: CuttingProxy, status: RunStatus, order: str | None
) -> None:
    run = await behind.start(order=order)
    proxy.cut_after(b"COMMIT" if order or status is not RunStatus.SUCCEEDED else b"\x00\x00\x00\x09succeeded")
    settled = behind.ask(run) if status is RunStatus.WAITING else behind.settle(run, status)
    assert await settled is status
    assert proxy.cuts == 1
    assert await behind.status(run.run_id) is status
    told = [row["topic"] for row in await behind.rows(events)]
    assert told.count("run.succeeded.echo") == (status is RunStatus.SUCCEEDED)


async def test_R7_what_is_no_batch_is_written_once_too(behind: StateHouse, proxy: CuttingProxy) -> None:
    """A checkpoint twice would double messages: the server is asked what became of the transaction."""
    run = await behind.start()
    proxy.cut_after(b"COMMIT")
    await behind.journals.append(claim_of(run), Checkpoint(messages=("a", "b")))
    proxy.cut_after(b"COMMIT")
    draft = EffectDraft(key="k", tool="send", digest="d", idempotent=False)
    assert await behind.journals.begin_effect(claim_of(run), draft, repeat=False) is None
    assert proxy.cuts == 2
    assert len(await behind.rows(run_messages)) == 2


async def test_R7_a_transaction_that_was_lost_before_its_commit_is_run_again(
    behind: StateHouse, proxy: CuttingProxy
) -> None:
    run = await behind.start()
    proxy.cut_after(run.run_id.encode())
    await behind.journals.append(claim_of(run), Checkpoint(messages=("a",)))
    assert proxy.cuts == 1
    assert len(await behind.rows(run_messages)) == 1


async def test_R7_deliveries_taken_by_a_claim_that_nobody_heard_of_are_let_go_of(
    behind: StateHouse, proxy: CuttingProxy
) -> None:
    store = DeliveryStore(behind.database, behind.clock)
    await store.plan([message(1, channel="C", thread="1")])
    proxy.cut_after(b"COMMIT")
    proxy.refusing = True
    with pytest.raises(UnavailableError):
        await store.claim("r1", 10)
    proxy.refusing = False
    assert isinstance(behind.database, PostgresDatabase)
    await wait_until(partial(is_there, behind.database), "the database is found again")
    await behind.clock.advance(2)
    (again,) = await store.claim("r1", 10)
    assert again.interrupted


async def test_D2_transactions_that_wait_for_each_other_are_run_again(url: str) -> None:
    async with started(url) as one, started(url) as two:
        await one.write(put("a"))
        await one.write(put("b"))

        def both(first: str, second: str, connection: Connection) -> None:
            for name in (first, second):
                connection.execute(update(locks).where(locks.c.name == name).values(holder=first)).close()
                connection.execute(text("SELECT pg_sleep(0.2)")).close()

        await asyncio.gather(one.write(partial(both, "a", "b")), two.write(partial(both, "b", "a")))
        assert one.again[Kind.AGAIN] + two.again[Kind.AGAIN] >= 1


async def test_D2_a_session_that_is_ended_while_it_works_is_run_again(url: str) -> None:
    async with started(url) as database:
        tries: list[int] = []

        def unit(connection: Connection) -> None:
            tries.append(1)
            connection.execute(insert(locks), [{"name": "a"}])
            if len(tries) == 1:
                connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")).close()

        await database.write(unit)
        assert len(tries) == 2
        assert await database.read(lambda c: c.execute(text("SELECT count(*) FROM locks")).scalar_one()) == 2


async def allowed_few(admin: asyncpg.Connection, name: str, limit: int) -> str:
    """User and password of a role that may have so many connections to the database."""
    role = f"few{limit}"
    with contextlib.suppress(asyncpg.DuplicateObjectError):
        await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'few'")
    await admin.execute(f'ALTER ROLE {role} CONNECTION LIMIT {limit}; GRANT ALL ON DATABASE "{name}" TO {role}')
    await admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    return f"{role}:few"


async def test_D2_too_many_connections_make_calls_wait_for_those_that_are_there(url: str) -> None:
    admin = await asyncpg.connect(url)
    try:
        parts = urlsplit(url)
        login = await allowed_few(admin, parts.path[1:], 2)
        async with started(parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()) as database:
            await asyncio.gather(*(database.write(put(f"n{n}")) for n in range(30)))
            assert database.connections <= 2
    finally:
        await admin.close()


async def test_D2_a_call_that_is_refused_a_connection_takes_one_that_has_been_given_back(
    url: str, proxy: CuttingProxy
) -> None:
    """The refusal comes late, when nobody is left who would give one back."""
    admin = await asyncpg.connect(url)
    try:
        parts = urlsplit(url)
        login = await allowed_few(admin, parts.path[1:], 1)
        async with started(parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}").geturl()) as database:
            await database.ping()
            proxy.passing.clear()
            calls = [asyncio.create_task(database.write(put(name))) for name in ("first", "refused")]
            await wait_until(lambda: proxy.held == 1, "the second call wants another connection")
            await calls[0]
            proxy.passing.set()
            await calls[1]
            assert database.connections == 1
    finally:
        await admin.close()


async def test_D2_a_server_that_takes_no_writes_says_so(url: str) -> None:
    admin = await asyncpg.connect(url)
    async with started(url) as database:
        await database.ping()
        await admin.execute(f'ALTER DATABASE "{urlsplit(url).path[1:]}" SET default_transaction_read_only = on')
        await admin.execute(OTHERS_END)
        with pytest.raises(UnavailableError, match="primary"):
            await database.write(put("a"))
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute(f'ALTER DATABASE "{urlsplit(url).path[1:]}" RESET default_transaction_read_only')
        await admin.close()
        await wait_until(partial(is_there, database), "the database is found again")
        await database.write(put("a"))


async def test_D2_a_lock_that_somebody_keeps_ends_the_call_and_not_the_server(url: str) -> None:
    admin = await asyncpg.connect(url)
    async with started(url) as database:
        held = admin.transaction()
        await held.start()
        await admin.execute("LOCK TABLE locks IN EXCLUSIVE MODE")
        waiting = asyncio.ensure_future(database.write(put("a")))
        await database.ping()
        await held.rollback()
        await waiting
    await admin.close()


@pytest.mark.parametrize("text_", ["a\x00b", "\x00"])
async def test_D4_a_character_that_postgresql_does_not_know_is_stored_as_the_sign_for_it(url: str, text_: str) -> None:
    async with started(url) as database:
        house = await StateHouse(database).open()
        run = await house.start(input=text_)
        await house.journals.add_progress(claim_of(run), [("note", {"text": text_})])
        await house.settle(run, output=text_)
        assert (await house.result(run.run_id)).output == text_
        lines = await house.queries.progress(run.run_id)
        assert lines[-2].data == {"text": text_.replace("\0", "\N{REPLACEMENT CHARACTER}")}


async def test_D4_a_value_that_does_not_fit_is_the_caller_s_mistake(url: str) -> None:
    async with started(url) as database:
        with pytest.raises(InvalidInputError, match="cannot store"):
            await database.write(put("x" * 300))
        await database.write(put("x"))


async def test_D2_a_zombie_after_an_outage_is_fenced(url: str) -> None:
    async with started(url) as database:
        house = await StateHouse(database).open()
        run = await house.start()
        await house.processes.declare_dead(["p1"])
        (again,) = await house.claim("p2")
        with pytest.raises(FencedError):
            await house.settle(run)
        assert await house.settle(again.run) is RunStatus.SUCCEEDED
        assert await house.rows(outbox)


@pytest.mark.parametrize("begins", ["read", "write"])
async def test_D2_whatever_is_said_on_a_connection_that_broke_the_unit_is_run_again(url: str, begins: str) -> None:
    """Drivers and toolkits raise all sorts of things when a connection ends under them."""
    tried: list[int] = []

    def unit(connection: Connection) -> int:
        tried.append(1)
        if len(tried) == 1:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.terminate()
            raise AttributeError("'NoneType' object has no attribute 'fetch'")
        return int(connection.execute(text("SELECT 7")).scalar_one())

    async with started(url) as database:
        assert await (database.read(unit) if begins == "read" else database.write(unit)) == 7
    assert len(tried) == 2


async def test_D2_what_a_unit_itself_raises_is_its_callers(url: str) -> None:
    def unit(connection: Connection) -> None:
        raise AttributeError("a defect")

    async with started(url) as database:
        with pytest.raises(AttributeError, match="a defect"):
            await database.read(unit)
