"""What the ledger refuses, whoever asks: a caller may be late, early, stale or a repetition."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import pytest

from callboard.clock import ManualClock
from callboard.scheduler.firing import draft_of, manual_draft_of
from callboard.scheduler.misfire import Decision
from callboard.scheduler.schedule import Schedule
from callboard.state.occurrence_store import OccurrenceStore
from callboard.state.occurrences import OccurrenceDraft, OccurrenceStatus, Overlap, ScheduleRegistration
from tests.support.databases import AnyDatabase
from tests.unit.scheduler.house import TESTER, House, fired
from tests.unit.scheduler.making import cron, utc

HOURLY = cron("0 * * * *", overlap=Overlap.ALLOW)


PROCESSES = 3


@pytest.fixture
async def house(database: AnyDatabase) -> House:
    """Saturday 7 March 2026, half past eight in UTC."""
    return House(clock=ManualClock(utc("2026-03-07T08:30")), database=database)


@pytest.fixture
async def store(house: House) -> OccurrenceStore:
    """Knows the hourly schedule since half past eight; it is noon now."""
    opened = OccurrenceStore(house.database, house.announced, house.clock)
    await opened.register([registration(HOURLY)])
    await house.at(utc("2026-03-07T12:00"))
    return opened


def registration(schedule: Schedule) -> ScheduleRegistration:
    return ScheduleRegistration(schedule_id=schedule.schedule_id, agent=schedule.agent, time_keys=schedule.time_keys)


def draft(hour: int, schedule: Schedule = HOURLY) -> OccurrenceDraft:
    time = utc(f"2026-03-07T{hour:02}:00")
    return draft_of(schedule, Decision(nominal_time=time, status=OccurrenceStatus.FIRED), time)


async def entered(store: OccurrenceStore, drafts: Sequence[OccurrenceDraft]) -> list[datetime]:
    return [record.nominal_time for record in await store.enter(drafts)]


async def test_a_repetition_enters_nothing_and_tells_nothing(house: House, store: OccurrenceStore) -> None:
    assert len(await entered(store, [draft(9), draft(10)])) == 2
    assert await entered(store, [draft(9), draft(10)]) == []
    assert len(house.announced.events) == len(await house.events()) == 2


async def test_a_repetition_within_one_call_counts_once(store: OccurrenceStore) -> None:
    assert len(await entered(store, [draft(9), draft(9)])) == 1


async def test_a_stale_caller_cannot_enter_a_time_before_the_position(store: OccurrenceStore) -> None:
    await store.enter([draft(10)])
    assert await entered(store, [draft(9), draft(11)]) == [utc("2026-03-07T11:00")]


async def test_a_time_that_has_not_come_is_ignored(store: OccurrenceStore) -> None:
    assert await entered(store, [draft(12), draft(13)]) == [utc("2026-03-07T12:00")]
    (state,) = await store.states()
    assert state.position == utc("2026-03-07T12:00")


async def test_a_schedule_that_nobody_registered_is_ignored(store: OccurrenceStore) -> None:
    assert await entered(store, [draft(9, cron("0 * * * *", name="other.one"))]) == []


async def test_a_removed_schedule_enters_nothing_until_it_is_registered_again(store: OccurrenceStore) -> None:
    assert await store.retire([]) == [HOURLY.schedule_id]
    assert await store.retire([]) == []
    assert await entered(store, [draft(9)]) == []
    (state,) = await store.register([registration(HOURLY)])
    assert state.position == utc("2026-03-07T12:00")


async def test_asked_for_twice_at_one_instant_is_one_run(house: House, store: OccurrenceStore) -> None:
    manual = manual_draft_of(HOURLY, house.clock.now(), TESTER)
    assert len(await store.enter([manual])) == 1
    assert list(await store.enter([manual])) == []
    (state,) = await store.states()
    assert state.position == utc("2026-03-07T08:30")


async def test_a_release_that_comes_twice_starts_one_run(house: House, store: OccurrenceStore) -> None:
    queued = cron("0 * * * *", overlap=Overlap.QUEUE)
    await store.enter([draft(9, queued), draft(10, queued)])
    await house.route()
    await house.end_run((await house.ledger())[0].run_id)
    (waiting,) = await store.releasable()
    assert waiting.nominal_time == utc("2026-03-07T10:00")
    assert len(await store.release([draft(10, queued)])) == 1
    assert list(await store.release([draft(10, queued)])) == []
    assert await store.releasable() == []


async def test_C13_schedules_that_several_processes_see_at_once_start_once(house: House) -> None:
    stores = [OccurrenceStore(house.database, house.announced, house.clock) for _ in range(PROCESSES)]
    items = [registration(cron("0 * * * *", name=f"agent{n}.one")) for n in range(60)]
    answers = await asyncio.gather(
        *(store.register(order) for store in stores for order in (items, items[::-1], items[30:] + items[:30]))
    )
    assert {state.position for states in answers for state in states} == {utc("2026-03-07T08:30")}
    assert len(await stores[0].states()) == 60


async def test_C13_a_time_that_several_processes_enter_at_once_runs_once(house: House) -> None:
    for n in range(40):
        house.has({"cron": "0 * * * *", "overlap": "allow"}, name=f"agent{n}")
    services = [house.service() for _ in range(PROCESSES)]
    await services[0].initialize()
    await house.at(utc("2026-03-07T09:00"))
    entered = await asyncio.gather(
        *(service.reconcile() for service in services),
        *(service.publish_scheduled_tasks(list(service.schedules())[::-1]) for service in services),
    )
    assert len(fired([record for records in entered for record in records])) == 40
    ledger = await house.ledger()
    assert len(ledger) == len(await house.events()) == len(house.announced.events) == 40
    assert max(Counter(record.schedule_id for record in ledger).values()) == 1


async def test_C13_a_queued_time_that_several_processes_release_at_once_starts_once(house: House) -> None:
    for n in range(10):
        house.has({"cron": "0 * * * *", "overlap": "queue"}, name=f"agent{n}")
    services = [house.service() for _ in range(PROCESSES)]
    await services[0].initialize()
    for hour in (9, 10):
        await house.at(utc(f"2026-03-07T{hour:02}:00"))
        await services[0].reconcile()
    await house.route()
    for record in fired(await house.ledger()):
        await house.end_run(record.run_id)
    assert await services[0].anything_queued()
    released = await asyncio.gather(*(service.release_queued() for service in services))
    assert sum(len(records) for records in released) == 10
    assert len([event for event in await house.events() if event.event_type == "scheduled.task"]) == 20
    assert not await services[0].anything_queued()


async def test_C13_a_definition_that_changes_while_others_fire_starts_afresh_once(house: House) -> None:
    house.has({"id": "one", "cron": "0 * * * *"})
    services = [house.service() for _ in range(PROCESSES)]
    await services[0].initialize()
    await house.at(utc("2026-03-07T09:00"))
    house.has({"id": "one", "cron": "30 * * * *"})
    await asyncio.gather(*(service.initialize() for service in services), *(s.reconcile() for s in services))
    (state,) = await OccurrenceStore(house.database, house.announced, house.clock).states()
    assert state.position == utc("2026-03-07T09:00")
    assert await house.ledger() == []


async def test_what_is_late_is_made_up_for_in_portions_and_what_is_on_time_at_once(house: House) -> None:
    for n in range(8):
        house.has({"cron": "* * * * *", "misfire": "run_all", "overlap": "allow"}, name=f"late{n}")
    house.has({"cron": "0 11 * * *"}, name="punctual")
    service = house.service()
    await service.initialize()
    await house.at(utc("2026-03-07T11:00"))
    first = fired(await service.reconcile(catch_up=100))
    assert "punctual" in {record.agent for record in first}
    assert 100 < len(first) <= 201
    portions = 1
    while fired(await service.reconcile(catch_up=100)):
        portions += 1
    assert portions == 4
    assert len(fired(await house.ledger())) == 8 * 100 + 1
