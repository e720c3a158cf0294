"""The clock that tests advance, and the machine's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from callboard.clock import ManualClock, SystemClock


async def test_sleepers_wake_each_at_its_own_time_in_order() -> None:
    clock, woken = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), list[tuple[str, float]]()

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 5))
        group.create_task(sleeper("early", 2))
        group.create_task(sleeper("never behind", 2))
        await asyncio.sleep(0)
        await clock.advance(1)
        assert woken == []
        await clock.advance(9)
    assert [name for name, _ in woken] == ["early", "never behind", "late"]
    assert clock.now() == datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


async def test_a_sleeper_that_sleeps_again_while_the_clock_advances_wakes_again() -> None:
    clock, ticks = ManualClock(), list[float]()

    async def ticker() -> None:
        while True:
            await clock.sleep(1)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.advance(3)
    task.cancel()
    assert ticks == [1, 2, 3]


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    await clock.advance(2)
    assert task.cancelled()


async def test_no_time_to_sleep_yields_once() -> None:
    for clock in (ManualClock(), SystemClock()):
        await asyncio.wait_for(clock.sleep(0), 30)
        await asyncio.wait_for(clock.sleep(-1), 30)


def test_moving_the_wall_leaves_the_monotonic_clock() -> None:
    clock = ManualClock()
    clock.set_wall(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2020
    assert clock.monotonic() == 0


def test_the_machine_s_wall_clock_is_aware_and_in_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert SystemClock().monotonic() <= SystemClock().monotonic()
