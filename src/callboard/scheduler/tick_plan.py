"""When which schedule is to be ticked: all that Beat knows, without anything of Celery in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.scheduler.followed_book import FollowedBook
from callboard.scheduler.misfire import due
from callboard.scheduler.pace import Pace
from callboard.scheduler.schedule import Schedule
from callboard.scheduler.scheduler_service import BREATH, SchedulerService
from callboard.state.occurrences import OccurrenceStatus

LONGEST_PAUSE_SECONDS = 1.0
"""A changed catalog and a clock that was set are noticed within this."""
_JUST_AFTER_SECONDS = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A hint that a schedule has something due; `nominal_time` is the newest time of it that has come."""

    schedule_id: str
    nominal_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What one pass found. `catalog` is the number of the catalog that it knew; whoever fires needs it, or a newer one.

    `queued`: an occurrence waits for its predecessor, which may have ended. `found_again`: the database was away before
    this pass.
    """

    due: tuple[Tick, ...]
    catalog: int
    queued: bool
    found_again: bool
    pause_seconds: float


class TickPlan:
    """Follows the catalog and the clock, and says what is due; keeps nothing that the database does not know better.

    While the database is away it goes on by what it knew. What is late comes in portions, so that whoever fires is
    not stormed after a pause. A tick that leads to nothing is said again after the next look at the database.
    """

    def __init__(self, service: SchedulerService, newest: Callable[[], Awaitable[int]], clock: Clock) -> None:
        """`newest` brings the service's definitions up to date and gives the catalog's number; UnavailableError."""
        self._service = service
        self._newest = newest
        self._clock = clock
        self._log = StructuredLogger("scheduler")
        self._book = FollowedBook(service, clock)
        self._late: deque[str] = deque()
        self._catalog = 0
        self._away = False

    def doubt(self) -> None:
        """What was ticked may not have arrived: all that is not decided by then comes again with the next pass."""
        self._book.doubt()

    async def next(self) -> Ticks:
        """What is due now, and how long to wait before asking again; never raises for a database that is away."""
        found_again = await self._follow()
        try:
            ticks = await self._due()
            ticks += self._catch_up()
        except UnavailableError:  # the database's time was never read
            ticks = []
        return Ticks(
            due=tuple(ticks),
            catalog=self._catalog,
            queued=await self._queued(),
            found_again=found_again,
            pause_seconds=self._pause(),
        )

    async def _follow(self) -> bool:
        """Whether the database answers again after it did not."""
        try:
            self._catalog = await self._newest()
            if self._away:
                self._book.doubt()
            await self._book.follow()
        except UnavailableError as error:
            if not self._away:
                self._log.warning("the database is away: schedules are ticked as they were known", reason=error.message)
            self._away = True
            return False
        if not self._away:
            return False
        self._log.info("the database is back: schedules are read anew")
        self._away = False
        return True

    async def _due(self) -> list[Tick]:
        ticks: list[Tick] = []
        waiting = set(self._late)
        for index, schedule in enumerate(self._book.take_due(self._clock.now())):
            if index % BREATH == 0:
                await self._clock.sleep(0)
            late, tick = self._look(schedule)
            if late == 0:
                ticks += self._ticked(schedule, tick)
            elif schedule.schedule_id not in waiting:
                self._late.append(schedule.schedule_id)
        return ticks

    def _catch_up(self) -> list[Tick]:
        pace = Pace()
        ticks: list[Tick] = []
        while self._late:
            schedule = self._book.schedule(self._late[0])
            late, tick = (0, None) if schedule is None else self._look(schedule)
            if not pace.allows(late):
                break
            self._late.popleft()
            if schedule is not None:
                ticks += self._ticked(schedule, tick)
        return ticks

    def _look(self, schedule: Schedule) -> tuple[int, Tick | None]:
        """How many runs would be caught up, and the newest time that has come."""
        position = self._book.position(schedule.schedule_id)
        decided = [] if position is None else due(schedule, position, self._clock.now())
        if not decided:
            return 0, None
        late = sum(decision.status is OccurrenceStatus.CAUGHT_UP for decision in decided)
        return late, Tick(schedule_id=schedule.schedule_id, nominal_time=decided[-1].nominal_time)

    def _ticked(self, schedule: Schedule, tick: Tick | None) -> list[Tick]:
        """Books the schedule for its next time, or where it was if nothing was due after all."""
        if tick is None:
            self._book.put_back(schedule.schedule_id)
            return []
        self._book.place(schedule, tick.nominal_time)
        return [tick]

    async def _queued(self) -> bool:
        try:
            return not self._away and await self._service.anything_queued()
        except UnavailableError:
            return False

    def _pause(self) -> float:
        try:
            until = self._book.seconds_until_due()
        except UnavailableError:
            until = None
        if until is None or self._late:
            return LONGEST_PAUSE_SECONDS
        return min(LONGEST_PAUSE_SECONDS, max(0.0, until) + _JUST_AFTER_SECONDS)
