"""A beat that stands still means a dead process; an outage or a late look kills nobody (R13)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from callboard.errors import UnavailableError
from callboard.orchestrator.sweeper import Sweeper
from callboard.state.process_store import ProcessStore
from callboard.state.processes import ProcessRecord
from callboard.state.runs import RunStatus
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import StateHouse, question


class Outage(ProcessStore):
    """The real store, which can be away."""

    away = False

    async def alive(self) -> list[ProcessRecord]:
        if self.away:
            raise UnavailableError("the database is away")
        return await super().alive()


class Room:
    def __init__(self, house: StateHouse) -> None:
        self.house = house
        self.processes = Outage(house.database, house.announced, house.clock)
        self.sweeper = Sweeper(house.store, self.processes, house.clock, beat_seconds=5.0, dead_seconds=20.0)

    async def pass_time(self, seconds: float, *, beating: str | None = "p1", every: float = 5.0) -> None:
        """Looks every five seconds; `beating` beats in between."""
        for _ in range(round(seconds / every)):
            await self.house.later(seconds=every)
            if beating is not None:
                await self.house.processes.beat(beating)
            await self.sweeper.sweep()

    async def alive(self) -> list[str]:
        return [record.id for record in await self.house.processes.alive()]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_sqlite(tmp_path) as database:
        opened = Room(await StateHouse(database).open())
        await opened.sweeper.sweep()
        yield opened


async def test_a_process_that_stops_beating_is_dead_after_twenty_seconds(room: Room) -> None:
    run = await room.house.start(process="p2")
    await room.pass_time(15)
    assert await room.alive() == ["p1", "p2"]
    await room.pass_time(5)
    assert await room.alive() == ["p1"]
    assert await room.house.status(run.run_id) is RunStatus.QUEUED


async def test_a_process_that_beats_lives(room: Room) -> None:
    await room.pass_time(15)
    await room.house.processes.beat("p2")
    await room.pass_time(20)
    assert await room.alive() == ["p1", "p2"]
    await room.pass_time(5)
    assert await room.alive() == ["p1"]


async def test_an_outage_of_the_database_kills_nobody(room: Room) -> None:
    await room.pass_time(15)
    room.processes.away = True
    await room.pass_time(60, beating=None)
    room.processes.away = False
    await room.pass_time(20)
    assert await room.alive() == ["p1", "p2"]
    await room.pass_time(10)
    assert await room.alive() == ["p1"]


async def test_a_sweeper_that_slept_begins_anew(room: Room) -> None:
    """Its host was suspended: what it has not seen it cannot know."""
    await room.pass_time(15)
    await room.house.later(minutes=10)
    await room.sweeper.sweep()
    assert await room.alive() == ["p1", "p2"]
    await room.pass_time(15)
    assert await room.alive() == ["p1", "p2"]
    await room.pass_time(5)
    assert await room.alive() == ["p1"]


async def test_F3_the_wall_clock_decides_nothing(room: Room) -> None:
    room.house.clock.set_wall(room.house.clock.now() + timedelta(days=1))
    await room.pass_time(15)
    assert await room.alive() == ["p1", "p2"]
    room.house.clock.set_wall(room.house.clock.now() - timedelta(days=2))
    await room.pass_time(5)
    assert await room.alive() == ["p1"]


async def test_it_closes_questions_whose_deadline_has_passed(room: Room) -> None:
    run = await room.house.start(process="p1")
    deadline = room.house.clock.now() + timedelta(seconds=30)
    await room.house.settle(run, RunStatus.WAITING, question=question(run, deadline=deadline))
    await room.pass_time(25)
    assert await room.house.status(run.run_id) is RunStatus.WAITING
    await room.pass_time(5)
    assert await room.house.status(run.run_id) is RunStatus.QUEUED
