"""The numbers that every role may read every few seconds, from indexes of what waits."""

from __future__ import annotations

from sqlalchemy import text

from callboard.messaging.delivery import Undeliverable
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.models import outbox
from callboard.state.sql import statistics
from tests.support.databases import AnyDatabase
from tests.support.state_house import TESS, StateHouse


async def test_nothing_waits_in_an_empty_system(house: StateHouse) -> None:
    now = await house.queries.statistics()
    assert (now.queued, now.running, now.dead_letters, now.untold_since) == ({}, {}, 0, None)


async def test_what_waits_for_a_slot_is_counted_by_mode_and_lane(house: StateHouse) -> None:
    await house.start("worker")
    for agent in ("a", "b"):
        await house.queue(agent)
    await house.queue("c", lane="batch")
    await house.queue("d", mode="collaborative")
    ended = await house.start("e", mode="continuous")
    await house.settle(ended)
    now = await house.queries.statistics()
    assert now.queued == {
        ("autonomous", "interactive"): 2,
        ("autonomous", "batch"): 1,
        ("collaborative", "interactive"): 1,
    }
    assert now.running == {"autonomous": 1}


async def test_a_run_that_waits_for_its_turn_needs_no_more_processes(house: StateHouse) -> None:
    for _ in range(5):
        await house.queue(order="key")
    assert (await house.queries.statistics()).queued == {("autonomous", "interactive"): 1}


async def test_dead_letters_count_until_somebody_deals_with_them(house: StateHouse) -> None:
    store = DeadLetterStore(house.database, house.announced, house.clock)
    for n in range(2):
        await store.keep(Undeliverable(queue="q", topic="t", body=b"%d" % n, reason="bad", deliveries=5))
    assert (await house.queries.statistics()).dead_letters == 2
    await store.drop((await store.letters("default"))[0].id, TESS)
    assert (await house.queries.statistics()).dead_letters == 1


async def test_the_oldest_event_that_nobody_heard_of_is_known(house: StateHouse) -> None:
    first = house.clock.now()
    await house.accept(house.event())
    await house.later(seconds=7)
    await house.accept(house.event())
    assert (await house.queries.statistics()).untold_since == first
    await house.database.write(lambda connection: connection.execute(outbox.delete()))
    assert (await house.queries.statistics()).untold_since is None


async def test_the_history_is_not_read(house: StateHouse, database: AnyDatabase) -> None:
    """However many runs have ended: the plans use the indexes of what waits, never the table."""
    await house.queue()
    for query, index in ((statistics._QUEUED, "ix_runs_claim"), (statistics._RUNNING, "ix_runs_owner")):
        plan = await database.read(lambda connection, query=query: _plan(connection, query))  # type: ignore[misc]
        assert index in plan


def _plan(connection, query) -> str:  # type: ignore[no-untyped-def]
    compiled = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
    if connection.dialect.name == "sqlite":
        return "\n".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}")))
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    return "\n".join(row[0] for row in connection.execute(text(f"EXPLAIN {compiled}")))
