"""Which schedule is due next: the ticker's memory, rebuilt from the database whenever that is in doubt."""

from __future__ import annotations

import heapq
from datetime import datetime

from callboard.scheduler.misfire import next_due
from callboard.scheduler.schedule import Schedule


class ScheduleBook:
    """Schedules by the instant at which they are due next; finding the due ones costs nothing for the others."""

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}
        self._positions: dict[str, datetime] = {}
        self._entries: dict[str, int] = {}
        self._heap: list[tuple[datetime, int, str]] = []
        self._count = 0

    def position(self, schedule_id: str) -> datetime | None:
        """Up to when the schedule is decided, as far as the book knows; None for one that is not in it."""
        return self._positions.get(schedule_id)

    def schedule(self, schedule_id: str) -> Schedule | None:
        return self._schedules.get(schedule_id)

    def schedule_ids(self) -> list[str]:
        return list(self._schedules)

    def place(self, schedule: Schedule, position: datetime) -> None:
        """Enters a schedule that is decided up to `position`, in place of what the book had of it."""
        self._schedules[schedule.schedule_id] = schedule
        self._positions[schedule.schedule_id] = position
        self._entries.pop(schedule.schedule_id, None)
        instant = next_due(schedule, position)
        if instant is not None:
            self._count += 1
            self._entries[schedule.schedule_id] = self._count
            heapq.heappush(self._heap, (instant, self._count, schedule.schedule_id))

    def drop(self, schedule_id: str) -> None:
        for memory in (self._schedules, self._positions, self._entries):
            memory.pop(schedule_id, None)

    def next_due(self) -> datetime | None:
        """When the first schedule is due, in the past if it is late."""
        while self._heap and self._entries.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: datetime) -> list[Schedule]:
        """The schedules that are due, the longest overdue first; each stays out of sight until it is placed again."""
        taken: list[Schedule] = []
        while (instant := self.next_due()) is not None and instant <= now:
            schedule_id = heapq.heappop(self._heap)[2]
            del self._entries[schedule_id]
            taken.append(self._schedules[schedule_id])
        return taken
