"""A tick on its way: from the clock through the ledger and the outbox to whoever listens on the bus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from callboard.clock import ManualClock
from callboard.messaging.delivery import Delivery, Queue, Undeliverable
from callboard.messaging.events import Event
from callboard.messaging.local import LocalEventBus
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.scheduler.ticker import Ticker
from callboard.state.models import metadata
from callboard.state.occurrence_store import OccurrenceStore
from callboard.state.outbox import Outbox
from callboard.state.sql.sqlite import SqliteDatabase
from tests.support.waiting import wait_until
from tests.unit.scheduler.house import Announced
from tests.unit.scheduler.making import agent, utc

MORNING = {"cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin", "input": "Good morning", "deliver_to": "#eng"}


@dataclass(eq=False)
class Process:
    """One start of the embedded scheduler over a data file."""

    service: SchedulerService
    clock: ManualClock
    heard: list[Event] = field(default_factory=list)

    async def hear(self, delivery: Delivery) -> None:
        self.heard.append(delivery.event)


@contextlib.asynccontextmanager
async def embedded(path: Path, now: str, *, deaf: bool = False) -> AsyncIterator[Process]:
    """Ticker, outbox and bus, running; a `deaf` process dies before any of its events gets on the bus."""
    clock = ManualClock(utc(now))
    database = SqliteDatabase(path)
    metadata.create_all(database.engine)
    await database.start()
    bus = LocalEventBus(clock, _no_dead_letters)
    outbox = Outbox(database, bus, clock)
    store = OccurrenceStore(database, Announced() if deaf else outbox, clock)
    catalog = [agent(MORNING)]
    process = Process(service=SchedulerService(lambda: catalog, store, clock), clock=clock)
    bus.subscribe(Queue(name="listener", patterns=("scheduled.tasks.*",)), process.hear)
    await bus.start()
    await outbox.adopt()
    loops = [Ticker(process.service, clock).run()] + ([] if deaf else [outbox.relay(), outbox.forget()])
    tasks = [asyncio.create_task(loop) for loop in loops]
    await wait_until(store.states, "the schedule is known")
    yield process
    for task in tasks:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close()
    await database.close()


async def _no_dead_letters(letter: Undeliverable) -> None:
    raise AssertionError(letter)


async def test_at_nine_in_berlin_the_listener_hears_the_task(tmp_path: Path) -> None:
    async with embedded(tmp_path / "callboard.db", "2026-03-30T06:59:30") as process:
        await process.clock.advance(30.5)
        await wait_until(lambda: process.heard, "the event on the bus")
        (event,) = process.heard
        (record,) = await process.service.history("standup")
    assert event.topic == "scheduled.tasks.standup"
    assert (event.payload["text"], event.payload["deliver_to"]) == ("Good morning", "#eng")
    assert (record.event_id, record.trace_id) == (event.event_id, event.trace_id)
    assert record.nominal_time == utc("2026-03-30T07:00")


async def test_C13_a_process_killed_between_tick_and_bus_is_made_good_by_the_next(tmp_path: Path) -> None:
    async with embedded(tmp_path / "callboard.db", "2026-03-30T06:59:30", deaf=True) as first:
        await first.clock.advance(30.5)
        await wait_until(lambda: first.service.history("standup"), "the occurrence in the ledger")
        assert first.heard == []
    async with embedded(tmp_path / "callboard.db", "2026-03-30T07:05:00") as second:
        await wait_until(lambda: second.heard, "the event of the process before")
        await second.clock.advance(60)
        assert len(await second.service.history("standup")) == 1
        assert [event.payload["nominal_time"] for event in second.heard] == ["2026-03-30T07:00:00+00:00"]


async def test_a_machine_that_was_off_over_the_weekend_catches_up_once(tmp_path: Path) -> None:
    async with embedded(tmp_path / "callboard.db", "2026-03-26T06:00:00"):
        pass
    async with embedded(tmp_path / "callboard.db", "2026-03-31T12:00:00") as process:
        await wait_until(lambda: process.heard, "the run that makes up for the days before")
        history = await process.service.history("standup")
    assert [record.status.value for record in history] == ["caught_up", "skipped", "skipped", "skipped"]
    assert len(process.heard) == 1
