"""The loop from events to runs: wakes, follows the catalog, outlives events that nobody can decide about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from callboard.config.catalog import Catalog
from callboard.messaging.delivery import Undeliverable
from callboard.messaging.events import Actor
from callboard.messaging.local import LocalEventBus
from callboard.orchestrator.dispatcher import Dispatcher
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.models import catalog_heads, events, runs
from callboard.state.outbox import Outbox
from callboard.state.store import Store
from tests.support.pool_house import catalog_of, definition
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import StateHouse
from tests.support.waiting import wait_until


class Office:
    """A dispatcher over a real store and bus."""

    def __init__(self, house: StateHouse) -> None:
        self.house = house
        self.letters: list[Undeliverable] = []
        self.catalog: Catalog = catalog_of(definition("echo"))
        self.bus = LocalEventBus(house.clock, self.keep)
        self.outbox = Outbox(house.database, self.bus, house.clock)
        house.store = Store(house.database, self.outbox, house.clock)
        self.newest = self.catalog
        """What a refresh finds."""
        self.dispatcher = Dispatcher(
            house.store, self.bus, lambda: self.catalog, house.clock, self.keep, refresh=self.refresh
        )

    async def refresh(self) -> None:
        self.catalog = self.newest

    async def keep(self, letter: Undeliverable) -> None:
        self.letters.append(letter)

    async def until_runs(self, *agents: str) -> None:
        async def there() -> bool:
            return sorted(row["agent"] for row in await self.house.rows(runs)) == sorted(agents)

        await wait_until(there, f"runs of {agents}")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with open_sqlite(tmp_path) as database:
        opened = Office(await StateHouse(database).open())
        await opened.bus.start()
        loops = [asyncio.ensure_future(loop()) for loop in (opened.dispatcher.run, opened.dispatcher.poll)]
        yield opened
        for loop in loops:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop
        closing = asyncio.ensure_future(opened.bus.close())
        while not closing.done():
            await opened.house.clock.advance(1)


async def test_an_accepted_event_wakes_the_dispatcher(office: Office) -> None:
    await office.house.accept(office.house.event("echo"))
    await office.until_runs("echo")


async def test_what_nobody_told_is_found_by_the_poll(office: Office) -> None:
    quiet = StateHouse(office.house.database, clock=office.house.clock, ids=office.house.ids)
    await quiet.accept(quiet.event("echo"))

    async def routed() -> bool:
        await office.house.later(seconds=1)
        return bool(await office.house.rows(runs))

    await wait_until(routed, "the poll has found it")


async def test_a_new_catalog_is_in_force_for_the_next_event(office: Office) -> None:
    await office.house.accept(office.house.event("echo"))
    await office.until_runs("echo")
    office.catalog = catalog_of(definition("echo"), definition("new"), number=2)
    await office.house.accept(office.house.event("new"))
    await office.until_runs("echo", "new")


async def test_a_change_that_this_process_has_not_heard_of_yet_is_in_force_for_what_is_accepted_after_it(
    office: Office,
) -> None:
    """In the distributed form the announcement may come later than the next request."""
    await office.house.accept(office.house.event("echo"))
    await office.until_runs("echo")
    office.newest = catalog_of(definition("echo"), definition("new"), number=7)
    head = insert(catalog_heads).values(kind="agent", number=7, updated_at=office.house.clock.now())
    await office.house.database.write(lambda connection: connection.execute(head))
    await office.house.accept(office.house.event("new"))
    await office.until_runs("echo", "new")


async def test_C5_an_event_that_nobody_can_decide_about_holds_up_no_other(office: Office) -> None:
    broken = replace(office.house.event(), topic="slack.events.mention", payload={"channel": "no record", "text": "x"})
    await asyncio.gather(
        office.house.accept(office.house.event("echo")),
        office.house.accept(broken),
        office.house.accept(office.house.event("echo")),
    )
    await office.until_runs("echo", "echo")
    (letter,) = office.letters
    assert (letter.event_id, letter.queue) == (broken.event_id, "orchestrator.inbox")
    assert "no route" in letter.reason


async def test_C6_a_requeued_event_that_nobody_could_decide_about_is_routed_again(office: Office) -> None:
    broken = replace(office.house.event(), topic="slack.events.mention", payload={"channel": "no record", "text": "x"})
    kept = DeadLetterStore(office.house.database, office.outbox, office.house.clock)
    await office.house.accept(broken)
    await wait_until(lambda: len(office.letters) == 1, "it is a dead letter")
    await kept.keep(office.letters[0])
    (letter,) = await kept.letters("default")

    async def routed() -> bool:
        return all(row["routed_at"] is not None for row in await office.house.rows(events))

    await wait_until(routed, "it holds up no other")
    await kept.requeue(letter.id, Actor(kind="user", id="tess"))
    await wait_until(
        lambda: len(office.letters) == 2, "it was tried again: still nobody can decide, which is told again"
    )
