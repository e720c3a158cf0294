"""The embedded ticker: the loop that notices that a time has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.scheduler.schedule import Schedule
from callboard.scheduler.schedule_book import ScheduleBook
from callboard.scheduler.scheduler_service import BATCH, SchedulerService
from callboard.state.occurrences import OccurrenceDraft, OccurrenceStatus, Overlap

LONGEST_SLEEP_SECONDS = 1.0
"""A changed catalog, a run that ended with another waiting, and a clock that was set are noticed within this."""
RECONCILE_SECONDS = 30.0
CATCH_UP_A_PASS = 200
"""After a pause, about so many runs are caught up in one pass, so that they do not crowd out what comes on time."""
BREATH = 25
"""After computing so many schedules the loop lets others work."""
_JUST_AFTER_SECONDS = 0.001


class Ticker:
    """Fires what comes due. Several of them, in one process or many, fire nothing twice: the ledger decides.

    While the database is away it tries again every second; what comes due meanwhile goes by the misfire policies.
    """

    def __init__(self, service: SchedulerService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._logger = StructuredLogger("scheduler")
        self._book = ScheduleBook()
        self._followed: dict[str, Schedule] | None = None
        self._late: deque[str] = deque()
        self._reconciled_at = float("-inf")
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
        """Brings the book in line with the catalog when that changed, and with the database every now and then."""
        current = self._service.schedules()
        due_again = self._clock.monotonic() - self._reconciled_at >= RECONCILE_SECONDS
        if current is self._followed and not due_again:
            return
        positions = await self._service.initialize()
        for schedule_id in self._book.schedule_ids():
            if schedule_id not in positions:
                self._book.drop(schedule_id)
        for index, (schedule_id, position) in enumerate(positions.items()):
            known = self._book.schedule(schedule_id) == current[schedule_id]
            if not known or self._book.position(schedule_id) != position:
                self._book.place(current[schedule_id], position)
            if index % BREATH == 0:
                await self._clock.sleep(0)
        if due_again:
            await self._service.release_queued()
            self._reconciled_at = self._clock.monotonic()
        self._followed = current

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
                self._place(schedule.schedule_id)

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
                self._place(schedule_id)
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

    def _place(self, schedule_id: str) -> None:
        """Books a schedule again at the position that the book has of it."""
        schedule, position = self._book.schedule(schedule_id), self._book.position(schedule_id)
        if schedule is not None and position is not None:
            self._book.place(schedule, position)

    def _pause(self) -> float:
        next_due = self._book.next_due()
        if self._away or next_due is None:
            return LONGEST_SLEEP_SECONDS
        until = (next_due - self._clock.now()).total_seconds() + _JUST_AFTER_SECONDS
        return min(LONGEST_SLEEP_SECONDS, max(_JUST_AFTER_SECONDS, until))

    def _lost(self, error: UnavailableError) -> None:
        if not self._away:
            self._logger.warning("schedules wait for the database", reason=error.message)
        self._away = True

    def _back(self) -> None:
        if self._away:
            self._logger.info("schedules go on: the database is back")
            self._reconciled_at = float("-inf")
        self._away = False
