"""What the ledger refuses, whoever asks: a caller may be late, early, stale or a repetition."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from callboard.scheduler.firing import draft_of, manual_draft_of
from callboard.scheduler.misfire import Decision
from callboard.scheduler.schedule import Schedule
from callboard.state.occurrence_store import OccurrenceStore
from callboard.state.occurrences import OccurrenceDraft, OccurrenceStatus, Overlap, ScheduleRegistration
from tests.unit.scheduler.house import TESTER, House
from tests.unit.scheduler.making import cron, utc

HOURLY = cron("0 * * * *", overlap=Overlap.ALLOW)


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
