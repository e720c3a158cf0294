"""Who waits for whom: one process stops in the middle of its transaction, another comes along (DESIGN.md, R8, R9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only

from callboard.state.runs import ClaimRequest, RunStatus, WaitingKind
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.postgres_shortcuts import take
from tests.support.databases import started
from tests.support.paused_database import PausedDatabase
from tests.support.servers.fresh_postgres import fresh_postgres
from tests.support.state_house import StateHouse
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

LOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@dataclass
class Meeting:
    """A process that goes on, and one that stops before it commits."""

    house: StateHouse
    database: PostgresDatabase
    stopped: StateHouse
    pause: PausedDatabase

    async def meet(self, first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any]) -> tuple[Any, Any]:
        """The first does its work and stops; the second comes, and waits; the first goes on."""
        one = asyncio.ensure_future(first)
        await asyncio.wait([one, asyncio.ensure_future(self.pause.reached.wait())], return_when="FIRST_COMPLETED")
        two = asyncio.ensure_future(second)
        await wait_until(lambda: self._waits(two), "the second waits for the first")
        waited = not two.done()
        self.pause.go.set()
        answers = (await one, await two)
        assert waited, "the second did not wait for the first"
        assert not self.database.again, "the second only noticed afterwards"
        return answers

    async def _waits(self, second: asyncio.Future[Any]) -> bool:
        def locked(connection: Connection) -> int:
            return int(connection.execute(LOCKED).scalar_one())

        return second.done() or await self.database.read(locked) > 0


@pytest.fixture
async def meeting() -> AsyncIterator[Meeting]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_postgres())
        database = await stack.enter_async_context(started(url))
        pause = PausedDatabase(url)
        stack.push_async_callback(pause.close)
        house = await StateHouse(database).open()
        yield Meeting(house, database, StateHouse(pause, clock=house.clock, ids=house.ids), pause)


async def test_R9_a_router_waits_for_the_other(meeting: Meeting) -> None:
    for n in range(3):
        await meeting.house.accept(meeting.house.event(order="k", n=n))
    first, second = await meeting.meet(meeting.stopped.route(), meeting.house.route())
    assert (first.events, second.events) == (3, 0)


async def test_a_step_that_ends_waits_for_its_plan_that_begins_to_wait(meeting: Meeting) -> None:
    house = meeting.house
    plan = await house.start("plan", mode="collaborative")
    await house.settle(
        plan,
        RunStatus.WAITING,
        waiting_kind=WaitingKind.STEPS,
        children=(house.child(plan, "one"), house.child(plan, "two")),
    )
    one, two = (item.run for item in await house.claim("p2"))
    await house.settle(one)
    (again,) = await house.claim(mode="collaborative")
    waits = meeting.stopped.settle(
        again.run, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, absorbed=frozenset({one.run_id})
    )
    await meeting.meet(waits, house.settle(two))
    assert await house.status(plan.run_id) is RunStatus.QUEUED


async def test_R14_who_declares_a_process_dead_waits_for_its_claim(meeting: Meeting) -> None:
    run_id = await meeting.house.queue()
    await meeting.meet(meeting.stopped.claim("p1"), meeting.house.processes.declare_dead(["p1"]))
    assert await meeting.house.claimed_ids("p2") == [run_id]


async def test_R14_who_declares_a_process_dead_waits_for_its_claim_in_one_statement(meeting: Meeting) -> None:
    house = meeting.house
    run_id = await house.queue()
    request = ClaimRequest(
        mode="autonomous", process_id="p1", token="t", slots=5, batch_slots=5, suspect=True, now=house.clock.now()
    )

    def claim(connection: Connection) -> None:
        assert await_only(take(connection.connection.driver_connection, [request]))[0]

    await meeting.meet(meeting.pause.write(claim), house.processes.declare_dead(["p1"]))
    assert await house.claimed_ids("p2") == [run_id]


async def test_R6_a_run_that_comes_waits_for_the_place_that_becomes_free(meeting: Meeting) -> None:
    house = meeting.house
    first = await house.start(place="p", places=1)
    await house.accept(house.event(place="p", places=1))
    await meeting.meet(meeting.stopped.settle(first), house.route())
    assert len(await house.claim()) == 1


async def test_R10_a_run_that_comes_waits_for_the_turn_that_ends(meeting: Meeting) -> None:
    house = meeting.house
    first = await house.start(order="k")
    await house.accept(house.event(order="k"))
    await meeting.meet(meeting.stopped.settle(first), house.route())
    assert len(await house.claim()) == 1


async def test_R8_two_ends_of_one_place_wait_for_each_other(meeting: Meeting) -> None:
    house = meeting.house
    for _ in range(4):
        await house.queue(place="p", places=2)
    one, two = (item.run for item in await house.claim())
    await meeting.meet(meeting.stopped.settle(one), house.settle(two))
    assert len(await house.claim()) == 2
