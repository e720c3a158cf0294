"""When Beat ticks what: the catalog and the clock decide, and the database knows better than the plan."""

from __future__ import annotations

from datetime import timedelta

import pytest

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.scheduler.pace import CATCH_UP_A_PASS
from callboard.scheduler.tick_plan import LONGEST_PAUSE_SECONDS, TickPlan, Ticks
from callboard.state.database import Database
from tests.unit.scheduler.house import House
from tests.unit.scheduler.interrupted import Interrupted
from tests.unit.scheduler.making import utc

NINE = utc("2026-03-07T09:00")
HOURLY = {"id": "one", "cron": "0 * * * *"}


def plan_of(house: House, database: Database | None = None) -> TickPlan:
    async def newest() -> int:
        await (database or house.database).ping()
        return 7

    return TickPlan(house.service(database), newest, house.clock)


def named(ticks: Ticks) -> list[str]:
    return [f"{tick.schedule_id} {tick.nominal_time:%H:%M}" for tick in ticks.due]


async def at(house: House, moment: str, plan: TickPlan) -> Ticks:
    await house.at(utc(f"2026-03-07T{moment}"))
    return await plan.next()


async def test_an_empty_catalog_is_looked_at_every_second(house: House) -> None:
    ticks = await plan_of(house).next()
    assert (ticks.due, ticks.pause_seconds, ticks.catalog) == ((), LONGEST_PAUSE_SECONDS, 7)


async def test_a_schedule_is_ticked_once_when_its_time_comes(house: House) -> None:
    house.has(HOURLY)
    plan = plan_of(house)
    assert named(await plan.next()) == []
    assert named(await at(house, "08:59:59", plan)) == []
    assert named(await at(house, "09:00", plan)) == ["standup.one 09:00"]
    assert named(await at(house, "09:00:01", plan)) == []


async def test_it_sleeps_until_just_after_the_next_time_and_never_longer_than_a_second(house: House) -> None:
    house.has(HOURLY)
    plan = plan_of(house)
    assert (await plan.next()).pause_seconds == LONGEST_PAUSE_SECONDS
    await house.at(NINE - timedelta(seconds=0.25))
    assert (await plan.next()).pause_seconds == pytest.approx(0.251)


async def test_a_schedule_that_is_added_changed_or_removed_counts_from_the_next_pass_on(house: House) -> None:
    plan = plan_of(house)
    await plan.next()
    house.has(HOURLY)
    await at(house, "08:40", plan)
    house.has({"id": "one", "cron": "45 * * * *"})
    await at(house, "08:44", plan)
    assert named(await at(house, "08:45", plan)) == ["standup.one 08:45"]
    house.lacks("standup")
    assert named(await at(house, "09:45", plan)) == []


async def test_C13_a_tick_that_led_to_nothing_comes_again_with_the_next_look_at_the_database(house: House) -> None:
    house.has(HOURLY)
    plan = plan_of(house)
    await plan.next()
    assert named(await at(house, "09:00", plan)) == ["standup.one 09:00"]
    assert named(await at(house, "09:00:40", plan)) == ["standup.one 09:00"]
    await house.service().publish_scheduled_task("standup.one")
    assert named(await at(house, "09:01:20", plan)) == []


async def test_C13_when_ticks_may_have_been_lost_they_come_again_at_once(house: House) -> None:
    house.has(HOURLY)
    plan = plan_of(house)
    await plan.next()
    await at(house, "09:00", plan)
    plan.doubt()
    assert named(await plan.next()) == ["standup.one 09:00"]


async def test_what_is_late_is_ticked_in_portions_after_what_is_on_time(house: House) -> None:
    for n in range(30):
        house.has({"id": "x", "cron": "* * * * *", "misfire": "run_all", "overlap": "allow"}, name=f"late{n}")
    house.has({"id": "x", "cron": "0 11 * * *"}, name="punctual")
    await house.service().initialize()
    plan = plan_of(house)
    first = await at(house, "11:00", plan)
    assert named(first)[0] == "punctual.x 11:00"
    assert len(first.due) == 1 + 3  # 99 late runs each
    assert 2 * 99 < CATCH_UP_A_PASS < 3 * 99
    assert first.pause_seconds == LONGEST_PAUSE_SECONDS
    ticked = {tick.schedule_id for tick in first.due}
    for _ in range(20):
        ticked |= {tick.schedule_id for tick in (await plan.next()).due}
    assert len(ticked) == 31


async def test_without_the_database_it_goes_on_by_what_it_knew_and_reads_anew_afterwards(house: House) -> None:
    database = Interrupted(house.database)
    house.has(HOURLY)
    plan = plan_of(house, database)
    await plan.next()
    database.away = True
    assert named(await at(house, "09:00", plan)) == ["standup.one 09:00"]
    database.away = False
    back = await at(house, "09:00:10", plan)
    assert back.found_again
    assert named(back) == ["standup.one 09:00"]
    assert not (await plan.next()).found_again


async def test_a_database_that_was_never_there_is_waited_for(house: House) -> None:
    database = Interrupted(house.database)
    database.away = True
    house.has(HOURLY)
    plan = plan_of(house, database)
    assert await plan.next() == Ticks(
        due=(), catalog=0, queued=False, found_again=False, pause_seconds=LONGEST_PAUSE_SECONDS
    )


async def test_F2_a_clock_that_goes_back_ticks_nothing_twice_and_one_that_jumps_ahead_starts_no_storm(
    house: House,
) -> None:
    house.has(HOURLY | {"overlap": "allow"})
    plan = plan_of(house)
    await plan.next()
    assert len((await at(house, "09:00", plan)).due) == 1
    await house.service().publish_scheduled_task("standup.one")
    house.clock.set_wall(NINE - timedelta(days=1))
    assert (await plan.next()).due == ()
    house.clock.set_wall(NINE + timedelta(hours=2))
    assert named(await plan.next()) == ["standup.one 11:00"]
    assert len(await house.service().publish_scheduled_task("standup.one")) == 2
    house.clock.set_wall(NINE)
    assert (await plan.next()).due == ()
    assert len(await house.events()) == 2


async def test_a_clock_that_cannot_be_read_yet_ticks_nothing(house: House) -> None:
    class Unread(ManualClock):
        def now(self) -> object:  # type: ignore[override]
            raise UnavailableError("the database's time has not been read yet")

    house.has(HOURLY)
    house.clock = Unread()
    ticks = await plan_of(house).next()
    assert (ticks.due, ticks.pause_seconds) == ((), LONGEST_PAUSE_SECONDS)


async def test_it_says_when_an_occurrence_waits_for_its_predecessor(house: House) -> None:
    house.has(HOURLY | {"overlap": "queue"})
    plan = plan_of(house)
    assert not (await plan.next()).queued
    for moment in ("09:00", "10:00"):
        await at(house, moment, plan)
        await house.service().publish_scheduled_task("standup.one")
    assert (await plan.next()).queued
