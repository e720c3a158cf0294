"""The embedded ticker over a real ledger: restarts, clocks that jump, catalogs that change."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from callboard.clock import ManualClock
from callboard.scheduler.pace import CATCH_UP_A_PASS
from callboard.scheduler.ticker import Ticker
from callboard.state.occurrences import OccurrenceStatus
from callboard.state.sql.sqlite import SqliteDatabase
from tests.support.waiting import wait_until
from tests.unit.scheduler.house import House, fired
from tests.unit.scheduler.interrupted import Interrupted
from tests.unit.scheduler.making import agent, utc

T = TypeVar("T")
Item = TypeVar("Item")
FIRED, CAUGHT_UP = OccurrenceStatus.FIRED, OccurrenceStatus.CAUGHT_UP
SKIPPED, MISSED = OccurrenceStatus.SKIPPED, OccurrenceStatus.MISSED


async def test_a_tick_at_its_time_becomes_an_occurrence_and_an_event(house: House) -> None:
    house.has({"cron": "0 9 * * *", "input": "Good morning", "deliver_to": "#eng"})
    ticker = house.ticker()
    await ticker.tick()
    await house.at(utc("2026-03-07T09:00"), ticker)
    (record,) = await house.ledger()
    (event,) = await house.events()
    assert (record.status, record.event_id, record.trace_id) == (FIRED, event.event_id, event.trace_id)
    assert event.topic == "scheduled.tasks.standup"
    assert event.payload == {
        "text": "Good morning",
        "schedule_id": record.schedule_id,
        "nominal_time": "2026-03-07T09:00:00+00:00",
        "deliver_to": "#eng",
        "occurrence": "fired",
    }
    assert house.announced.events == [event]


async def test_a_schedule_seen_for_the_first_time_back_fills_nothing(house: House) -> None:
    house.has({"cron": "* * * * *", "misfire": "run_all"})
    await house.ticker().tick()
    assert await house.ledger() == []


async def test_a_restart_goes_on_where_the_ledger_ends(house: House) -> None:
    house.has({"cron": "0 * * * *", "overlap": "allow"})
    before = house.ticker()
    await before.tick()
    await house.at(utc("2026-03-07T09:00"), before)
    await house.at(utc("2026-03-07T12:20"), house.ticker())
    assert await house.statuses() == [
        ("07 09:00", FIRED),
        ("07 10:00", SKIPPED),
        ("07 11:00", SKIPPED),
        ("07 12:00", CAUGHT_UP),
    ]


async def test_a_restart_after_a_night_catches_up_by_the_policy_of_each(house: House) -> None:
    for policy in ("run_once", "run_all", "skip"):
        house.has({"cron": "0 * * * *", "misfire": policy, "overlap": "allow"}, name=policy)
    await house.ticker().tick()
    await house.at(utc("2026-03-07T11:30"), house.ticker())
    found = {name: [r.status for r in await house.service().history(name)][::-1] for name in ("run_once", "run_all")}
    assert found == {"run_once": [SKIPPED, SKIPPED, CAUGHT_UP], "run_all": [CAUGHT_UP] * 3}
    assert [r.status for r in await house.service().history("skip")] == [MISSED] * 3


@pytest.mark.slow
async def test_C13_two_tickers_over_one_database_fire_each_time_once(house: House, tmp_path: Path) -> None:
    for n in range(20):
        house.has({"cron": f"*/{n % 4 + 1} * * * *", "overlap": "allow", "misfire": "run_all"}, name=f"a{n}")
    other = SqliteDatabase(tmp_path / "callboard.db")
    await other.start()
    first, second = house.ticker(), house.ticker(other)
    await asyncio.gather(first.tick(), second.tick())
    random = Random(13)  # noqa: S311  # a test's choice of moments
    for _ in range(30):
        await house.clock.advance(random.choice([1, 20, 59, 60, 61, 180]))
        await asyncio.gather(first.tick(), second.tick())
    await other.close()
    ledger = await house.ledger()
    assert max(Counter((r.schedule_id, r.nominal_time) for r in ledger).values()) == 1
    assert len(fired(ledger)) == len(ledger) == len(await house.events())
    expected = list(range(1, int(house.clock.monotonic()) // 60 + 1))
    assert sorted({int((r.nominal_time - utc("2026-03-07T08:30")).total_seconds()) // 60 for r in ledger}) == expected


async def test_C13_killed_after_the_commit_the_event_is_still_in_the_outbox(house: House) -> None:
    house.has({"cron": "0 9 * * *"})
    ticker = house.ticker()
    await ticker.tick()
    await house.at(utc("2026-03-07T09:00"), ticker)
    house.announced.events.clear()
    await house.ticker().tick()
    assert house.announced.events == []
    assert await house.untold() == 1


@pytest.mark.parametrize("jump", [timedelta(hours=2), timedelta(hours=-2), timedelta(days=-1)], ids=str)
async def test_F2_a_clock_that_jumps_fires_no_time_twice(house: House, jump: timedelta) -> None:
    house.has({"cron": "*/20 * * * *", "overlap": "allow"})
    ticker = house.ticker()
    await ticker.tick()
    await house.at(utc("2026-03-07T09:00"), ticker)
    house.clock.set_wall(house.clock.now() + jump)
    for _ in range(12):
        await house.later(ticker, minutes=5)
    house.clock.set_wall(house.clock.now() - jump)
    for _ in range(40):
        await house.later(ticker, minutes=5)
    ledger = await house.ledger()
    assert len({record.nominal_time for record in ledger}) == len(ledger)
    assert len(await house.events()) == len(fired(ledger))
    assert ledger[-1].nominal_time == house.clock.now() == utc("2026-03-07T13:20")


async def test_F2_a_clock_set_back_right_after_the_first_sight_does_not_silence_a_schedule(house: House) -> None:
    house.clock.set_wall(utc("2026-03-08T08:30"))
    house.has({"cron": "0 * * * *"})
    ticker = house.ticker()
    await ticker.tick()
    house.clock.set_wall(utc("2026-03-07T08:30"))
    await house.later(ticker, seconds=31)
    await house.at(utc("2026-03-07T09:00"), ticker)
    assert await house.statuses() == [("07 09:00", FIRED)]


async def test_F2_after_a_suspend_of_ten_minutes_there_is_no_storm(house: House) -> None:
    house.has({"interval_seconds": 5})
    ticker = house.ticker()
    await ticker.tick()
    await house.later(ticker, minutes=10)
    ledger = await house.ledger()
    assert len(fired(ledger)) == 1
    assert all(record.reason for record in ledger if record.event_id is None)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_F5_ten_thousand_schedules_of_one_minute_all_fire_in_batches(house: House) -> None:
    for n in range(1000):
        house.catalog.append(agent(*({"id": f"s{k}", "cron": "0 9 * * *"} for k in range(10)), name=f"a{n}"))
    ticker = house.ticker()
    await ticker.tick()
    await house.at(utc("2026-03-07T09:00"), ticker)
    ledger = await house.ledger()
    assert len({record.schedule_id for record in fired(ledger)}) == 10_000
    assert len(ledger) == 10_000 == len(house.announced.events)


@pytest.mark.slow
async def test_late_runs_are_caught_up_a_share_a_pass_and_do_not_hold_up_what_is_on_time(house: House) -> None:
    house.has(
        *({"id": f"s{n}", "cron": "* * * * *", "misfire": "run_all", "overlap": "allow"} for n in range(20)),
        name="late",
    )
    house.has({"cron": "0 12 * * *"}, name="punctual")
    await house.ticker().tick()
    ticker = house.ticker()
    await house.at(utc("2026-03-07T12:00"), ticker)
    first = await house.events()
    assert first[0].topic == "scheduled.tasks.punctual"
    assert CATCH_UP_A_PASS <= len(first) < 2 * CATCH_UP_A_PASS
    for _ in range(12):
        await ticker.tick()
    assert len(await house.events()) == 1 + 20 * 100


class TestChangesOfTheCatalog:
    async def test_a_new_schedule_fires_from_its_next_time_on(self, house: House) -> None:
        ticker = house.ticker()
        await ticker.tick()
        house.has({"cron": "0 * * * *"})
        await house.later(ticker, seconds=1)
        await house.at(utc("2026-03-07T09:00"), ticker)
        assert await house.statuses() == [("07 09:00", FIRED)]

    async def test_a_removed_one_fires_no_more_and_back_again_back_fills_nothing(self, house: House) -> None:
        house.has({"cron": "0 * * * *", "misfire": "run_all"})
        ticker = house.ticker()
        await ticker.tick()
        house.lacks("standup")
        await house.at(utc("2026-03-07T10:30"), ticker)
        house.has({"cron": "0 * * * *", "misfire": "run_all"})
        await house.at(utc("2026-03-07T10:31"), ticker)
        await house.at(utc("2026-03-07T11:00"), ticker)
        assert await house.statuses() == [("07 11:00", FIRED)]

    async def test_other_times_under_the_same_name_start_afresh(self, house: House) -> None:
        house.has({"id": "morning", "cron": "0 9 * * *"})
        ticker = house.ticker()
        await ticker.tick()
        await house.at(utc("2026-03-07T09:00"), ticker)
        house.has({"id": "morning", "cron": "*/10 * * * *", "misfire": "run_all", "overlap": "allow"})
        await house.at(utc("2026-03-07T09:55"), ticker)
        await house.at(utc("2026-03-07T10:00"), ticker)
        assert await house.statuses() == [("07 09:00", FIRED), ("07 10:00", FIRED)]

    async def test_a_new_input_goes_with_the_next_time(self, house: House) -> None:
        house.has({"cron": "0 * * * *", "input": "old"})
        ticker = house.ticker()
        await ticker.tick()
        house.has({"cron": "0 * * * *", "input": "new"})
        await house.at(utc("2026-03-07T09:00"), ticker)
        assert [event.payload["text"] for event in await house.events()] == ["new"]


class TestTheLoop:
    async def test_it_never_sleeps_longer_than_a_second_so_it_sees_what_changed(self, house: House) -> None:
        house.clock = clock = WatchedClock(house.clock.now())
        async with _running(house.ticker()):
            await wait_until(lambda: clock.slept, "the ticker sleeps")
            house.has({"cron": "0 9 * * *"})
            await wait_until(partial(_passes, house, house.known), "the new schedule is known")
            await wait_until(partial(_passes, house, lambda: len(clock.slept) > 5), "some passes")
        assert max(clock.slept) == 1.0

    async def test_it_wakes_when_something_is_due(self, house: House) -> None:
        house.clock = clock = WatchedClock(house.clock.now() + timedelta(seconds=59.75))
        house.has({"cron": "* * * * *"})
        async with _running(house.ticker()):
            await wait_until(lambda: clock.slept, "the ticker sleeps")
            assert clock.slept == [pytest.approx(0.251)]
            await clock.advance(0.26)
            await wait_until(lambda: house.announced.events, "the event")
        assert await house.statuses() == [("07 08:31", FIRED)]

    @pytest.mark.parametrize("seconds", [20, 60], ids=["before a reconcile", "at a reconcile"])
    async def test_it_outlives_a_database_that_is_away(self, house: House, seconds: int) -> None:
        house.clock = clock = WatchedClock(utc("2026-03-07T08:31") - timedelta(seconds=seconds))
        database = Interrupted(house.database)
        house.has({"cron": "* * * * *"})
        async with _running(house.ticker(database)):
            await wait_until(lambda: clock.slept, "the ticker sleeps")
            database.away = True
            passes = len(clock.slept)
            await clock.advance(seconds)
            await wait_until(partial(_passes, house, lambda: len(clock.slept) > passes + 3), "it goes on trying")
            assert await house.ledger() == []
            database.away = False
            await wait_until(partial(_passes, house, lambda: len(house.announced.events)), "the time is fired")
        assert await house.statuses() == [("07 08:31", FIRED)]


async def _passes(house: House, done: Callable[[], object]) -> bool:
    """A second goes by; then whether `done` says so."""
    await house.clock.advance(1)
    answer = done()
    return bool(await answer if isinstance(answer, Awaitable) else answer)


@contextlib.asynccontextmanager
async def _running(ticker: Ticker) -> AsyncIterator[None]:
    task = asyncio.create_task(ticker.run())
    yield
    assert not task.done(), "the ticker has ended by itself"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class WatchedClock(ManualClock):
    """Remembers how long the ticker wanted to sleep."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
        await super().sleep(seconds)
