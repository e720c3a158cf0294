"""The schedules' side of the store: positions, the ledger of occurrences, and the events that they cause."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from callboard.clock import Clock
from callboard.state.announcer import Announcer
from callboard.state.database import Database
from callboard.state.finishing import Consequences
from callboard.state.occurrences import (
    Entered,
    OccurrenceDraft,
    OccurrenceRecord,
    ScheduleRegistration,
    ScheduleState,
)
from callboard.state.sql import occurrences, schedules

RELEASED_AT_ONCE = 500


class OccurrenceStore:
    """Every method is one transaction and may be repeated: a nominal time of a schedule is entered once, ever.

    `clock` is the database's time as far as schedules go: no time after it is entered. Several processes on one
    database may call everything at the same time.
    """

    def __init__(self, database: Database, announcer: Announcer, clock: Clock, *, tenant: str = "default") -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._tenant = tenant

    async def register(self, registrations: Sequence[ScheduleRegistration]) -> list[ScheduleState]:
        """Makes schedules known, in the given order; what is new, changed or back again starts now."""
        now = self._clock.now()
        return await self._database.write(
            lambda connection: schedules.register(connection, registrations, now, self._tenant)
        )

    async def retire(self, present: Collection[str]) -> list[str]:
        """Tells which schedules the catalog holds; every other one is removed. Returns the removed ids."""
        now = self._clock.now()
        return await self._database.write(lambda connection: schedules.retire(connection, present, now, self._tenant))

    async def enter(self, drafts: Sequence[OccurrenceDraft]) -> Sequence[OccurrenceRecord]:
        """Enters what is not decided yet and accepts the events of what is to run, in one transaction.

        Returns what was entered: with its event, or held for the reason it gives.
        """
        now = self._clock.now()
        return self._told(
            await self._database.write(lambda connection: occurrences.enter(connection, drafts, now, self._tenant))
        )

    async def anything_queued(self) -> bool:
        """Whether an occurrence of a schedule that is not paused waits for its predecessor."""
        return bool(
            await self._database.read(lambda connection: occurrences.queued_schedules(connection, self._tenant, 1))
        )

    async def releasable(self) -> list[OccurrenceRecord]:
        """The oldest queued occurrence of each schedule whose predecessor has ended; costs one read when none waits."""
        waiting = await self._database.read(
            lambda connection: occurrences.queued_schedules(connection, self._tenant, RELEASED_AT_ONCE)
        )
        if not waiting:
            return []
        return await self._database.write(
            lambda connection: occurrences.heads_of_queues(connection, waiting, self._tenant)
        )

    async def release(self, drafts: Sequence[OccurrenceDraft]) -> Sequence[OccurrenceRecord]:
        """Starts what `releasable` gave; a draft without an event is skipped for its reason."""
        now = self._clock.now()
        return self._told(
            await self._database.write(lambda connection: occurrences.release(connection, drafts, now, self._tenant))
        )

    async def set_paused(self, schedule_ids: Collection[str], *, paused: bool) -> None:
        """What comes due of a paused schedule is skipped, and stays so after it is resumed."""
        now = self._clock.now()
        await self._database.write(
            lambda connection: schedules.set_paused(
                connection, schedule_ids, paused=paused, now=now, tenant=self._tenant
            )
        )

    async def states(self) -> list[ScheduleState]:
        """Every schedule that is not removed, by id."""
        return await self._database.read(lambda connection: schedules.states(connection, self._tenant))

    async def latest(self, schedule_ids: Collection[str]) -> dict[str, OccurrenceRecord]:
        """The newest occurrence of each schedule that has one, by schedule id."""
        found = await self._database.read(lambda connection: occurrences.latest(connection, schedule_ids, self._tenant))
        return {record.schedule_id: record for record in found}

    async def history(
        self,
        *,
        agent: str | None = None,
        schedule_id: str | None = None,
        before: datetime | None = None,
        limit: int = 50,
    ) -> list[OccurrenceRecord]:
        """Newest nominal time first; `before` is the nominal time at which the last page ended."""
        return await self._database.read(
            lambda connection: occurrences.history(
                connection, self._tenant, agent=agent, schedule_id=schedule_id, before=before, limit=limit
            )
        )

    def _told(self, entered: Entered) -> Sequence[OccurrenceRecord]:
        if entered.events:
            self._announcer.offer(Consequences(events=entered.events))
        return entered.occurrences
