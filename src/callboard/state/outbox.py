"""The outbox relay: what a transaction has to tell is told after its commit, and again after a crash."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from functools import partial

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.failpoint import reached
from callboard.logs import StructuredLogger
from callboard.messaging.event_bus import EventBus
from callboard.messaging.wakeup import WakeUp
from callboard.state.database import Database
from callboard.state.finishing import Consequences, StoredEvent
from callboard.state.sql.outbox import delete_told, release_all, take_due

AGAIN_AFTER = timedelta(seconds=5)
POLL_SECONDS = 1.0
BATCH = 500


class Outbox:
    """Publishes stored events and forgets each when the bus has answered for it (DESIGN.md, R17).

    `offer` is called right after a commit; whatever it loses is found due in the table at the next poll. No
    transaction is open while the bus is spoken to.
    """

    def __init__(self, database: Database, bus: EventBus, clock: Clock) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._log = StructuredLogger("outbox")
        self._told: deque[int] = deque()
        self._any_told = WakeUp()
        self._under_way: set[int] = set()

    def offer(self, consequences: Consequences) -> None:
        """Tells what a transaction that has committed brought about. Never raises."""
        for topic in consequences.wakes:
            self._bus.signal(topic)
        for stored in consequences.events:
            self._publish(stored)

    async def adopt(self) -> None:
        """At the start of the only process: what another one left is due now."""
        await self._database.write(partial(release_all, now=self._clock.now()))

    async def relay(self) -> None:
        """Publishes what is due, for ever."""
        while True:
            try:
                due = await self._database.write(
                    partial(take_due, now=self._clock.now(), again_after=AGAIN_AFTER, limit=BATCH), repeatable=True
                )
            except UnavailableError as error:
                self._log.warning("cannot read the outbox", reason=error.message)
                due = []
            for stored in due:
                if stored.seq not in self._under_way:
                    self._publish(stored)
            if len(due) < BATCH:
                await self._clock.sleep(POLL_SECONDS)

    async def forget(self) -> None:
        """Deletes what was told, for ever, as many rows at once as have come together meanwhile."""
        while True:
            await self._any_told.wait()
            while self._told:
                seqs = [self._told.popleft() for _ in range(min(BATCH, len(self._told)))]
                reached("outbox.told")
                try:
                    await self._database.write(partial(delete_told, seqs=seqs), repeatable=True)
                except UnavailableError as error:
                    self._log.warning("told events stay in the outbox and are told again", reason=error.message)
                self._under_way.difference_update(seqs)

    def _publish(self, stored: StoredEvent) -> None:
        self._under_way.add(stored.seq)
        self._bus.publish(stored.event).add_done_callback(partial(self._answered, stored.seq))

    def _answered(self, seq: int, answer: asyncio.Future[None]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._under_way.discard(seq)
            return
        self._told.append(seq)
        self._any_told.set()
