"""The relay between the outbox and the bus: told once where all goes well, told again after a crash (R17, I1)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.messaging.delivery import Delivery, Queue, Undeliverable
from callboard.messaging.local import LocalEventBus
from callboard.state.models import outbox
from callboard.state.outbox import Outbox
from callboard.state.store import Store
from tests.support.databases import AnyDatabase
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import StateHouse
from tests.support.waiting import wait_until


class Process:
    """A bus and a relay over the shared database; `crash` ends it without a word."""

    def __init__(self, database: AnyDatabase, house: StateHouse) -> None:
        self.house = house
        self.heard: list[str] = []
        self.failing = False
        self.bus = LocalEventBus(house.clock, self._no_letters)
        self.bus.subscribe(Queue(name="q", patterns=("#",)), self._hear)
        self.outbox = Outbox(database, self.bus, house.clock)
        self.store = Store(database, self.outbox, house.clock)
        self._loops: list[asyncio.Future[None]] = []

    async def _no_letters(self, letter: Undeliverable) -> None:
        raise AssertionError(letter.reason)

    async def _hear(self, delivery: Delivery) -> None:
        if self.failing:
            raise ValueError("not now")
        self.heard.append(delivery.event.event_id)

    async def start(self, *, alone: bool = False) -> None:
        await self.bus.start()
        if alone:
            await self.outbox.adopt()
        self._loops = [asyncio.ensure_future(loop()) for loop in (self.outbox.relay, self.outbox.forget)]

    async def crash(self) -> None:
        for loop in self._loops:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop
        closing = asyncio.ensure_future(self.bus.close())
        while not closing.done():
            await self.house.clock.advance(1)
        await closing

    async def accept(self) -> str:
        self.house.store = self.store
        return (await self.house.accept(self.house.event())).event_id

    async def until_told(self) -> None:
        async def empty() -> bool:
            await self.house.later(seconds=1)
            return not await self.house.rows(outbox)

        await wait_until(empty, "the outbox is empty")


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[tuple[Process, Process]]:
    """Two lives of one process."""
    async with open_sqlite(tmp_path) as database:
        house = await StateHouse(database).open()
        first, second = Process(database, house), Process(database, house)
        yield first, second
        await first.crash()
        await second.crash()


async def test_an_event_is_told_right_after_its_commit_and_forgotten(made: tuple[Process, Process]) -> None:
    process, _ = made
    await process.start()
    event_id = await process.accept()
    await wait_until(lambda: process.heard == [event_id], "it was told")
    await process.until_told()
    await process.house.later(seconds=30)
    assert process.heard == [event_id]


async def test_what_a_crash_left_untold_the_next_process_tells(made: tuple[Process, Process]) -> None:
    first, second = made
    first.failing = True
    await first.start()
    event_id = await first.accept()
    await first.crash()
    assert first.heard == []
    await second.start(alone=True)
    await wait_until(lambda: second.heard == [event_id], "it was told again")
    await second.until_told()


async def test_what_fails_for_a_while_is_told_once_it_works_and_is_not_doubled(made: tuple[Process, Process]) -> None:
    process, _ = made
    process.failing = True
    await process.start()
    event_id = await process.accept()
    for _ in range(12):
        await process.house.later(seconds=1)
    process.failing = False
    await process.until_told()
    assert process.heard == [event_id]


async def test_more_than_a_portion_is_told_after_a_restart(made: tuple[Process, Process]) -> None:
    first, second = made
    first.house.store = first.store
    wanted = [
        accepted.event_id
        for accepted in await asyncio.gather(*(first.house.accept(first.house.event()) for _ in range(620)))
    ]
    await second.start(alone=True)
    await second.until_told()
    assert sorted(second.heard) == sorted(wanted)
