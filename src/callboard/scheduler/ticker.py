"""The embedded ticker: the loop that notices that a time has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.scheduler.followed_book import FollowedBook
from callboard.scheduler.pace import CATCH_UP_A_PASS
from callboard.scheduler.schedule import Schedule
from callboard.scheduler.scheduler_service import BATCH, BREATH, SchedulerService
from callboard.state.occurrences import OccurrenceDraft, OccurrenceStatus, Overlap

LONGEST_SLEEP_SECONDS = 1.0
"""A changed catalog, a run that ended with another waiting, and a clock that was set are noticed within this."""
_JUST_AFTER_SECONDS = 0.001


class Ticker:
    """Fires what comes due. Several of them, in one process or many, fire nothing twice: the ledger decides.

    While the database is away it tries again every second; what comes due meanwhile goes by the misfire policies.
    """

    def __init__(self, service: SchedulerService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._logger = StructuredLogger("scheduler")
        self._book = FollowedBook(service, clock)
        self._late: deque[str] = deque()
        self._away = False

    async def run(self) -> None:
        """Until it is cancelled; every error but an unreachable database ends it."""
        while True:
            try:
                await self.tick()
                self._back()
            except UnavailableError as error:
                self._lost(error)
            await self._clock.sleep(self._pause())

    async def tick(self) -> None:
        """One pass: follow the catalog, fire what is due, then a share of what is late, then what waited."""
        await self._follow()
        await self._fire_due()
        await self._catch_up()
        if any(schedule.overlap is Overlap.QUEUE for schedule in self._service.schedules().values()):
            await self._service.release_queued()

    async def _follow(self) -> None:
        if await self._book.follow():
            await self._service.release_queued()

    async def _fire_due(self) -> None:
        """Fires the schedules that are on time; those that have something to catch up on queue in `_late`."""
        taken = self._book.take_due(self._clock.now())
        unentered = {schedule.schedule_id: schedule for schedule in taken}
        drafts: list[OccurrenceDraft] = []
        try:
            for index, schedule in enumerate(taken):
                decided = self._decide(schedule)
                if any(draft.status is OccurrenceStatus.CAUGHT_UP for draft in decided):
                    self._late.append(schedule.schedule_id)
                    del unentered[schedule.schedule_id]
                else:
                    drafts += decided
                if len(drafts) >= BATCH:
                    await self._enter(drafts, unentered)
                    drafts = []
                elif index % BREATH == 0:
                    await self._clock.sleep(0)
            await self._enter(drafts, unentered)
        finally:
            for schedule in unentered.values():
                self._book.put_back(schedule.schedule_id)

    async def _catch_up(self) -> None:
        started = 0
        while self._late and started < CATCH_UP_A_PASS:
            schedule_id = self._late.popleft()
            schedule = self._book.schedule(schedule_id)
            if schedule is None:
                continue
            pending = {schedule_id: schedule}
            try:
                drafts = self._decide(schedule)
                await self._enter(drafts, pending)
            finally:
                self._book.put_back(schedule_id)
            started += sum(draft.status.runs for draft in drafts)

    async def _enter(self, drafts: Sequence[OccurrenceDraft], unentered: dict[str, Schedule]) -> None:
        """Enters the drafts and books their schedules anew, which takes them out of `unentered`."""
        if not drafts:
            return
        await self._service.enter(drafts)
        newest: dict[str, datetime] = {draft.schedule_id: draft.nominal_time for draft in drafts}
        for index, (schedule_id, nominal_time) in enumerate(newest.items()):
            schedule = unentered.pop(schedule_id, None)
            if schedule is not None:
                self._book.place(schedule, nominal_time)
            if index % BREATH == 0:
                await self._clock.sleep(0)

    def _decide(self, schedule: Schedule) -> list[OccurrenceDraft]:
        position = self._book.position(schedule.schedule_id)
        return [] if position is None else self._service.decide(schedule, position)

    def _pause(self) -> float:
        until = self._book.seconds_until_due()
        if self._away or until is None:
            return LONGEST_SLEEP_SECONDS
        return min(LONGEST_SLEEP_SECONDS, max(0.0, until) + _JUST_AFTER_SECONDS)

    def _lost(self, error: UnavailableError) -> None:
        if not self._away:
            self._logger.warning("schedules wait for the database", reason=error.message)
        self._away = True

    def _back(self) -> None:
        if self._away:
            self._logger.info("schedules go on: the database is back")
            self._book.doubt()
        self._away = False
