"""Everything one can ask of the schedules, over the catalog and the ledger; keeps nothing between calls.

The ticker of the embedded form and a Celery worker both work through it, so whoever calls first enters a time and
everybody after meets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from callboard.clock import Clock
from callboard.errors import InvalidInputError, NotFoundError
from callboard.logs import StructuredLogger, bind_trace
from callboard.messaging.events import Actor
from callboard.scheduler.firing import draft_of, manual_draft_of, release_draft_of
from callboard.scheduler.listing import ScheduleListing
from callboard.scheduler.misfire import due
from callboard.scheduler.pace import CATCH_UP_A_PASS, Pace
from callboard.scheduler.preview import PreviewLine, preview
from callboard.scheduler.schedule import Schedule, nominal_times
from callboard.scheduler.schedule_catalog import Definitions, ScheduleCatalog, local_name
from callboard.state.occurrence_store import OccurrenceStore
from callboard.state.occurrences import (
    OccurrenceDraft,
    OccurrenceRecord,
    OccurrenceStatus,
    Overlap,
    ScheduleRegistration,
)

BATCH = 200
"""So many schedules or occurrences share a transaction."""
BREATH = 25
"""After computing so many schedules the loop lets others work."""
LARGEST_PREVIEW = 1_000
_FAR = timedelta(days=366 * 30)


class SchedulerService:
    """The schedules of the current catalog: registering, firing, and what people ask about them."""

    def __init__(self, definitions: Definitions, store: OccurrenceStore, clock: Clock) -> None:
        self._logger = StructuredLogger("scheduler")
        self._catalog = ScheduleCatalog(definitions, self._logger)
        self._store = store
        self._clock = clock

    def schedules(self) -> dict[str, Schedule]:
        """What the catalog holds now, by id; the same object while nothing changed."""
        return self._catalog.current()

    async def initialize(self) -> dict[str, datetime]:
        """Brings the database in line with the catalog; returns up to when each schedule is decided.

        A schedule seen for the first time starts now; one that left the catalog is removed, its history stays.
        """
        current = self.schedules()
        known = {state.schedule_id: state for state in await self._store.states()}
        positions = {name: state.position for name, state in known.items()}
        now = self._clock.now()
        positions.update(
            await self.register(
                [
                    schedule
                    for name, schedule in current.items()
                    if name not in known or known[name].time_keys != schedule.time_keys or known[name].position > now
                ]
            )
        )
        if not known.keys() <= current.keys():
            for schedule_id in await self._store.retire(current.keys()):
                self._logger.info("schedule removed", schedule_id=schedule_id)
        return {name: positions[name] for name in current}

    async def register_schedule(self, schedule: Schedule) -> datetime:
        """Makes one schedule known; returns up to when it is decided."""
        return (await self.register([schedule]))[schedule.schedule_id]

    async def register(self, schedules: Sequence[Schedule]) -> dict[str, datetime]:
        """`register_schedule` for many, in batches; times that changed under a known id start it afresh."""
        positions: dict[str, datetime] = {}
        for start in range(0, len(schedules), BATCH):
            batch = schedules[start : start + BATCH]
            states = await self._store.register(
                [
                    ScheduleRegistration(
                        schedule_id=schedule.schedule_id, agent=schedule.agent, time_keys=schedule.time_keys
                    )
                    for schedule in batch
                ]
            )
            positions.update({state.schedule_id: state.position for state in states})
        return positions

    def decide(self, schedule: Schedule, last: datetime) -> list[OccurrenceDraft]:
        """What is to be entered for the times since `last`."""
        now = self._clock.now()
        return [draft_of(schedule, decision, now) for decision in due(schedule, last, now)]

    async def enter(self, drafts: Sequence[OccurrenceDraft]) -> list[OccurrenceRecord]:
        """Enters decisions, one transaction; returns those that nobody had entered before."""
        return self._told(await self._store.enter(drafts))

    async def publish_scheduled_task(self, schedule_id: str) -> list[OccurrenceRecord]:
        """Fires whatever is due of one schedule; a tick is only a hint, so coming early or twice does no harm.

        Raises NotFoundError where the catalog does not hold the schedule (any more).
        """
        if schedule_id not in self.schedules():
            raise NotFoundError(f"no schedule {schedule_id!r} in the catalog", field="schedule_id")
        return await self.publish_scheduled_tasks([schedule_id])

    async def publish_scheduled_tasks(self, schedule_ids: Iterable[str]) -> list[OccurrenceRecord]:
        """`publish_scheduled_task` for many, in batches; passes over those that the catalog does not hold."""
        current = self.schedules()
        chosen = [current[schedule_id] for schedule_id in dict.fromkeys(schedule_ids) if schedule_id in current]
        return await self._fire(chosen, await self.register(chosen))

    async def reconcile(self, *, catch_up: int = CATCH_UP_A_PASS) -> list[OccurrenceRecord]:
        """Fires what is due of all schedules and starts what waited; for callers that keep no book.

        Of what is late it fires about `catch_up` runs; the schedules it does not come to wait for the next call.
        """
        positions = await self.initialize()
        current = self.schedules()
        fired = await self._fire([current[name] for name in positions if name in current], positions, Pace(catch_up))
        return [*fired, *await self.release_queued()]

    async def anything_queued(self) -> bool:
        """Whether an occurrence waits for its predecessor; one read, and none where no schedule queues."""
        return any(schedule.overlap is Overlap.QUEUE for schedule in self.schedules().values()) and (
            await self._store.anything_queued()
        )

    async def release_queued(self) -> list[OccurrenceRecord]:
        """Starts occurrences whose predecessor has ended, one of each schedule."""
        waiting = await self._store.releasable()
        if not waiting:
            return []
        now = self._clock.now()
        current = self.schedules()
        drafts = [release_draft_of(current.get(record.schedule_id), record, now) for record in waiting]
        return self._told(await self._store.release(drafts))

    async def run_now(self, agent: str, schedule: str | None = None, *, actor: Actor) -> OccurrenceRecord:
        """Fires a schedule at once, paused or not, whatever its overlap policy says; its own times stay as they are.

        Raises NotFoundError, and InvalidInputError where the agent has several and none is named.
        """
        found = self._catalog.find(agent, schedule)
        if len(found) > 1:
            names = ", ".join(local_name(each) for each in found)
            raise InvalidInputError(
                f"agent {agent!r} has {len(found)} schedules: name one of {names}", field="schedule"
            )
        await self.register(found)
        entered = await self.enter([manual_draft_of(found[0], self._clock.now(), actor)])
        if not entered:
            raise NotFoundError(f"schedule {found[0].schedule_id!r} was removed meanwhile", field="schedule")
        return entered[0]

    async def pause(self, agent: str, schedule: str | None = None) -> list[str]:
        """What comes due of the schedule, or of all of the agent, is skipped from now on; returns the ids."""
        return await self._set_paused(agent, schedule, paused=True)

    async def resume(self, agent: str, schedule: str | None = None) -> list[str]:
        """The next time fires again; what was skipped meanwhile stays skipped. Returns the ids."""
        return await self._set_paused(agent, schedule, paused=False)

    def preview(
        self, agent: str, schedule: str | None = None, *, count: int = 10, start: datetime | None = None
    ) -> list[tuple[Schedule, list[PreviewLine]]]:
        """The coming times of each schedule of the agent, with what changes of the clocks do to them."""
        if not 1 <= count <= LARGEST_PREVIEW:
            raise InvalidInputError(f"count is {count}; write 1 to {LARGEST_PREVIEW}", field="count")
        begin = start or self._clock.now()
        return [(found, preview(found, begin, count)) for found in self._catalog.find(agent, schedule)]

    async def listing(self, agent: str | None = None, *, count: int = 3) -> list[ScheduleListing]:
        """Every schedule of the catalog, or of one agent, by id."""
        chosen = list(self.schedules().values()) if agent is None else self._catalog.find(agent, None)
        chosen.sort(key=lambda schedule: schedule.schedule_id)
        paused = {state.schedule_id for state in await self._store.states() if state.paused}
        latest = await self._store.latest([schedule.schedule_id for schedule in chosen])
        now = self._clock.now()
        return [
            ScheduleListing(
                schedule=schedule,
                paused=schedule.schedule_id in paused,
                next_times=()
                if schedule.schedule_id in paused
                else tuple(nominal_times(schedule, now, now + _FAR, count)),
                last_occurrence=latest.get(schedule.schedule_id),
            )
            for schedule in chosen
        ]

    async def history(
        self, agent: str | None = None, schedule: str | None = None, *, before: datetime | None = None, limit: int = 50
    ) -> list[OccurrenceRecord]:
        """Newest first, removed schedules included; `schedule` is an id or its part after the agent."""
        if agent is not None and schedule is not None and not schedule.startswith(f"{agent}."):
            schedule = f"{agent}.{schedule}"
        return await self._store.history(agent=agent, schedule_id=schedule, before=before, limit=limit)

    async def _fire(
        self, schedules: Sequence[Schedule], positions: Mapping[str, datetime], pace: Pace | None = None
    ) -> list[OccurrenceRecord]:
        entered: list[OccurrenceRecord] = []
        drafts: list[OccurrenceDraft] = []
        for index, schedule in enumerate(schedules):
            if index % BREATH == 0:
                await self._clock.sleep(0)
            decided = self.decide(schedule, positions[schedule.schedule_id])
            if pace is None or pace.allows(sum(draft.status is OccurrenceStatus.CAUGHT_UP for draft in decided)):
                drafts += decided
            if len(drafts) >= BATCH:
                entered += await self.enter(drafts)
                drafts = []
        return entered + (await self.enter(drafts) if drafts else [])

    async def _set_paused(self, agent: str, schedule: str | None, *, paused: bool) -> list[str]:
        found = self._catalog.find(agent, schedule)
        await self.register(found)
        ids = [each.schedule_id for each in found]
        await self._store.set_paused(ids, paused=paused)
        self._logger.info("schedules paused" if paused else "schedules resumed", agent_id=agent, schedules=ids)
        return ids

    def _told(self, entered: Sequence[OccurrenceRecord]) -> list[OccurrenceRecord]:
        """Says in the log what was decided."""
        for record in entered:
            with bind_trace(record.trace_id):
                self._logger.info(
                    "scheduled task published" if record.event_id else "scheduled task held",
                    agent_id=record.agent,
                    event_id=record.event_id,
                    schedule_id=record.schedule_id,
                    nominal_time=record.nominal_time.isoformat(),
                    occurrence=record.status.value,
                    reason=record.reason,
                )
        return list(entered)
