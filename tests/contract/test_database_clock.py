"""One time for all: the database's, whatever the clock of a machine says (RELIABILITY.md, F2 and F3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.state.database_clock import DatabaseClock
from callboard.state.occurrence_store import OccurrenceStore
from tests.support.databases import AnyDatabase
from tests.unit.scheduler.house import Announced
from tests.unit.scheduler.making import agent

WRONG = [timedelta(hours=2), timedelta(hours=-2), timedelta(days=-1)]


async def test_before_the_first_reading_nobody_is_told_a_time(database: AnyDatabase) -> None:
    clock = DatabaseClock(database, ManualClock())
    with pytest.raises(UnavailableError):
        clock.now()
    await clock.sync()
    assert clock.now() <= datetime.now(UTC)


async def test_it_goes_on_by_the_monotonic_clock(database: AnyDatabase) -> None:
    host = ManualClock()
    clock = DatabaseClock(database, host)
    await clock.sync()
    before = clock.now()
    await host.advance(90)
    assert clock.now() - before == timedelta(seconds=90)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_F2_a_wall_clock_that_is_wrong_or_is_set_changes_nothing(database: AnyDatabase, wrong: timedelta) -> None:
    host = ManualClock(datetime.now(UTC) + wrong)
    clock = DatabaseClock(database, host)
    await clock.sync()
    before = clock.now()
    assert abs(before - datetime.now(UTC)) < timedelta(minutes=5)
    host.set_wall(host.now() - wrong * 2)
    assert clock.now() == before


async def test_F2_a_host_whose_clock_is_ahead_fires_nothing_early(database: AnyDatabase) -> None:
    host = ManualClock(datetime.now(UTC) + timedelta(hours=2))
    clock = DatabaseClock(database, host)
    await clock.sync()
    soon = (clock.now() + timedelta(minutes=30)).strftime("%M %H * * *")
    catalog = [agent({"cron": soon})]
    announced = Announced()
    service = SchedulerService(lambda: catalog, OccurrenceStore(database, announced, clock), clock)
    assert await service.reconcile() == []
    await host.advance(60)
    assert await service.reconcile() == []
    await host.advance(3600)
    assert len(await service.reconcile()) == 1
    assert len(announced.events) == 1
