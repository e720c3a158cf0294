"""A book that follows the catalog and the database, for whoever ticks."""

from __future__ import annotations

from callboard.clock import Clock
from callboard.scheduler.schedule import Schedule
from callboard.scheduler.schedule_book import ScheduleBook
from callboard.scheduler.scheduler_service import BREATH, SchedulerService

RECONCILE_SECONDS = 30.0


class FollowedBook(ScheduleBook):
    """Brought in line with the catalog when that changed, and with the database's positions every now and then."""

    def __init__(self, service: SchedulerService, clock: Clock) -> None:
        super().__init__()
        self._service = service
        self._clock = clock
        self._followed: dict[str, Schedule] | None = None
        self._reconciled_at = float("-inf")

    def doubt(self) -> None:
        """What the book believes may be wrong: the next `follow` reads every position again."""
        self._reconciled_at = float("-inf")

    async def follow(self) -> bool:
        """Whether it was brought in line with the database because it was time for that; UnavailableError."""
        current = self._service.schedules()
        due_again = self._clock.monotonic() - self._reconciled_at >= RECONCILE_SECONDS
        if current is self._followed and not due_again:
            return False
        positions = await self._service.initialize()
        for schedule_id in self.schedule_ids():
            if schedule_id not in positions:
                self.drop(schedule_id)
        for index, (schedule_id, position) in enumerate(positions.items()):
            if self.schedule(schedule_id) != current[schedule_id] or self.position(schedule_id) != position:
                self.place(current[schedule_id], position)
            if index % BREATH == 0:
                await self._clock.sleep(0)
        if due_again:
            self._reconciled_at = self._clock.monotonic()
        self._followed = current
        return due_again

    def put_back(self, schedule_id: str) -> None:
        """Books a schedule that was taken again, at the position that the book has of it."""
        schedule, position = self.schedule(schedule_id), self.position(schedule_id)
        if schedule is not None and position is not None:
            self.place(schedule, position)

    def seconds_until_due(self) -> float | None:
        """Until the next schedule is due, below zero if it is late; None where nothing will ever be."""
        instant = self.next_due()
        return None if instant is None else (instant - self._clock.now()).total_seconds()
